// The ways to a node that pass none of some others: for a circuit that has found a node gone which everybody still lists.
// By shortest paths over all records, each neighbour of the gap would lead there anew. One walk from the destination
// until every peer in question is reached; how much is walked in a second is bounded.

import type { Timers } from '../../util/timers.js';
import { TokenBucket } from '../../util/token-bucket.js';
import { MinHeap } from './min-heap.js';
import { DRAIN_STEP } from './shortest-paths.js';
import { DRAINING, SELF, type Topology, TRANSIT } from './topology.js';

/** Nodes that may be walked over: two hundred walks a second in a mesh of a thousand nodes. */
const WALKED = { perS: 200_000, burst: 200_000 };

/** Used by one walk at a time, whoever's it is: a walk calls nobody. */
const heap = new MinHeap();

export class Detour {
  private readonly budget = new TokenBucket(WALKED);

  constructor(
    private readonly topology: Topology,
    private readonly timers: Timers,
  ) {}

  /**
   * What the way costs from each of `peers` to the node, as in {@link ShortestPaths}, past `avoided` and this node; a peer
   * without such a way is not in it. Undefined when there has been too much of that lately.
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
      if (peers.has(node)) found.set(node, reached);
      if (node !== dst && (flags[node] & TRANSIT) === 0) continue;
      const through = node === dst || (flags[node] & DRAINING) === 0 ? reached : reached + DRAIN_STEP;
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
