// Routes over a graph that a spec defines: every node knows all of it, as after gossip.

import type { NodeId } from '../../lib/address.js';
import type { RouteLength, Routes } from '../../lib/circuit/paths.js';

export type Edge = readonly [number, number];

/** The links of the graph. Edges may come and go; all routes see it at once. */
export class Graph {
  private readonly neighbours = new Map<NodeId, Set<NodeId>>();

  constructor(ids: readonly NodeId[], edges: readonly Edge[]) {
    for (const id of ids) this.neighbours.set(id, new Set());
    for (const [one, other] of edges) this.add(ids[one], ids[other]);
  }

  add(one: NodeId, other: NodeId): void {
    this.neighbours.get(one)?.add(other);
    this.neighbours.get(other)?.add(one);
  }

  delete(one: NodeId, other: NodeId): void {
    this.neighbours.get(one)?.delete(other);
    this.neighbours.get(other)?.delete(one);
  }

  of(id: NodeId): readonly NodeId[] {
    return [...(this.neighbours.get(id) ?? [])];
  }

  /** Links on the shortest way that does not pass `avoided`; undefined when there is none. */
  hops(from: NodeId, to: NodeId, avoided: ReadonlySet<NodeId> = new Set()): number | undefined {
    const seen = new Set([from, ...avoided]);
    for (let ring = [from], hops = 0; ring.length > 0; hops++) {
      if (ring.includes(to)) return hops;
      ring = ring.flatMap((id) => this.of(id).filter((next) => !seen.has(next)));
      for (const id of ring) seen.add(id);
    }
    return undefined;
  }
}

export class GraphRoutes implements Routes {
  /** 'penalise B D', 'reward B D' in their order. */
  readonly told: string[] = [];
  private readonly penalised = new Set<string>();

  constructor(
    private readonly self: NodeId,
    private readonly graph: Graph,
    /** Expected round trip of a link, in ms. */
    private readonly linkMs = 0,
  ) {}

  nextHops(dst: NodeId): readonly NodeId[] {
    const lengths = new Map<NodeId, number>();
    for (const neighbour of this.graph.of(this.self)) {
      const hops = this.graph.hops(neighbour, dst, new Set([this.self]));
      if (hops !== undefined) lengths.set(neighbour, hops + (this.penalised.has(`${neighbour} ${dst}`) ? 1000 : 0));
    }
    return [...lengths.keys()].sort((a, b) => (lengths.get(a) as number) - (lengths.get(b) as number));
  }

  route(dst: NodeId): RouteLength | undefined {
    const hops = this.graph.hops(this.self, dst);
    return hops === undefined ? undefined : { hops, cost: hops * this.linkMs };
  }

  penalise(neighbour: NodeId, dst: NodeId): void {
    this.told.push(`penalise ${neighbour} ${dst}`);
    this.penalised.add(`${neighbour} ${dst}`);
  }

  reward(neighbour: NodeId, dst: NodeId): void {
    this.told.push(`reward ${neighbour} ${dst}`);
    this.penalised.delete(`${neighbour} ${dst}`);
  }
}
