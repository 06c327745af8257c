import { describe, expect, it } from '@jest/globals';
import { Candidates } from '../../../lib/mesh/neighbours/candidates.js';
import { MeshDialer } from '../../../lib/mesh/neighbours/dialer.js';
import { Neighbours } from '../../../lib/mesh/neighbours/neighbours.js';
import { PeerBook } from '../../../lib/mesh/neighbours/peer-book.js';
import { NodeFlag } from '../../../lib/wire/records.js';
import { addressOf, BACK_OFF, Scene, ScriptedLink, SELF } from '../scripted-network.js';

class Choosing extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly book = new PeerBook();
  readonly dialer = new MeshDialer(this.environment, this.network, BACK_OFF);
  readonly candidates = new Candidates(
    this.share({ neighbours: this.neighbours, dialer: this.dialer, book: this.book }),
  );

  constructor(seed = 1) {
    super(seed);
  }

  link(peerId: string, part: Partial<ScriptedLink> = {}): ScriptedLink {
    const link = new ScriptedLink(peerId, part);
    this.neighbours.add(link, this.clock.now());
    return link;
  }

  /** Who is picked in so many draws, and how often. */
  drawn(times = 300): Map<string | undefined, number> {
    const counts = new Map<string | undefined, number>();
    for (let time = 0; time < times; time++) {
      const nodeId = this.candidates.random()?.nodeId;
      counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
    }
    return counts;
  }

  async near(count: number): Promise<string[]> {
    const near = this.candidates.near(count);
    await this.pass(3_000, 10);
    return (await near).map(({ nodeId }) => nodeId);
  }
}

describe('a node picked at random', () => {
  it('is never a banned one, even for a node that knows no other', async () => {
    const net = new Choosing();
    net.addNodes(3);
    net.book.onAnnounced('met', [addressOf('met')]);
    for (const nodeId of ['n1', 'n2', 'met']) net.view.banned.add(nodeId);
    expect([...net.drawn().keys()]).toEqual(['n3']);
    expect(await net.near(2)).toEqual(['n3']);
    net.view.banned.add('n3');
    expect([...net.drawn().keys()]).toEqual([undefined]);
    net.view.banned.clear();
    expect(net.drawn().size).toBe(3);
  });

  it('is any node of the directory, all equally likely', () => {
    const net = new Choosing();
    net.addNodes(50);
    const counts = net.drawn(5_000);
    expect(counts.size).toBe(50);
    for (const count of counts.values()) {
      expect(count).toBeGreaterThan(50);
      expect(count).toBeLessThan(170);
    }
  });

  it('is not this node, nor one that has a link, nor one that is being dialled', () => {
    const net = new Choosing();
    net.addNodes(4);
    net.view.add(SELF);
    net.link('n1');
    net.link('n2', { purpose: 'join' });
    void net.dialer.dialNode('n3', [addressOf('n3')], true).catch(() => {});
    expect([...net.drawn().keys()]).toEqual(['n4']);
    net.dialer.dispose();
  });

  it('is not one that leaves or drains, listens nowhere, is out of reach, or whose addresses have just failed', () => {
    const net = new Choosing();
    net.addNodes(1);
    net.link('linked');
    net.view.add('leaving', { flags: NodeFlag.RELAY | NodeFlag.LEAVING });
    net.view.add('draining', { flags: NodeFlag.RELAY | NodeFlag.DRAIN });
    net.view.add('nowhere', { addresses: [] });
    net.view.add('unreachable');
    net.view.reached.delete('unreachable');
    net.view.add('failed');
    net.dialer.failed(addressOf('failed'));
    expect([...net.drawn().keys()]).toEqual(['n1']);
    net.clock.advance(1_000);
    expect(new Set(net.drawn().keys())).toEqual(new Set(['n1', 'failed']));
  });

  it('is one that has room, as far as it has announced', () => {
    const net = new Choosing();
    net.view.add('full', { others: 8 });
    net.view.add('roomy', { others: 7 });
    for (const id of ['a', 'b']) net.link(id);
    expect([...net.drawn().keys()]).toEqual(['roomy']);
  });

  it('may have eight links and more when this node is needy, which is let in still', () => {
    const net = new Choosing();
    net.view.add('full', { others: 12 });
    net.view.add('nearly', { others: 11 });
    expect([...net.drawn().keys()]).toEqual(['nearly']);
  });

  it('is a relay without overload, if there is one', () => {
    const net = new Choosing();
    net.view.add('edge', { flags: 0 });
    net.view.add('tired', { flags: NodeFlag.RELAY | NodeFlag.OVERLOAD });
    net.view.add('relay');
    expect([...net.drawn().keys()]).toEqual(['relay']);
    net.view.records.delete('relay');
    expect(new Set(net.drawn().keys())).toEqual(new Set(['edge', 'tired']));
  });

  it('is one out of reach, or one of the book, when this node has no link at all', () => {
    const net = new Choosing();
    net.view.add('known');
    net.view.reached.clear();
    net.book.onAnnounced('noted', ['tcp://noted.test:1']);
    expect([...net.drawn().keys()]).toEqual(['known']);
    net.view.records.clear();
    expect([...net.drawn().keys()]).toEqual(['noted']);
    net.link('a');
    expect([...net.drawn().keys()]).toEqual([undefined]);
  });

  it('is rather in a network where this node has not made two links yet', () => {
    const net = new Choosing();
    for (let number = 0; number < 30; number++)
      net.view.add(`sybil-${number}`, { addresses: [`tcp://6.6.6.${number}:1`] });
    for (let number = 0; number < 30; number++)
      net.view.add(`other-${number}`, { addresses: [`tcp://7.7.${number}.1:1`] });
    net.link('a', { address: 'tcp://6.6.6.200:1' });
    net.link('b', { address: 'tcp://6.6.6.201:1' });
    const ids = [...net.drawn(100).keys()];
    expect(ids.filter((id) => id?.startsWith('sybil')).length).toBeLessThan(5);
  });

  it('is dialled at the addresses that may be dialled now', () => {
    const net = new Choosing();
    net.view.add('a', { addresses: ['tcp://a.test:1', 'tcp://10.9.9.9:1', 'tcp://a.test:2'] });
    net.dialer.failed('tcp://a.test:1');
    expect(net.candidates.random()).toEqual({ nodeId: 'a', addresses: ['tcp://a.test:2'] });
  });
});

describe('near nodes', () => {
  it('are those of eight or more that answer a bare connect first', async () => {
    const net = new Choosing();
    for (const [index, id] of net.addNodes(8).entries()) net.network.probeMs.set(addressOf(id), 200 - index * 20);
    expect(await net.near(2)).toEqual(['n8', 'n7']);
    expect(net.network.probes.length).toBe(8);
  });

  it('are sought among those with the shortest routes, and as many others', async () => {
    const net = new Choosing();
    for (const [index, id] of net.addNodes(32).entries()) {
      net.view.distances.set(id, 10 + index);
      net.network.probeMs.set(addressOf(id), 20 * (index + 1));
    }
    expect((await net.near(4)).slice(0, 4)).toEqual(['n1', 'n2', 'n3', 'n4']);
    expect(new Set(net.network.probes).size).toBe(8);
  });

  it('do not include one that refuses or does not answer, which is left alone for a while', async () => {
    const net = new Choosing();
    net.addNodes(4);
    net.network.found.set(addressOf('n1'), 'refused');
    net.network.found.set(addressOf('n2'), 'silent');
    expect((await net.near(3)).sort()).toEqual(['n3', 'n4']);
    net.dialer.failed(addressOf('n1'));
    expect(net.dialer.canDial(addressOf('n1'))).toBe(false);
  });

  it('are not probed when there is no choice', async () => {
    const net = new Choosing();
    net.addNodes(2);
    expect((await net.near(2)).sort()).toEqual(['n1', 'n2']);
    expect(net.network.probes).toEqual([]);
  });

  it('are not picked twice at a time', async () => {
    const net = new Choosing();
    net.addNodes(9);
    const first = net.candidates.near(1);
    expect([...net.drawn(50).keys()].length).toBe(1);
    await net.pass(100);
    await first;
    expect([...net.drawn(200).keys()].length).toBe(9);
  });
});
