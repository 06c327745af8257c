// Eviction: when the store holds as many nodes as it may, an unreachable node is forgotten for a new one. Otherwise someone
// who invents identities by the thousand would keep all others out. Nodes that were never reachable go first, then those that
// have been known for longest.

import type { NodeId } from '../../address.js';
import type { GossipContext } from '../gossip/gossip.js';
import type { NodeEntry } from '../records/store.js';

/** A search through all nodes takes time, so there is one in this time at most, for a limited number of nodes. */
const SEARCH_MS = 1_000;
const MAX_FOUND = 64;
/** The time that a new node has to become reachable. */
const MIN_AGE_MS = 10_000;

export class Eviction {
  /** The next one to evict is last. */
  private found: NodeId[] = [];
  private searchedMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly context: GossipContext) {}

  /** Returns the next node to evict, if there is one. */
  next(): NodeId | undefined {
    const known = this.nextFound();
    const now = this.context.timers.now();
    if (known !== undefined || now - this.searchedMs < SEARCH_MS) return known;
    this.searchedMs = now;
    this.search(now);
    return this.nextFound();
  }

  private nextFound(): NodeId | undefined {
    for (let nodeId = this.found.at(-1); nodeId !== undefined; nodeId = this.found.at(-1)) {
      if (this.context.store.entry(nodeId) !== undefined && !this.context.isReachable(nodeId)) return nodeId;
      this.found.pop();
    }
    return undefined;
  }

  private search(now: number): void {
    const neverReached: NodeId[] = [];
    const others: NodeId[] = [];
    // The oldest entries come first.
    for (const [nodeId, entry] of this.context.store.entries()) {
      if (neverReached.length >= MAX_FOUND) break;
      if (!this.mayGo(nodeId, entry, now)) continue;
      if (!entry.wasReached) neverReached.push(nodeId);
      else if (others.length < MAX_FOUND) others.push(nodeId);
    }
    this.found = [...neverReached, ...others].slice(0, MAX_FOUND).reverse();
  }

  private mayGo(nodeId: NodeId, entry: NodeEntry, now: number): boolean {
    return nodeId !== this.context.self && now - entry.sinceMs >= MIN_AGE_MS && !this.context.isReachable(nodeId);
  }
}
