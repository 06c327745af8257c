// When a node may publish a change of its record: a loss at once, a gain together with the changes of the next moment,
// redundant links a little later, costs later still. The more often the record changes, the longer the pauses. Pure.

import { type Rate, TokenBucket } from '../../util/token-bucket.js';

/**
 * How long a change may wait.
 *
 * - `now`: a link is lost.
 * - `soon`: a node has become reachable, or its address has changed.
 * - `redundantLink`: a new link to nodes that were reachable before.
 * - `metric`: a link has become slower or faster.
 * - `peerLeaving`: the link to a peer is lost that has announced its leaving itself, so that nobody uses the link any more. The change is
 *   published with the next one: mostly a new link takes its place, or the peer is back.
 */
export type Urgency = 'now' | 'soon' | 'redundantLink' | 'metric' | 'peerLeaving';

/** Changes within this time are published together. */
export const COALESCE_MS = 50;
const WAIT_MS = {
  soon: COALESCE_MS,
  /** A node that joins makes its links within a second. */
  redundantLink: 1_000,
  metric: 5_000,
  peerLeaving: 10_000,
} as const;
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/**
 * Delayed or back-to-back changes tolerated before the pause doubles, so that a network whose nodes all start within ten
 * seconds is not slowed by its own start-up.
 */
const TOLERATED_CHANGES = 20;
const BACK_TO_BACK_MS = 1_500;
const CALM_MS = 60_000;
/** Changes that need no pause: a node that has just joined wants to be found. */
const QUICK_RATE: Rate = { perS: 0.1, burst: 3 };
/** Below what receivers allow (a burst of 10, then 1 a second): records that are delayed on their way must not look like a flood. */
const RATE: Rate = { perS: 0.9, burst: 5 };

export class NodeThrottle {
  /** When the change may be published; Infinity when there is none. */
  private dueMs = Number.POSITIVE_INFINITY;
  private isUrgent = false;
  private lastMs = Number.NEGATIVE_INFINITY;
  private pauseMs = MIN_PAUSE_MS;
  private delayed = 0;
  private hasWaited = false;
  private readonly bucket = new TokenBucket(RATE);
  private readonly quick = new TokenBucket(QUICK_RATE);

  want(urgency: Urgency, now: number): void {
    if (urgency === 'now') {
      this.isUrgent = true;
      this.dueMs = now;
      return;
    }
    const soonMs = now + WAIT_MS[urgency];
    const needsPause = this.pauseMs > MIN_PAUSE_MS || !this.quick.canTake(now);
    const pauseMs = needsPause ? this.lastMs + this.pauseMs : Number.NEGATIVE_INFINITY;
    if (pauseMs > soonMs) this.hasWaited = true;
    this.dueMs = Math.min(this.dueMs, Math.max(soonMs, pauseMs));
  }

  /** Returns when the change may be published; Infinity when there is none. */
  dueAt(now: number): number {
    if (this.dueMs === Number.POSITIVE_INFINITY) return this.dueMs;
    // The last token is kept for urgent changes.
    return Math.max(this.dueMs, now + this.bucket.waitMs(now, this.isUrgent ? 1 : 2));
  }

  /** Called when the record has been published. */
  onPublished(now: number): void {
    if (now - this.lastMs > CALM_MS) {
      this.pauseMs = MIN_PAUSE_MS;
      this.delayed = 0;
    } else if (this.isPressed(now) && ++this.delayed > TOLERATED_CHANGES) {
      this.pauseMs = Math.min(2 * this.pauseMs, MAX_PAUSE_MS);
    }
    if (now < this.lastMs + MIN_PAUSE_MS) this.quick.take(now);
    this.bucket.take(now);
    this.lastMs = now;
    this.cancel();
  }

  private isPressed(now: number): boolean {
    return this.hasWaited || (!this.isUrgent && now < this.lastMs + BACK_TO_BACK_MS);
  }

  /** Drops the change: there is nothing to publish after all. */
  cancel(): void {
    this.dueMs = Number.POSITIVE_INFINITY;
    this.isUrgent = false;
    this.hasWaited = false;
  }
}
