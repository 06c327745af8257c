// When a node may tell of a change of its own: bad news at once, good news together with what follows in the next moment,
// what is not needed yet a little later, costs later still; and the more it changes, the longer the pauses. Pure.

import { type Rate, TokenBucket } from '../../util/token-bucket.js';
import { LEAVING_LIFE_S } from '../gossip/expiry.js';

/**
 * `bad`: a link is lost. `good`: somebody can be reached who could not, or at another address. `more`: there is another
 * way to those who can. `cost`: a link has become slower or faster. `known`: a link is lost to a peer that has said itself
 * that it leaves: told with the next change, and by itself only when that takes longer than the peer's word lasts.
 */
export type Urgency = 'bad' | 'good' | 'more' | 'cost' | 'known';

/** Together with what follows in the next moment. */
export const COALESCE_MS = 50;
/** Together with the other links of a node that joins: it makes them within a second. */
const MORE_MS = 1_000;
const COST_MS = 5_000;
const KNOWN_MS = 0.8 * LEAVING_LIFE_S * 1_000;
const WAIT_MS = { good: COALESCE_MS, more: MORE_MS, cost: COST_MS, known: KNOWN_MS } as const;
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/**
 * Changes that had to wait, or came hard upon each other, before the pauses grow. A network whose nodes all start within ten
 * seconds is not to wait for the pauses that this alone has brought about.
 */
const PATIENCE = 20;
const HARD_UPON_MS = 1_500;
const CALM_MS = 60_000;
/** Changes that need no pause: somebody has just joined, and wants to be found. */
const QUICK_RATE: Rate = { perS: 0.1, burst: 3 };
/** Below what receivers allow, which is a burst of 10 and 1 a second: what is late on its way must not seem too much. */
const RATE: Rate = { perS: 0.9, burst: 5 };

export class NodeThrottle {
  /** When the change may be told; Infinity: there is none. */
  private dueMs = Number.POSITIVE_INFINITY;
  private isBad = false;
  private lastMs = Number.NEGATIVE_INFINITY;
  private pauseMs = MIN_PAUSE_MS;
  private delayed = 0;
  private hasWaited = false;
  private readonly bucket = new TokenBucket(RATE);
  private readonly quick = new TokenBucket(QUICK_RATE);

  want(urgency: Urgency, now: number): void {
    if (urgency === 'bad') {
      this.isBad = true;
      this.dueMs = now;
      return;
    }
    const soonMs = now + WAIT_MS[urgency];
    const needsPause = this.pauseMs > MIN_PAUSE_MS || !this.quick.canTake(now);
    const pauseMs = needsPause ? this.lastMs + this.pauseMs : Number.NEGATIVE_INFINITY;
    if (pauseMs > soonMs) this.hasWaited = true;
    this.dueMs = Math.min(this.dueMs, Math.max(soonMs, pauseMs));
  }

  /** When the change may be told; Infinity when there is none. */
  dueAt(now: number): number {
    if (this.dueMs === Number.POSITIVE_INFINITY) return this.dueMs;
    // The last token is for bad news.
    return Math.max(this.dueMs, now + this.bucket.waitMs(now, this.isBad ? 1 : 2));
  }

  /** It has been told. */
  told(now: number): void {
    if (now - this.lastMs > CALM_MS) {
      this.pauseMs = MIN_PAUSE_MS;
      this.delayed = 0;
    } else if (this.isPressed(now) && ++this.delayed > PATIENCE) {
      this.pauseMs = Math.min(2 * this.pauseMs, MAX_PAUSE_MS);
    }
    if (now < this.lastMs + MIN_PAUSE_MS) this.quick.take(now);
    this.bucket.take(now);
    this.lastMs = now;
    this.forget();
  }

  private isPressed(now: number): boolean {
    return this.hasWaited || (!this.isBad && now < this.lastMs + HARD_UPON_MS);
  }

  /** There was nothing to tell after all. */
  forget(): void {
    this.dueMs = Number.POSITIVE_INFINITY;
    this.isBad = false;
    this.hasWaited = false;
  }
}
