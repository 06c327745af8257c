// Two counts over a sliding window: what happened within the last one or one half of it. Pure: time is an argument.

export class RecentCounts {
  private readonly halfMs: number;
  private startMs = Number.NEGATIVE_INFINITY;
  private readonly now: [number, number] = [0, 0];
  private readonly before: [number, number] = [0, 0];

  /** @param windowMs the longest time that counts; the shortest is half of it */
  constructor(windowMs: number) {
    this.halfMs = windowMs / 2;
  }

  add(first: number, second: number, now: number): void {
    this.move(now);
    this.now[0] += first;
    this.now[1] += second;
  }

  first(now: number): number {
    this.move(now);
    return this.now[0] + this.before[0];
  }

  second(now: number): number {
    this.move(now);
    return this.now[1] + this.before[1];
  }

  clear(): void {
    this.now.fill(0);
    this.before.fill(0);
  }

  private move(now: number): void {
    const passedMs = now - this.startMs;
    if (passedMs < this.halfMs) return;
    const isNext = passedMs < 2 * this.halfMs;
    for (const index of [0, 1]) {
      this.before[index] = isNext ? this.now[index] : 0;
      this.now[index] = 0;
    }
    this.startMs = isNext ? this.startMs + this.halfMs : now;
  }
}
