// Which node is forgotten for a new one when there are as many as may be: one that cannot be reached, or whoever makes up
// identities by the thousand would keep everybody else out. Those that never could be reached go first, then those that
// have been known the longest.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import type { KnownOrigin, RecordStore } from '../records/store.js';

/** A look at all nodes takes time, so it is done once in that long at most, and finds no more than so many. */
const LOOK_MS = 1_000;
const MAX_FOUND = 64;
/** What a newcomer has until it must be reached. */
const MIN_AGE_MS = 10_000;

export class GivingWay {
  /** The first to go last. */
  private found: NodeId[] = [];
  private lookedMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly self: NodeId,
    private readonly timers: Timers,
    private readonly store: RecordStore,
    private readonly isReachable: (nodeId: NodeId) => boolean,
  ) {}

  /** The next one to be forgotten, if there is any. */
  next(): NodeId | undefined {
    const known = this.nextFound();
    const now = this.timers.now();
    if (known !== undefined || now - this.lookedMs < LOOK_MS) return known;
    this.lookedMs = now;
    this.look(now);
    return this.nextFound();
  }

  private nextFound(): NodeId | undefined {
    for (let nodeId = this.found.at(-1); nodeId !== undefined; nodeId = this.found.at(-1)) {
      if (this.store.origin(nodeId) !== undefined && !this.isReachable(nodeId)) return nodeId;
      this.found.pop();
    }
    return undefined;
  }

  private look(now: number): void {
    const strangers: NodeId[] = [];
    const others: NodeId[] = [];
    // In the order in which they have become known.
    for (const [nodeId, origin] of this.store.origins()) {
      if (strangers.length >= MAX_FOUND) break;
      if (!this.mayGo(nodeId, origin, now)) continue;
      if (!origin.wasReached) strangers.push(nodeId);
      else if (others.length < MAX_FOUND) others.push(nodeId);
    }
    this.found = [...strangers, ...others].slice(0, MAX_FOUND).reverse();
  }

  private mayGo(nodeId: NodeId, origin: KnownOrigin, now: number): boolean {
    return nodeId !== this.self && now - origin.sinceMs >= MIN_AGE_MS && !this.isReachable(nodeId);
  }
}
