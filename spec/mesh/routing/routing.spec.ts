import { beforeEach, describe, expect, it } from '@jest/globals';
import { NodeFlag } from '../../../lib/wire/records.js';
import { QUIET_MS, RoutedNode } from '../routed-node.js';

let node: RoutedNode;
beforeEach(() => {
  node = new RoutedNode();
});

/** Next hop, hops and cost. */
function route(nodeId: string): [string, number, number] | undefined {
  const found = node.routing.route(nodeId);
  return found && [found.nextHop, found.hops, found.cost];
}

describe('a peer', () => {
  it('is reachable as soon as the link is up, at the cost of the link', () => {
    node.link('a', 4.25);
    expect(route('a')).toEqual(['a', 1, 4.25]);
    expect([node.routing.isReachable('a'), node.routing.size]).toEqual([true, 1]);
    expect(node.events).toEqual(['changed a', '+a']);
  });

  it('is lost with the link, at once', () => {
    node.link('a', 4).unlink('a');
    expect(route('a')).toBeUndefined();
    expect([node.routing.isReachable('a'), node.routing.size]).toEqual([false, 0]);
    expect(node.events).toEqual(['changed a', '+a', 'changed a', '-a']);
    expect(node.told.at(-1)).toEqual({ nodeId: 'a', nextHop: 'a', hops: 1, cost: 4 });
  });

  it('stays reachable by another path when its link is lost', () => {
    node.mesh('me-a me-b a-b').link('a').link('b').settle();
    node.unlink('a');
    expect(route('a')).toEqual(['b', 2, 3.1]);
    expect(node.news).toEqual(['+a', '+b']);
  });

  it('is never this node itself', () => {
    node.link('me');
    expect([node.routing.size, route('me'), node.routing.nextHops('me', 0)]).toEqual([0, undefined, []]);
    expect([node.routing.isReachable('me'), node.routing.distance('me'), node.routing.hopCount('me')]).toEqual([
      true,
      0,
      0,
    ]);
  });

  it('may have two links, of which the better one counts', () => {
    const entry = { peerId: 'a', bootId: 'boot-1', isSuspect: false };
    node.mesh('me-a a-x');
    node.routing.setLinks([
      { ...entry, costMs: 9, isMesh: true },
      { ...entry, costMs: 1, isMesh: false },
      { ...entry, costMs: 5, isMesh: true },
    ]);
    node.settle();
    expect([route('a'), route('x')]).toEqual([
      ['a', 1, 5],
      ['a', 2, 7.1],
    ]);
  });
});

describe('nodes further away', () => {
  it('are reached over links that both ends list', () => {
    node.link('a').record('a', { links: { me: 0, b: 0, c: 0 } });
    node.record('b', { links: { a: 0 } }).record('c', { links: {} });
    node.settle();
    expect(route('b')).toEqual(['a', 2, 3.1]);
    expect(route('c')).toBeUndefined();
    expect(node.news).toEqual(['+a', '+b']);
  });

  it('cost the round trips, and 2 ms for each relay', () => {
    node.mesh('me-a a-b:24 b-c:32').link('a', 5).settle();
    expect(route('c')).toEqual(['a', 3, 5 + 0.8 + 1.6 + 4]);
    expect([node.routing.distance('c'), node.routing.hopCount('c')]).toEqual([11.4, 3]);
  });

  it('are never reached through one that does not relay, leaves, or has no record', () => {
    const flags = { a: 0, b: NodeFlag.RELAY | NodeFlag.LEAVING };
    node.mesh('me-a me-b me-c a-x b-y', flags).record('z', { links: { c: 0, d: 0 } });
    for (const peer of ['a', 'b', 'd']) node.link(peer);
    node.settle();
    expect(node.routing.routes().map(({ nodeId }) => nodeId)).toEqual(['a', 'b', 'd']);
    expect(node.routing.nextHops('x', 0)).toEqual([]);
  });

  it('are never reached over a shortcut, and not through a client', () => {
    node.mesh('me-a a-x').link('a', 1, { isMesh: false }).link('client').settle();
    expect(node.routing.routes().map(({ nodeId }) => nodeId)).toEqual(['a', 'client']);
    expect([node.routing.nextHops('a', 0), node.routing.nextHops('x', 0)]).toEqual([['a'], []]);
  });

  it('are not reached by the record of an earlier run of a peer', () => {
    node.mesh('me-a a-x').link('a', 1, { bootId: 'boot-2' }).settle();
    expect(route('x')).toBeUndefined();
    node.record('a', { links: { me: 0, x: 0 }, bootId: 'boot-2' }).settle();
    expect(route('x')).toEqual(['a', 2, 3.1]);
  });

  it('are reached around a draining node where there is a path', () => {
    node.mesh('me-a me-b a-x b-x:90', { a: NodeFlag.RELAY | NodeFlag.DRAIN });
    node.link('a').link('b').settle();
    expect(route('x')?.[0]).toBe('b');
    expect(node.routing.nextHops('x', 0)).toEqual(['b', 'a']);
    node.unlink('b');
    expect(route('x')).toEqual(['a', 2, 3.1]);
  });

  it('are reached around an overloaded node, unless that path is much longer', () => {
    node.mesh('me-a me-b a-x b-c c-x', { a: NodeFlag.RELAY | NodeFlag.OVERLOAD });
    node.link('a').link('b').settle();
    expect(route('x')).toEqual(['b', 3, 5.2]);
    node.mesh('me-a me-b a-x b-c:90 c-x', { a: NodeFlag.RELAY | NodeFlag.OVERLOAD }).settle();
    expect(route('x')?.[0]).toBe('a');
  });

  it('are reached around a suspect link', () => {
    node.mesh('me-a me-b a-x b-x').link('a', 1).link('b', 10).settle();
    expect(route('x')?.[0]).toBe('a');
    node.link('a', 1, { isSuspect: true }).settle();
    expect(route('x')?.[0]).toBe('b');
    expect(route('a')).toEqual(['b', 3, 14.2]);
    expect(node.routing.nextHops('x', 0)[0]).toBe('b');
  });

  it('are forgotten with their record', () => {
    node.mesh('me-a a-b b-c').link('a').settle();
    node.routing.onForgotten('b');
    node.settle();
    expect([route('b'), route('c')]).toEqual([undefined, undefined]);
    expect(node.news).toEqual(['+a', '+b', '+c', '-b', '-c']);
    expect(node.told.at(-1)).toEqual({ nodeId: 'c', nextHop: 'a', hops: 3, cost: 5.2 });
  });
});

describe('a change', () => {
  it('counts 20 ms after the first record, then every 100 ms, and sooner again after a calm time', () => {
    node
      .link('a')
      .record('a', { links: { me: 0, b: 0, c: 0, d: 0 } })
      .settle();
    node.clock.advance(6000);
    const seenAfter = (nodeId: string): number => {
      node.record(nodeId, { links: { a: 0 } });
      let waited = 0;
      for (; waited < 2000 && !node.routing.isReachable(nodeId); waited += 10) node.clock.advance(10);
      return waited;
    };
    expect(seenAfter('b')).toBeLessThanOrEqual(30);
    expect(seenAfter('c')).toBeGreaterThanOrEqual(100);
    node.clock.advance(6000);
    expect(seenAfter('d')).toBeLessThanOrEqual(30);
  });

  it('is reported when all changes are applied', () => {
    node.onEvent = () => {
      expect(node.routing.routes().map(({ nodeId }) => nodeId)).toEqual(['a', 'b', 'c']);
    };
    node.mesh('me-a a-b b-c');
    node.link('a');
    expect(node.events).toEqual(['changed a b c', '+a', '+b', '+c']);
  });

  it('counts at once on request', () => {
    node.link('a').mesh('me-a a-b');
    expect(node.routing.isReachable('b')).toBe(false);
    node.routing.update();
    expect([node.routing.isReachable('b'), node.news, node.clock.armed]).toEqual([true, ['+a', '+b'], 0]);
  });

  it('is not reported when a record makes no difference', () => {
    node.mesh('me-a a-b').link('a').settle();
    const before = node.clock.armed;
    node.mesh('me-a a-b');
    node.record('b', { links: { a: 0, stranger: 0 } });
    expect([before, node.clock.armed]).toEqual([0, 0]);
  });

  it('is reported once and in order, whatever a listener does', () => {
    node.mesh('me-a a-b b-c me-d d-c').link('d').settle();
    node.events.length = 0;
    let left = 5;
    node.onEvent = (event) => {
      if (--left < 0) return;
      if (event === '+a') node.unlink('a', 'd');
      if (event === '-c') node.link('d');
    };
    node.unlink('d').link('a');
    node.onEvent = () => {};
    node.settle();
    const known = new Set(['a', 'b', 'c', 'd']);
    for (const event of node.news) {
      const nodeId = event.slice(1);
      expect(known.has(nodeId)).toBe(event.startsWith('-'));
      if (event.startsWith('+')) known.add(nodeId);
      else known.delete(nodeId);
    }
    expect([...known].sort()).toEqual([...node.routing.nodeIds()].sort());
    expect(node.routing.size).toBe(4);
  });

  it('is not reported after the end', () => {
    node.link('a').mesh('me-a a-b');
    node.routing.dispose();
    node.settle();
    expect([node.news, node.clock.armed]).toEqual([['+a'], 0]);
  });
});

describe('the reported next hop', () => {
  beforeEach(() => {
    node.mesh('me-a me-b a-x b-x').link('a', 20).link('b', 21).settle();
    expect(route('x')?.[0]).toBe('a');
  });

  it('stays when another one is a little better', () => {
    node.link('b', 19).settle();
    expect(route('x')).toEqual(['a', 2, 22.1]);
    node.link('b', 18.1).settle();
    expect(route('x')?.[0]).toBe('a');
  });

  it('changes when another one is better by a tenth and by 2 ms', () => {
    node.link('b', 17).settle();
    expect(route('x')).toEqual(['b', 2, 19.1]);
    node.link('b', 18.5).link('a', 17).settle();
    expect(route('x')?.[0]).toBe('b');
  });

  it('changes when the old one is gone, and does not change back', () => {
    node.unlink('a');
    expect(route('x')).toEqual(['b', 2, 23.1]);
    node.link('a', 20).settle();
    expect(route('x')?.[0]).toBe('b');
  });

  it('changes when there is no path through the old one any more', () => {
    node.record('a', { links: { me: 0 } }).settle();
    expect(route('x')?.[0]).toBe('b');
  });
});

describe('a large mesh', () => {
  it('slows down when records keep coming', () => {
    const chain = Array.from({ length: 4000 }, (_, index) => `n${index}-n${index + 1}`).join(' ');
    node.mesh(`me-n0 ${chain}`).link('n0').settle();
    expect(node.routing.size).toBe(4001);
    node.clock.advance(6000);
    let runs = 0;
    node.onEvent = (event) => {
      if (event.startsWith('changed')) runs++;
    };
    for (let round = 0; round < 100; round++) {
      node.record(`x${round}`, { links: { n0: 0 } });
      node.record('n0', {
        links: Object.fromEntries([
          ['me', 0],
          ['n1', 0],
          [`x${round}`, 0],
        ]),
      });
      node.clock.advance(100);
    }
    expect(runs).toBeGreaterThan(9);
    expect(runs).toBeLessThan(17);
    expect(QUIET_MS).toBeGreaterThan(1000);
  });
});
