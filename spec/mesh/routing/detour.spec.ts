// Ways past nodes that have led nowhere, though everybody still lists them.

import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Detour } from '../../../lib/mesh/routing/detour.js';
import { Topology } from '../../../lib/mesh/routing/topology.js';
import { Timers } from '../../../lib/util/timers.js';
import { byteToCostMs, NodeFlag } from '../../../lib/wire/records.js';
import { FakeClock } from '../../support/fake-clock.js';
import { agreedGraph, naiveLengths, naiveWeight, nameOf, recordOf } from '../graphs.js';
import { RoutedNode } from '../routed-node.js';

let node: RoutedNode;
beforeEach(() => {
  node = new RoutedNode();
});

function around(dst: string, ...visited: string[]): string[] {
  return node.routing.nextHops(dst, 1, visited, true);
}

describe('the peers to try when some nodes led nowhere', () => {
  it('are those that know a way past them, the cheapest first', () => {
    // By records, x is next to g alone from both a and b; only c comes from the other side.
    node.mesh('me-a me-b me-c a-g b-g g-x c-h:50 h-x').link('a').link('b').link('c').settle();
    expect(node.routing.nextHops('x', 1, []).slice(0, 2).sort()).toEqual(['a', 'b']);
    expect(around('x', 'g')).toEqual(['c']);
    expect(around('x', 'h')).toEqual(expect.arrayContaining(['a', 'b']));
    expect(around('x', 'g', 'h')).toEqual([]);
  });

  it('are the node itself when it is a peer, unless that has been tried', () => {
    node.mesh('me-x me-a a-x').link('x').link('a').settle();
    expect(around('x', 'g')).toEqual(['x', 'a']);
    expect(around('x', 'x')).toEqual(['a']);
  });

  it('do not lead through this node, nor through one that relays nothing', () => {
    node.mesh('me-a me-b a-g g-x b-y y-x', { y: 0 }).link('a').link('b').settle();
    expect(around('x', 'g')).toEqual([]);
  });

  it('are as brute force finds them', () => {
    const SIZE = 8;
    const kinds = fc.constantFrom<number>(NodeFlag.RELAY, NodeFlag.RELAY, NodeFlag.RELAY, 0);
    const drawn = fc.tuple(agreedGraph(SIZE, kinds), fc.integer({ min: 1, max: SIZE - 1 }), fc.nat(255));
    fc.assert(
      fc.property(drawn, ([graph, dst, bits]) => {
        const gone = graph
          .map((_, index) => index)
          .filter((index) => index > 0 && index !== dst && bits & (1 << index));
        const known = new Map(graph.map((made, index) => [index, made]));
        const self = new RoutedNode(nameOf(0));
        for (const [index, made] of known) self.routing.onRecord(recordOf(index, made));
        for (let index = 1; index < SIZE; index++) {
          if (naiveWeight(known, 0, index) === undefined) continue;
          const [one, other] = [graph[0].links.get(index) as number, graph[index].links.get(0) as number];
          self.link(nameOf(index), byteToCostMs(Math.max(one, other)));
        }
        self.settle();

        const rest = new Map([...known].filter(([index]) => index !== 0 && !gone.includes(index)));
        const lengths = naiveLengths(rest, -1);
        const isWay = (index: number): boolean => {
          if (naiveWeight(known, 0, index) === undefined || !rest.has(index)) return false;
          return index === dst || ((graph[index].flags & NodeFlag.RELAY) !== 0 && lengths.has(`${index}>${dst}`));
        };
        const expected = graph.map((_, index) => index).filter(isWay);
        const found = self.routing.nextHops(nameOf(dst), 1, gone.map(nameOf), true);
        expect([...found].sort()).toEqual(expected.map(nameOf).sort());
      }),
      { numRuns: 300 },
    );
  });
});

describe('the search for ways past nodes', () => {
  it('is not made when there has been too much of it, and again later', () => {
    const clock = new FakeClock();
    const topology = new Topology('me');
    for (let index = 1; index < 1000; index++)
      topology.set(recordOf(index, { flags: NodeFlag.RELAY, links: new Map() }));
    // A star: each walk is over all of it.
    const links = new Map(Array.from({ length: 40 }, (_, index) => [index + 2, 10] as const));
    topology.set(recordOf(1, { flags: NodeFlag.RELAY, links }));
    for (const index of links.keys()) {
      topology.set(recordOf(index, { flags: NodeFlag.RELAY, links: new Map([[1, 10]]) }));
    }
    const detour = new Detour(topology, new Timers(clock));
    const find = () => detour.find(topology.indexOf(nameOf(2)) as number, new Set([999_999]), new Set());
    let walks = 0;
    while (walks < 100_000 && find() !== undefined) walks++;
    expect(walks).toBeGreaterThan(500);
    expect(walks).toBeLessThan(10_000);
    expect(find()).toBeUndefined();
    clock.advance(1_000);
    expect(find()).toBeDefined();
  });
});
