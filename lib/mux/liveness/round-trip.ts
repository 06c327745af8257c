// The round trip of a link in microseconds: the smallest sample of the last half to whole minute, since a loaded link answers
// late by its own queues and windows must not grow to fill those.

/** Samples older than twice this say nothing about the link's path any more. */
const PERIOD_MS = 30_000;

export class RoundTrip {
  /** The smallest of the current period and of the one before, 0 for none. */
  private currentUs = 0;
  private beforeUs = 0;
  private periodStart = 0;

  /** `rttMs` measured at `now`, both in ms. */
  sample(rttMs: number, now: number): void {
    const us = Math.max(1, Math.round(rttMs * 1000));
    if (this.currentUs === 0) this.periodStart = now;
    if (now - this.periodStart > PERIOD_MS) {
      this.beforeUs = now - this.periodStart > 2 * PERIOD_MS ? 0 : this.currentUs;
      this.currentUs = us;
      this.periodStart = now;
    } else if (this.currentUs === 0 || us < this.currentUs) this.currentUs = us;
  }

  /** Microseconds, 0 before the first sample. */
  get us(): number {
    return this.beforeUs === 0 ? this.currentUs : Math.min(this.currentUs, this.beforeUs);
  }
}
