// How many retries a service gets: a share of its dials, and some more a second. When everything fails, the load on it grows by that
// share instead of by the number of its instances. The idea is that of Finagle and Linkerd. Pure.

import { RecentCounts } from './recent-counts.js';

const WINDOW_MS = 10_000;

export class RetryBudget {
  private readonly counts = new RecentCounts(WINDOW_MS);
  private readonly reserve: number;

  constructor(
    /** Retries for each dial. */
    private readonly ratio: number,
    minPerSecond: number,
  ) {
    this.reserve = (minPerSecond * WINDOW_MS) / 1_000;
  }

  onDial(now: number): void {
    this.counts.add(1, 0, now);
  }

  /** Returns whether there may be one more retry. {@link take} counts it. */
  canTake(now: number): boolean {
    const { counts } = this;
    return counts.second(now) + 1 <= this.reserve + this.ratio * counts.first(now);
  }

  take(now: number): void {
    this.counts.add(0, 1, now);
  }
}
