import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Detour, DRAIN_STEP, drainsOf, ShortestPaths } from '../../../lib/mesh/routing/shortest-paths.js';
import { Topology } from '../../../lib/mesh/routing/topology.js';
import { Timers } from '../../../lib/util/timers.js';
import { byteToCostMs, NodeFlag } from '../../../lib/wire/records.js';
import { FakeClock } from '../../support/fake-clock.js';
import {
  agreedGraph,
  type GraphNode,
  graphNode,
  isShorter,
  type Length,
  naiveLengths,
  naiveWeight,
  nameOf,
  recordOf,
} from '../graphs.js';
import { nodeRecord } from '../made-records.js';
import { RoutedNode } from '../routed-node.js';

const SIZE = 9;

/** What a link to a peer costs, in µs. */
type Seeds = ReadonlyMap<number, number>;

/** The lengths from this node, number 0, whose links are the seeds. */
function naiveFrom(graph: ReadonlyMap<number, GraphNode>, seeds: Seeds): Map<number, Length> {
  const others = naiveLengths(graph, 0);
  const found = new Map<number, Length>();
  const take = (node: number, length: Length): void => {
    if (isShorter(length, found.get(node))) found.set(node, length);
  };
  for (const [peer, weight] of seeds) {
    const node = graph.get(peer);
    if (node === undefined) continue;
    take(peer, [0, weight]);
    if (!(node.flags & NodeFlag.RELAY) || node.flags & NodeFlag.LEAVING) continue;
    for (const other of graph.keys()) {
      const length = others.get(`${peer}>${other}`);
      if (other === 0 || other === peer || length === undefined) continue;
      take(other, [length[0] + (node.flags & NodeFlag.DRAIN ? 1 : 0), length[1] + weight]);
    }
  }
  return found;
}

class World {
  readonly topology = new Topology(nameOf(0));
  readonly paths = new ShortestPaths(this.topology);
  readonly graph = new Map<number, GraphNode>();
  readonly seeds = new Map<number, number>();
  private reached = new Set<number>();

  setNode(node: number, made: GraphNode | null): void {
    if (made === null) {
      this.graph.delete(node);
      this.topology.delete(nameOf(node));
    } else {
      this.graph.set(node, made);
      this.topology.set(recordOf(node, made));
    }
    this.applySeed(node);
  }

  setSeed(node: number, weight: number | null): void {
    if (weight === null) this.seeds.delete(node);
    else this.seeds.set(node, weight);
    this.applySeed(node);
  }

  private applySeed(node: number): void {
    const index = this.topology.indexOf(nameOf(node));
    if (index === undefined || node === 0) return;
    this.paths.setSeed(index, this.graph.has(node) ? this.seeds.get(node) : undefined);
  }

  check(): void {
    const { topology, paths } = this;
    paths.update();
    const crossed = paths.crossed.map((index) => topology.idOf(index)).sort();
    const expected = naiveFrom(this.graph, this.seeds);
    const nodes = Array.from({ length: SIZE - 1 }, (_, node) => node + 1);
    const indexes = nodes.map((node) => topology.indexOf(nameOf(node)));
    const distances = indexes.map((index) =>
      index === undefined ? Number.POSITIVE_INFINITY : paths.distanceOf(index),
    );
    const lengths = nodes.map((node) => expected.get(node) ?? [0, Number.POSITIVE_INFINITY]);
    expect(distances).toEqual(lengths.map(([drains, length]) => drains * DRAIN_STEP + length));
    const ways = indexes.map((index, at) =>
      expected.has(nodes[at]) ? this.wayLength(index as number) : distances[at],
    );
    expect(ways).toEqual(distances);
    const reached = new Set(expected.keys());
    const changed = [...reached, ...this.reached].filter((node) => reached.has(node) !== this.reached.has(node));
    expect(crossed).toEqual(changed.map(nameOf).sort());
    this.reached = reached;
    topology.reclaim();
  }

  /** What the way of the parents back to the root adds up to. It is over relays only. */
  private wayLength(index: number): number {
    const { topology, paths } = this;
    let length = 0;
    let node = index;
    while (paths.parents[node] !== 0) {
      const parent = paths.parents[node];
      length += topology.edges.weightOf(parent, node);
      const record = topology.recordOf(parent);
      if (!record || !(record.flags & NodeFlag.RELAY)) return Number.NaN;
      if (record.flags & NodeFlag.DRAIN) length += DRAIN_STEP;
      node = parent;
    }
    return length + (paths.seedOf(node) as number);
  }
}

const seed = fc.option(fc.integer({ min: 1, max: 40_000 }), { freq: 4 });
const nodeStep = fc.tuple(fc.nat(SIZE - 1), fc.option(graphNode(SIZE), { freq: 6 })).map(([node, made]) => {
  return (world: World) => world.setNode(node, made);
});
const seedStep = fc.tuple(fc.integer({ min: 1, max: SIZE - 1 }), seed).map(([node, weight]) => {
  return (world: World) => world.setSeed(node, weight);
});
const checkStep = fc.constant((world: World) => world.check());
const steps = fc.array(
  fc.oneof({ weight: 4, arbitrary: nodeStep }, { weight: 1, arbitrary: seedStep }, { weight: 1, arbitrary: checkStep }),
  { maxLength: 120, size: 'max' },
);

describe('shortest paths', () => {
  it('match Floyd-Warshall after any sequence of changes', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const world = new World();
        for (const step of list) step(world);
        world.check();
      }),
      { numRuns: 400 },
    );
  });

  it('are right as well when more has changed than the journal holds', () => {
    fc.assert(
      fc.property(fc.array(graphNode(SIZE), { minLength: SIZE, maxLength: SIZE }), steps, (graph, list) => {
        const world = new World();
        graph.forEach((made, node) => void world.setNode(node, made));
        world.setSeed(1, 100);
        world.setSeed(2, 5000);
        world.check();
        for (let round = 0; round < 400; round++) {
          world.setNode(3, { flags: NodeFlag.RELAY, links: new Map() });
          world.setNode(3, graph[3]);
          world.setNode(4, { flags: 0, links: graph[4].links });
          world.setNode(4, graph[4]);
        }
        for (const step of list) step(world);
        world.check();
      }),
      { numRuns: 30 },
    );
  });

  it('never pass a node that does not relay, or this one', () => {
    const topology = new Topology('me');
    topology.set(nodeRecord('me', { links: { a: 0, b: 0 } }));
    topology.set(nodeRecord('a', { links: { me: 0, x: 0 }, flags: 0 }));
    topology.set(nodeRecord('b', { links: { me: 0, y: 0 } }));
    topology.set(nodeRecord('x', { links: { a: 0, y: 0 } }));
    topology.set(nodeRecord('y', { links: { b: 0, x: 0 } }));
    const paths = new ShortestPaths(topology);
    const at = (nodeId: string) => topology.indexOf(nodeId) as number;
    paths.setSeed(at('a'), 0);
    paths.update();
    expect(paths.distanceOf(at('a'))).toBe(0);
    expect(paths.distanceOf(at('x'))).toBe(Number.POSITIVE_INFINITY);
    paths.setSeed(at('a'), undefined);
    paths.setSeed(at('b'), 0);
    paths.update();
    expect(paths.distanceOf(at('x'))).toBe(4200);
    expect(paths.distanceOf(at('a'))).toBe(6300);
  });

  it('pass a draining node only where there is no other path', () => {
    const topology = new Topology('me');
    topology.set(nodeRecord('a', { links: { x: 0, b: 0 }, flags: NodeFlag.RELAY | NodeFlag.DRAIN }));
    topology.set(nodeRecord('b', { links: { a: 0, x: 100 } }));
    topology.set(nodeRecord('x', { links: { a: 0, b: 100 } }));
    const paths = new ShortestPaths(topology);
    const at = (nodeId: string) => topology.indexOf(nodeId) as number;
    paths.setSeed(at('a'), 100);
    paths.setSeed(at('b'), 100);
    paths.update();
    expect(paths.parents[at('x')]).toBe(at('b'));
    paths.setSeed(at('b'), undefined);
    paths.update();
    expect(paths.parents[at('x')]).toBe(at('a'));
    expect(drainsOf(paths.distanceOf(at('x')))).toBe(1);
  });
});

// Paths around nodes that have failed, although all records still list them.

let node: RoutedNode;
beforeEach(() => {
  node = new RoutedNode();
});

function around(dst: string, ...visited: string[]): string[] {
  return node.routing.nextHops(dst, 1, visited, true);
}

describe('the peers to try when some nodes have failed', () => {
  it('are those with a path around them, the cheapest first', () => {
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

  it('are last those that drain, or whose path leads through a node that does', () => {
    const drains = NodeFlag.RELAY | NodeFlag.DRAIN;
    node.mesh('me-a me-b me-c:90 a-x b-d d-x c-x', { a: drains, d: drains }).link('a').link('b').link('c', 90).settle();
    expect(around('x', 'g')).toEqual(['c', 'a', 'b']);
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

describe('the search for paths around nodes', () => {
  it('is refused above its rate limit, and made again later', () => {
    const clock = new FakeClock();
    const topology = new Topology('me');
    for (let index = 1; index < 1000; index++)
      topology.set(recordOf(index, { flags: NodeFlag.RELAY, links: new Map() }));
    // A star: each walk visits all of it.
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
