// Random graphs, and the slow and plain way to find shortest paths in them.

import fc from 'fast-check';
import { byteToCostMs, NodeFlag, type NodeRecord } from '../../lib/wire/records.js';
import { nodeRecord } from './made-records.js';

export interface GraphNode {
  readonly flags: number;
  /** Peer numbers and cost bytes. */
  readonly links: ReadonlyMap<number, number>;
}

export function nameOf(node: number): string {
  return `n${node}`;
}

export function recordOf(node: number, { flags, links }: GraphNode, bootId?: string): NodeRecord {
  const named = Object.fromEntries([...links].map(([peer, cost]) => [nameOf(peer), cost]));
  return nodeRecord(nameOf(node), { flags, links: named, bootId });
}

/** Mostly relays. */
const flags = fc.oneof(
  { weight: 6, arbitrary: fc.constant<number>(NodeFlag.RELAY) },
  { weight: 1, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constant(NodeFlag.RELAY | NodeFlag.DRAIN) },
  { weight: 1, arbitrary: fc.constant(NodeFlag.RELAY | NodeFlag.OVERLOAD) },
  { weight: 1, arbitrary: fc.constant(NodeFlag.RELAY | NodeFlag.LEAVING) },
);

/** Low ones meet often, so that there are equal ways. */
const cost = fc.oneof(fc.integer({ min: 40, max: 44 }), fc.integer({ min: 0, max: 120 }), fc.constant(0xff));

/** The record of a node in a graph of `size`: its view of its links need not match that of its peers. */
export function graphNode(size: number, maxDegree = 5): fc.Arbitrary<GraphNode> {
  const links = fc.array(fc.tuple(fc.nat(size - 1), cost), { maxLength: maxDegree });
  return fc.record({ flags, links: links.map((list) => new Map(list)) });
}

/** Nodes that mostly agree about their links, as they do when all is quiet. */
export function agreedGraph(size: number, kinds = flags): fc.Arbitrary<GraphNode[]> {
  const link = fc.tuple(fc.nat(size - 1), fc.nat(size - 1), fc.integer({ min: 30, max: 60 }), fc.integer({ max: 60 }));
  return fc
    .tuple(fc.array(kinds, { minLength: size, maxLength: size }), fc.array(link, { maxLength: 3 * size }))
    .map(([allFlags, links]) => {
      const lists = allFlags.map(() => new Map<number, number>());
      for (const [one, other, there, back] of links) {
        if (one === other) continue;
        lists[one].set(other, there);
        lists[other].set(one, Math.max(0, back));
      }
      return allFlags.map((own, node) => ({ flags: own, links: lists[node] }));
    });
}

/** The cost of the link of two nodes in µs; undefined when it does not count. */
export function naiveWeight(graph: ReadonlyMap<number, GraphNode>, one: number, other: number): number | undefined {
  const [a, b] = [graph.get(one), graph.get(other)];
  if (one === other || a === undefined || b === undefined) return undefined;
  const [there, back] = [a.links.get(other), b.links.get(one)];
  if (there === undefined || back === undefined || there === 0xff || back === 0xff) return undefined;
  if ((a.flags | b.flags) & NodeFlag.LEAVING) return undefined;
  const base = Math.round(1000 * byteToCostMs(Math.max(there, back))) + 2000;
  return (a.flags | b.flags) & NodeFlag.OVERLOAD ? base * 8 : base;
}

/** A length: how many draining nodes are passed, and the cost in µs. */
export type Length = readonly [drains: number, cost: number];

export function isShorter(a: Length, b: Length | undefined): boolean {
  return b === undefined || a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
}

/** Floyd-Warshall: the lengths between all pairs on ways that do not pass `blocked`. */
export function naiveLengths(graph: ReadonlyMap<number, GraphNode>, blocked: number): Map<string, Length> {
  const nodes = [...graph.keys()];
  const lengths = new Map<string, Length>();
  for (const one of nodes) {
    lengths.set(`${one}>${one}`, [0, 0]);
    for (const other of nodes) {
      const weight = naiveWeight(graph, one, other);
      if (weight !== undefined) lengths.set(`${one}>${other}`, [0, weight]);
    }
  }
  for (const [middle, { flags: own }] of graph) {
    if (middle === blocked || !(own & NodeFlag.RELAY)) continue;
    const drains = own & NodeFlag.DRAIN ? 1 : 0;
    for (const from of nodes) {
      for (const to of nodes) {
        if (from === middle || to === middle) continue;
        const [first, second] = [lengths.get(`${from}>${middle}`), lengths.get(`${middle}>${to}`)];
        if (first === undefined || second === undefined) continue;
        const length = [first[0] + drains + second[0], first[1] + second[1]] as const;
        if (isShorter(length, lengths.get(`${from}>${to}`))) lengths.set(`${from}>${to}`, length);
      }
    }
  }
  return lengths;
}
