// How long the recent opens of a service took, for the time after which a second instance is asked. Pure.

const KEPT = 128;
/** With fewer than these, nothing is known. */
const MIN_SAMPLES = 20;
/** The percentile is computed again after so many more. */
const RENEWED_AFTER = 8;

export class OpenTimes {
  private readonly times = new Float64Array(KEPT);
  private count = 0;
  private computedAt = 0;
  private computedMs = Number.POSITIVE_INFINITY;

  constructor(private readonly percentile: number) {}

  add(tookMs: number): void {
    this.times[this.count % KEPT] = tookMs;
    this.count++;
  }

  /** Returns the time that `percentile` of them took at most, in ms; Infinity while too little is known. */
  get limitMs(): number {
    const { count } = this;
    if (count < MIN_SAMPLES) return Number.POSITIVE_INFINITY;
    if (this.computedAt === 0 || count - this.computedAt >= RENEWED_AFTER) {
      const sorted = this.times.slice(0, Math.min(count, KEPT)).sort();
      this.computedMs = sorted[Math.min(sorted.length - 1, Math.ceil(this.percentile * sorted.length) - 1)];
      this.computedAt = count;
    }
    return this.computedMs;
  }
}
