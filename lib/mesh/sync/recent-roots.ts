// The roots that the own database had in the last moments. A peer that says one of them is not different: it spoke before
// the newest records reached it.

/** Longer than a record takes from one neighbour to the next. */
const RECENT_MS = 2_000;
const MAX_ROOTS = 64;

export class RecentRoots {
  private readonly high = new Uint32Array(MAX_ROOTS);
  private readonly low = new Uint32Array(MAX_ROOTS);
  private readonly untilMs = new Float64Array(MAX_ROOTS);
  private next = 0;

  /** The root was this until now. */
  add(high: number, low: number, now: number): void {
    this.high[this.next] = high;
    this.low[this.next] = low;
    this.untilMs[this.next] = now + RECENT_MS;
    this.next = (this.next + 1) % MAX_ROOTS;
  }

  has(high: number, low: number, now: number): boolean {
    for (let index = 0; index < MAX_ROOTS; index++) {
      if (this.high[index] === high && this.low[index] === low && this.untilMs[index] > now) return true;
    }
    return false;
  }
}
