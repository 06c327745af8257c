// The round trip of a link in microseconds: the smallest recent sample, since a loaded link answers late by its own
// queues and windows must not grow to fill those.

/** Samples older than this say nothing about the link's path any more. */
const WINDOW_MS = 60_000;

export class RoundTrip {
  private bestUs = 0;
  private bestAt = 0;
  private previousUs = 0;

  /** `rttMs` measured at `now`, both in ms. */
  sample(rttMs: number, now: number): void {
    const us = Math.max(1, Math.round(rttMs * 1000));
    if (this.bestUs === 0) {
      this.bestUs = us;
      this.bestAt = now;
    } else if (now - this.bestAt > WINDOW_MS) {
      // The best of the last minute and of what came since: a path that has become longer shows after one minute.
      this.bestUs = Math.min(us, this.previousUs || us);
      this.previousUs = 0;
      this.bestAt = now;
    } else if (us <= this.bestUs) {
      this.bestUs = us;
      this.bestAt = now;
      this.previousUs = 0;
      return;
    }
    this.previousUs = this.previousUs === 0 ? us : Math.min(this.previousUs, us);
  }

  /** Microseconds, 0 before the first sample. */
  get us(): number {
    return this.bestUs;
  }
}
