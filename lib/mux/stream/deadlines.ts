// One deadline per stream for a whole session, with one timer: every stream gets the same time, so they fall due in the
// order in which they were added, and a stream that makes it in time leaves at the cost of a map entry.

import type { Timed, Timer, Timers } from '../../util/timers.js';

export class Deadlines<T> implements Timed {
  private readonly due = new Map<T, number>();
  private timer: Timer | null = null;
  private isRunning = false;

  /**
   * @param timeoutMs time that every member gets, in ms; 0 for no limit
   * @param onExpired called for each member whose time is up, after it was taken out
   */
  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
    private readonly onExpired: (member: T) => void,
  ) {}

  get size(): number {
    return this.due.size;
  }

  add(member: T): void {
    if (this.timeoutMs === 0) return;
    this.due.set(member, this.timers.now() + this.timeoutMs);
    if (!this.isRunning) this.timer ??= this.timers.schedule(this.timeoutMs, this);
  }

  delete(member: T): void {
    if (this.due.size > 0) this.due.delete(member);
  }

  clear(): void {
    this.due.clear();
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
  }

  onDeadline(now: number): void {
    this.isRunning = true;
    for (const [member, at] of this.due) {
      if (at > now) break;
      this.due.delete(member);
      this.expire(member);
    }
    this.isRunning = false;
    this.timer = null;
    // Whoever is first now, those that expired members brought in included.
    for (const at of this.due.values()) {
      this.timer = this.timers.schedule(at - now, this);
      return;
    }
  }

  private expire(member: T): void {
    try {
      this.onExpired(member);
    } catch (error) {
      this.timers.clock.setImmediate(() => {
        throw error;
      });
    }
  }
}
