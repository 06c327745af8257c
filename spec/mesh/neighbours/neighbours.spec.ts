import { describe, expect, it } from '@jest/globals';
import { Neighbours } from '../../../lib/mesh/neighbours/neighbours.js';
import { NodeFlag } from '../../../lib/wire/records.js';
import { ScriptedLink, ScriptedView, SELF } from '../scripted-network.js';

class Known {
  readonly view = new ScriptedView();
  readonly neighbours = new Neighbours(SELF, this.view);

  /** A node that is reached, and its links. */
  add(nodeId: string, peers: string[], flags: number = NodeFlag.RELAY): this {
    this.view.add(nodeId, { flags, links: peers.map((peerId) => ({ peerId, cost: 1 })) });
    return this;
  }

  leave(nodeId: string): this {
    return this.add(nodeId, [], NodeFlag.RELAY | NodeFlag.LEAVING);
  }

  link(nodeId: string): ScriptedLink {
    const link = new ScriptedLink(nodeId);
    this.neighbours.add(link, 0);
    return link;
  }
}

describe('the other links of a node', () => {
  it('are those of its record, but for the one to this node', () => {
    const { neighbours } = new Known().add('a', [SELF, 'b', 'c']);
    expect(neighbours.otherLinksOf('a')).toBe(2);
  });

  it('do not count those to leaving nodes', () => {
    const { neighbours } = new Known().add('a', [SELF, 'b', 'c']).leave('b');
    expect([neighbours.otherLinksOf('a'), neighbours.hasLeft('b'), neighbours.hasLeft('c')]).toEqual([1, true, false]);
  });

  it('are none when neither this node nor another reaches it', () => {
    const known = new Known().add('a', ['b']);
    known.view.reached.delete('a');
    expect([known.neighbours.otherLinksOf('a'), known.neighbours.otherLinksOf('unknown')]).toEqual([0, 0]);
    known.link('a');
    expect(known.neighbours.otherLinksOf('a')).toBe(1);
  });
});

describe('a link', () => {
  it('is the only path when the peer has no other link, or only to leaving nodes', () => {
    const known = new Known().add(SELF, ['b']).add('a', [SELF, 'c']).add('b', [SELF, 'c']);
    known.link('b');
    known.link('a');
    expect(known.neighbours.isOnlyWay('a')).toBe(false);
    known.leave('c');
    expect(known.neighbours.isOnlyWay('a')).toBe(true);
  });

  it('is the only path when this node announces no other link', () => {
    const known = new Known().add('a', ['c']);
    known.link('a');
    expect(known.neighbours.isOnlyWay('a')).toBe(true);
    known.add(SELF, ['a']);
    expect(known.neighbours.isOnlyWay('a')).toBe(true);
  });

  it('is the only path when the announced links of this node are lost, or lead to leaving nodes', () => {
    const known = new Known().add(SELF, ['b', 'd']).add('a', ['c']).add('b', ['c']);
    known.link('a');
    const other = known.link('b');
    expect(known.neighbours.isOnlyWay('a')).toBe(false);
    known.leave('b');
    expect(known.neighbours.isOnlyWay('a')).toBe(true);
    known.add('b', ['c']);
    expect(known.neighbours.isOnlyWay('a')).toBe(false);
    known.neighbours.remove(other);
    expect(known.neighbours.isOnlyWay('a')).toBe(true);
  });
});
