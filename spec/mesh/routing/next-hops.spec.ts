import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { byteToCostMs, NodeFlag } from '../../../lib/wire/records.js';
import { agreedGraph, type GraphNode, naiveLengths, naiveWeight, nameOf, recordOf } from '../graphs.js';
import { RoutedNode } from '../routed-node.js';

let node: RoutedNode;
beforeEach(() => {
  node = new RoutedNode();
});

function hops(dst: string, circuitHash = 1, visited?: string[]): string[] {
  return node.routing.nextHops(dst, circuitHash, visited);
}

describe('the peers to try', () => {
  it('are the link to the node first, whatever it costs', () => {
    node.mesh('me-x:90 me-a a-x').link('x', 200).link('a').settle();
    expect(hops('x')).toEqual(['x', 'a']);
  });

  it('begin with a shortcut', () => {
    node.mesh('me-a a-x').link('x', 200, { isMesh: false }).link('a').settle();
    expect(hops('x')).toEqual(['x', 'a']);
  });

  it('are those that are closer, by cost, and then those further away with another path', () => {
    node.mesh('me-a:60 me-b:64 me-c:40 a-x b-x c-d:80 d-x');
    node.link('a', 18).link('b', 26).link('c', 3).settle();
    expect(hops('x')).toEqual(['a', 'b', 'c']);
  });

  it('are closer ones before cheaper ones that are further away', () => {
    node.mesh('me-c:50 c-x me-a:90 a-x me-b b-y:60 y-x').link('c', 8).link('a', 243).link('b', 0.1).settle();
    expect(hops('x')).toEqual(['c', 'a', 'b']);
  });

  it('do not include peers that only lead back', () => {
    node.mesh('me-a me-b b-c a-x').link('a').link('b').settle();
    expect(hops('x')).toEqual(['a']);
  });

  it('are none for unreachable or unknown nodes', () => {
    node.mesh('me-a x-y').link('a').settle();
    expect([hops('x'), hops('stranger')]).toEqual([[], []]);
  });

  it('never include a peer that has lost its link, and at once one that has got one', () => {
    node.mesh('me-a me-b a-x b-x').link('a').link('b').settle();
    node.unlink('a');
    expect(hops('x')).toEqual(['b']);
    node.unlink('b');
    expect(hops('x')).toEqual([]);
    node.link('a');
    expect(hops('x')).toEqual(['a']);
  });

  it('leave out visited peers, and all uphill ones but the first', () => {
    node.mesh('me-a me-b:50 me-c:50 a-x b-y:60 c-y:60 y-x').link('a').link('b', 8).link('c', 9).settle();
    expect(hops('x')).toEqual(['a', 'b', 'c']);
    expect(hops('x', 1, [])).toEqual(['a', 'b']);
    expect(hops('x', 1, ['a', 'b'])).toEqual(['c']);
  });

  it('share circuits when they are about as good, and the same circuit gets the same one every time', () => {
    node.mesh('me-a me-b me-c me-d:60 a-x b-x c-x d-x').link('a', 5).link('b', 6).link('c', 6.5).link('d', 20).settle();
    const firsts = new Map<string, number>();
    for (let circuit = 0; circuit < 3000; circuit++) {
      const [first, ...rest] = hops('x', circuit);
      expect(hops('x', circuit)[0]).toBe(first);
      expect(rest.at(-1)).toBe('d');
      firsts.set(first, (firsts.get(first) ?? 0) + 1);
    }
    expect([...firsts.keys()].sort()).toEqual(['a', 'b', 'c']);
    for (const count of firsts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });

  it('move only the circuits of a peer that goes', () => {
    node.mesh('me-a me-b me-c a-x b-x c-x').link('a').link('b').link('c').settle();
    const before = Array.from({ length: 200 }, (_, circuit) => hops('x', circuit)[0]);
    node.unlink('c');
    before.forEach((first, circuit) => {
      if (first !== 'c') expect(hops('x', circuit)[0]).toBe(first);
    });
  });

  it('are at most the sixteen cheapest, and the one on the shortest path', () => {
    const peers = Array.from({ length: 40 }, (_, index) => `p${index}`);
    const links = peers.map((peer, index) => `me-${peer}:${index} ${peer}-x:${peer === 'p39' ? 0 : 120}`);
    node.mesh(links.join(' '));
    peers.forEach((peer, index) => void node.link(peer, byteToCostMs(index)));
    node.settle();
    const found = hops('x');
    expect(found[0]).toBe('p39');
    expect(new Set(found)).toEqual(new Set([...peers.slice(0, 16), 'p39']));
  });
});

describe('a peer that failed', () => {
  beforeEach(() => {
    node.mesh('me-a me-b:50 a-x a-y b-x b-y').link('a').link('b', 8).settle();
    expect([hops('x'), hops('y')]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
  });

  it('is tried last towards the same node, for ten seconds', () => {
    node.routing.penalise('a', 'x');
    expect([hops('x'), hops('y')]).toEqual([
      ['b', 'a'],
      ['a', 'b'],
    ]);
    node.clock.advance(9_900);
    expect(hops('x')).toEqual(['b', 'a']);
    node.clock.advance(200);
    expect(hops('x')).toEqual(['a', 'b']);
  });

  it('is tried before one that drains, which would refuse', () => {
    node.record('b', { links: { me: 50, x: 0, y: 0 }, flags: NodeFlag.RELAY | NodeFlag.DRAIN }).settle();
    node.routing.penalise('a', 'x');
    expect([hops('x'), node.routing.nextHops('x', 1, [], true)]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
  });

  it('is tried first again when a circuit has got through', () => {
    node.routing.penalise('a', 'x');
    node.routing.reward('a', 'x');
    expect(hops('x')).toEqual(['a', 'b']);
  });

  it('costs more towards every node when it fails often', () => {
    for (let round = 0; round < 6; round++) node.routing.penalise('a', `z${round}`);
    expect(hops('y')).toEqual(['b', 'a']);
    node.clock.advance(600_000);
    expect(hops('y')).toEqual(['a', 'b']);
  });
});

/** Every node of a graph with links as all of them announce, and all records everywhere. */
function meshOf(graph: readonly GraphNode[]): RoutedNode[] {
  const known = new Map(graph.map((made, index) => [index, made]));
  return graph.map((_, self) => {
    const one = new RoutedNode(nameOf(self));
    graph.forEach((made, index) => {
      one.routing.onRecord(recordOf(index, made));
      if (naiveWeight(known, self, index) !== undefined) one.link(nameOf(index), costMs(graph, self, index));
    });
    return one.settle();
  });
}

function costMs(graph: readonly GraphNode[], one: number, other: number): number {
  return byteToCostMs(Math.max(graph[one].links.get(other) as number, graph[other].links.get(one) as number));
}

describe('in a mesh where all nodes have the same records', () => {
  const SIZE = 8;
  const kinds = fc.oneof(
    { weight: 5, arbitrary: fc.constant<number>(NodeFlag.RELAY) },
    { weight: 1, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constant(NodeFlag.RELAY | NodeFlag.DRAIN) },
    { weight: 1, arbitrary: fc.constant(NodeFlag.RELAY | NodeFlag.OVERLOAD) },
  );
  const drawn = fc.tuple(agreedGraph(SIZE, kinds), fc.infiniteStream(fc.nat(100)));

  it('every circuit arrives that takes any closer peer at each node, and none returns', () => {
    fc.assert(
      fc.property(drawn, ([graph, choices]) => {
        const mesh = meshOf(graph);
        const lengths = naiveLengths(new Map(graph.map((made, index) => [index, made])), -1);
        for (let src = 0; src < SIZE; src++) {
          for (let dst = 0; dst < SIZE; dst++) {
            if (src === dst) continue;
            const way = [src];
            while (way.at(-1) !== dst) {
              const here = way.at(-1) as number;
              const list = mesh[here].routing.nextHops(nameOf(dst), src);
              expect(list.length > 0).toBe(lengths.has(`${here}>${dst}`));
              if (list.length === 0) break;
              const closer = list.filter((peer) => {
                const length = lengths.get(`${peer.slice(1)}>${dst}`);
                const own = lengths.get(`${here}>${dst}`);
                if (length === undefined || own === undefined) return false;
                return length[0] < own[0] || (length[0] === own[0] && length[1] < own[1]);
              });
              // The first is always closer, and closer ones are never behind one that is not.
              expect(list[0]).toBe(list.filter((peer) => closer.includes(peer))[0]);
              const next = Number(closer[(choices.next().value as number) % closer.length].slice(1));
              expect(way).not.toContain(next);
              if (next !== dst) expect(graph[next].flags & NodeFlag.RELAY).toBeTruthy();
              way.push(next);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('a route is as long as the shortest path, and begins with a peer that is tried', () => {
    fc.assert(
      fc.property(agreedGraph(SIZE, kinds), (made) => {
        // What this node's own trouble adds to its links is for others to count.
        const graph = made.map((one, index) => (index === 0 ? { ...one, flags: NodeFlag.RELAY } : one));
        const lengths = naiveLengths(new Map(graph.map((made, index) => [index, made])), -1);
        const [first] = meshOf(graph);
        for (let dst = 1; dst < SIZE; dst++) {
          const route = first.routing.route(nameOf(dst));
          const length = lengths.get(`0>${dst}`);
          expect(route === undefined).toBe(length === undefined);
          if (route === undefined || length === undefined) continue;
          const shortest = (length[1] - 2000) / 1000;
          if (route.hops > 1) expect(first.routing.distance(nameOf(dst))).toBe(shortest);
          expect(route.cost - shortest).toBeLessThanOrEqual(Math.max(route.cost / 10, route.hops > 1 ? 2 : route.cost));
          expect(first.routing.nextHops(nameOf(dst), 0)).toContain(route.nextHop);
        }
      }),
      { numRuns: 200 },
    );
  });
});
