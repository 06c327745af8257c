// Shortest paths from one root to every node of a topology: Dijkstra's algorithm, and after a change only over the nodes that
// are affected. Where a link has gone or become more expensive, the paths over it are dropped and found again from the rest;
// where one has become cheaper, the gain spreads from there. The cost of an update follows the size of the change.
//
// The root is not a node of the graph. Its edges are the seeds: the links of this node, or a single peer whose view is
// computed. No path passes through this node itself.

import type { Timers } from '../../util/timers.js';
import { TokenBucket } from '../../util/token-bucket.js';
import { grown } from './edge-lists.js';
import { DRAINING, HOP_US, SELF, type Topology, TRANSIT } from './topology.js';

/** A binary heap of nodes by distance, in typed arrays that are reused: a walk over ten thousand nodes allocates nothing. */
class MinHeap {
  size = 0;
  private keys = new Float64Array(1024);
  private nodes = new Int32Array(1024);

  /** The smallest key. Must not be read when empty. */
  get smallest(): number {
    return this.keys[0];
  }

  push(key: number, node: number): void {
    if (this.size === this.keys.length) this.grow();
    const { keys, nodes } = this;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[at] = keys[parent];
      nodes[at] = nodes[parent];
      at = parent;
    }
    keys[at] = key;
    nodes[at] = node;
  }

  /** Removes and returns the node with the smallest key. Must not be called when empty. */
  pop(): number {
    const { keys, nodes } = this;
    const first = nodes[0];
    const size = --this.size;
    const key = keys[size];
    const node = nodes[size];
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= key) break;
      keys[at] = keys[child];
      nodes[at] = nodes[child];
      at = child;
    }
    keys[at] = key;
    nodes[at] = node;
    return first;
  }

  private grow(): void {
    this.keys = grown(this.keys, new Float64Array(2 * this.size));
    this.nodes = grown(this.nodes, new Int32Array(2 * this.size));
  }
}

/**
 * What a draining node adds to the path through it: more than all links together, so that a path with fewer such nodes
 * always wins. The rest of a distance is the cost in µs; the sum is a whole number that a double holds exactly.
 */
export const DRAIN_STEP = 2 ** 40;

const NO_PARENT = -1;
const UNREACHABLE = Number.POSITIVE_INFINITY;

/** Shared by all walks: a walk calls no other code and leaves the heap empty. */
const heap = new MinHeap();

export class ShortestPaths {
  /** In µs, and {@link DRAIN_STEP} for each draining node on the way; Infinity when there is no path. */
  distances: Float64Array = new Float64Array(16).fill(UNREACHABLE);
  /** The node before, SELF when that is the root, -1 when there is no path. */
  parents: Int32Array = new Int32Array(16).fill(NO_PARENT);
  /** Nodes to which the last update has found a path, or to which none is left. */
  readonly crossed: number[] = [];
  private readonly seeds = new Map<number, number>();
  private readonly changedSeeds = new Set<number>();
  /** Nodes whose path was dropped in this update. */
  private readonly lost: number[] = [];
  private isLost = new Uint8Array(16);
  private version: number;
  private isNew = true;

  constructor(private readonly topology: Topology) {
    this.version = topology.version;
  }

  /** Whether {@link update} has anything to do. */
  get isBehind(): boolean {
    return this.isNew || this.version !== this.topology.version || this.changedSeeds.size > 0;
  }

  /** Sets the weight of an edge of the root, from 0; undefined removes it. Takes effect with the next update. */
  setSeed(node: number, weight: number | undefined): void {
    if (this.seeds.get(node) === weight) return;
    if (weight === undefined) this.seeds.delete(node);
    else this.seeds.set(node, weight);
    this.changedSeeds.add(node);
  }

  seedOf(node: number): number | undefined {
    return this.seeds.get(node);
  }

  /** Returns Infinity when there is no path, or the index is not known yet. */
  distanceOf(node: number): number {
    return node < this.distances.length ? this.distances[node] : UNREACHABLE;
  }

  /** Applies all changes since the last update. */
  update(): void {
    this.crossed.length = 0;
    if (!this.isBehind) return;
    this.grow();
    const { topology } = this;
    const since = this.version;
    this.version = topology.version;
    const isIncremental = !this.isNew && topology.changesSince(since, (one, other) => this.giveUp(one, other));
    this.isNew = false;
    if (!isIncremental) this.restart();
    else {
      for (const node of this.changedSeeds) this.checkSeed(node);
      for (const node of this.lost) this.findAgain(node);
      for (const node of this.changedSeeds) this.takeSeed(node);
      topology.changesSince(since, (one, other) => this.relaxBetween(one, other));
    }
    this.changedSeeds.clear();
    this.walk();
    for (const node of this.lost) {
      this.isLost[node] = 0;
      if (this.distances[node] === UNREACHABLE) this.crossed.push(node);
    }
    this.lost.length = 0;
  }

  // --- paths that are no longer valid ---

  private giveUp(one: number, other: number): void {
    const { edges } = this.topology;
    if (one !== other) {
      const weight = edges.weightOf(one, other);
      this.check(one, other, weight);
      this.check(other, one, weight);
      return;
    }
    // Its flags have changed. Its edges have not, or are in the journal themselves.
    const end = edges.starts[one] + edges.degrees[one];
    for (let at = edges.starts[one]; at < end; at++) this.check(one, edges.peers[at], edges.weights[at]);
  }

  private check(from: number, to: number, weight: number): void {
    if (from === SELF || this.parents[to] !== from) return;
    if (weight === 0 || this.distanceThrough(from) + weight > this.distances[to]) this.lose(to);
  }

  private checkSeed(node: number): void {
    if (this.parents[node] !== SELF) return;
    const weight = this.seeds.get(node);
    if (weight === undefined || weight > this.distances[node]) this.lose(node);
  }

  /** Drops the path to a node, and those that continue from there. */
  private lose(top: number): void {
    const { edges } = this.topology;
    const { lost, parents } = this;
    let next = lost.length;
    this.markLost(top);
    for (; next < lost.length; next++) {
      const node = lost[next];
      const end = edges.starts[node] + edges.degrees[node];
      for (let at = edges.starts[node]; at < end; at++) {
        if (parents[edges.peers[at]] === node) this.markLost(edges.peers[at]);
      }
    }
  }

  private markLost(node: number): void {
    this.lost.push(node);
    this.isLost[node] = 1;
    this.distances[node] = UNREACHABLE;
    this.parents[node] = NO_PARENT;
  }

  // --- paths that are better ---

  /** Finds the best path to a node through its neighbours. */
  private findAgain(node: number): void {
    this.takeSeed(node);
    const { edges } = this.topology;
    const end = edges.starts[node] + edges.degrees[node];
    for (let at = edges.starts[node]; at < end; at++) this.relax(edges.peers[at], node, edges.weights[at]);
  }

  private takeSeed(node: number): void {
    const weight = this.seeds.get(node);
    if (weight !== undefined && weight < this.distances[node]) this.improve(node, weight, SELF);
  }

  private relaxBetween(one: number, other: number): void {
    const { edges } = this.topology;
    if (one !== other) {
      const weight = edges.weightOf(one, other);
      if (weight === 0) return;
      this.relax(one, other, weight);
      this.relax(other, one, weight);
      return;
    }
    const end = edges.starts[one] + edges.degrees[one];
    for (let at = edges.starts[one]; at < end; at++) this.relax(one, edges.peers[at], edges.weights[at]);
  }

  private relax(from: number, to: number, weight: number): void {
    if (to === SELF || from === SELF) return;
    const distance = this.distanceThrough(from) + weight;
    if (distance < this.distances[to]) this.improve(to, distance, from);
  }

  private improve(node: number, distance: number, parent: number): void {
    if (this.distances[node] === UNREACHABLE && this.isLost[node] === 0) this.crossed.push(node);
    this.distances[node] = distance;
    this.parents[node] = parent;
    heap.push(distance, node);
  }

  /** Returns the cost of a path that continues through a node. */
  private distanceThrough(node: number): number {
    const flags = this.topology.flags[node];
    if ((flags & TRANSIT) === 0) return UNREACHABLE;
    return (flags & DRAINING) === 0 ? this.distances[node] : this.distances[node] + DRAIN_STEP;
  }

  private walk(): void {
    const { edges, flags } = this.topology;
    const { peers, weights, starts, degrees } = edges;
    const { distances, parents, isLost, crossed } = this;
    while (heap.size > 0) {
      const reached = heap.smallest;
      const node = heap.pop();
      // A shorter path was found after this one was queued.
      if (reached > distances[node] || (flags[node] & TRANSIT) === 0) continue;
      const through = (flags[node] & DRAINING) === 0 ? reached : reached + DRAIN_STEP;
      const end = starts[node] + degrees[node];
      for (let at = starts[node]; at < end; at++) {
        const peer = peers[at];
        const distance = through + weights[at];
        const known = distances[peer];
        if (distance >= known || peer === SELF) continue;
        if (known === UNREACHABLE && isLost[peer] === 0) crossed.push(peer);
        distances[peer] = distance;
        parents[peer] = node;
        heap.push(distance, peer);
      }
    }
  }

  private restart(): void {
    const { distances, lost, isLost } = this;
    lost.length = 0;
    isLost.fill(0);
    for (let node = 0; node < distances.length; node++) {
      if (distances[node] === UNREACHABLE) continue;
      lost.push(node);
      isLost[node] = 1;
    }
    distances.fill(UNREACHABLE);
    this.parents.fill(NO_PARENT);
    for (const [node, weight] of this.seeds) this.improve(node, weight, SELF);
  }

  private grow(): void {
    const from = this.distances.length;
    const size = this.topology.flags.length;
    if (size <= from) return;
    const { distances, parents, isLost } = this;
    this.distances = new Float64Array(size).fill(UNREACHABLE, from);
    this.distances.set(distances);
    this.parents = new Int32Array(size).fill(NO_PARENT, from);
    this.parents.set(parents);
    this.isLost = new Uint8Array(size);
    this.isLost.set(isLost);
  }
}

/** Rate of nodes that detours may visit: two hundred walks a second in a mesh of a thousand nodes. */
const DETOUR_RATE = { perS: 200_000, burst: 200_000 };

/**
 * Paths to a node that avoid some others, for a circuit that has found a node gone which all records still list: by shortest
 * paths over all records, each neighbour of the gap would lead there again. One walk from the destination until every peer
 * in question is reached, within a rate limit.
 */
export class Detour {
  private readonly budget = new TokenBucket(DETOUR_RATE);

  constructor(
    private readonly topology: Topology,
    private readonly timers: Timers,
  ) {}

  /**
   * Returns the cost from each of `peers` to the node, as in {@link ShortestPaths}, without passing `avoided` or this node;
   * a peer that drains counts as well. Peers without such a path are left out. Undefined when the rate limit is exceeded.
   */
  find(dst: number, peers: ReadonlySet<number>, avoided: ReadonlySet<number>): Map<number, number> | undefined {
    const { topology, budget } = this;
    const now = this.timers.now();
    if (!budget.canTake(now, topology.size)) return undefined;
    const { edges, flags } = topology;
    const distances = new Float64Array(topology.size).fill(Number.POSITIVE_INFINITY);
    const found = new Map<number, number>();
    let walked = 0;
    distances[dst] = 0;
    heap.push(0, dst);
    while (heap.size > 0) {
      const reached = heap.smallest;
      const node = heap.pop();
      if (reached > distances[node] || found.size === peers.size) continue;
      walked++;
      const through = node === dst || (flags[node] & DRAINING) === 0 ? reached : reached + DRAIN_STEP;
      if (peers.has(node)) found.set(node, through);
      if (node !== dst && (flags[node] & TRANSIT) === 0) continue;
      const end = edges.starts[node] + edges.degrees[node];
      for (let at = edges.starts[node]; at < end; at++) {
        const peer = edges.peers[at];
        const distance = through + edges.weights[at];
        if (distance >= distances[peer] || peer === SELF || avoided.has(peer)) continue;
        distances[peer] = distance;
        heap.push(distance, peer);
      }
    }
    budget.take(now, walked);
    return found;
  }
}

/** Returns a distance as users see it, in ms: a peer costs the round trip of its link. */
export function costOf(distance: number): number {
  return Math.max(0, (distance % DRAIN_STEP) - HOP_US) / 1000;
}

/** Returns the number of draining nodes on a path. */
export function drainsOf(distance: number): number {
  return Math.floor(distance / DRAIN_STEP);
}

/** Whether a distance is not longer than another, within what may be noise: 10 %, or 2 ms. */
export function isAboutAsGood(distance: number, other: number): boolean {
  const drains = drainsOf(distance) - drainsOf(other);
  if (drains !== 0) return drains < 0;
  const [cost, otherCost] = [distance % DRAIN_STEP, other % DRAIN_STEP];
  return cost <= otherCost + Math.max(otherCost / 10, 2000);
}
