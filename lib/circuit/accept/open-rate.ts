// How many circuits a second one link may open to services of this node. Counted down, so that an OPEN costs no look at the
// clock but one in as many as may come in a second.

export class OpenRate {
  private left: number;

  /** @param perSecond that many a second in the long run, at most twice as many in any one second */
  constructor(
    readonly perSecond: number,
    private filledAtMs: number,
  ) {
    this.left = perSecond;
  }

  /** @param clock in ms; only looked at when nothing is left */
  take(clock: { now(): number }): boolean {
    if (this.left < 1 && !this.fill(clock.now())) return false;
    this.left--;
    return true;
  }

  private fill(now: number): boolean {
    const { perSecond } = this;
    this.left = Math.min(perSecond, this.left + ((now - this.filledAtMs) * perSecond) / 1000);
    this.filledAtMs = now;
    return this.left >= 1;
  }
}
