// The greatest or smallest recent value, in constant memory: of the current period and of the one before.

abstract class WindowedExtreme {
  private current = Number.NaN;
  private before = Number.NaN;
  private since = 0;

  /** Returns the one of the two that counts. */
  protected abstract pick(one: number, other: number): number;

  /**
   * `value` was measured at `now`. A period takes `memoryMs`: what is older than two of them is forgotten, but the last values
   * before a time without any stay for one more. In ms.
   */
  add(value: number, now: number, memoryMs: number): void {
    if (Number.isNaN(this.current)) this.since = now;
    if (now - this.since >= memoryMs) {
      this.before = this.current;
      this.current = value;
      this.since = now;
    } else this.current = Number.isNaN(this.current) ? value : this.pick(this.current, value);
  }

  /** 0 before the first value. */
  get value(): number {
    if (Number.isNaN(this.current)) return 0;
    return Number.isNaN(this.before) ? this.current : this.pick(this.current, this.before);
  }
}

export class WindowedMax extends WindowedExtreme {
  protected pick(one: number, other: number): number {
    return Math.max(one, other);
  }
}

export class WindowedMin extends WindowedExtreme {
  protected pick(one: number, other: number): number {
    return Math.min(one, other);
  }
}
