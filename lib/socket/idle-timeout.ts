// The idle timeout of one socket. Made only for sockets that set one; activity costs a number, not a timer.

import { sharedTimers, type Timed, type Timer } from '../util/timers.js';

export class IdleTimeout implements Timed {
  private timer: Timer | null;
  private lastActive: number;

  constructor(
    private readonly timeoutMs: number,
    private readonly onIdle: () => void,
  ) {
    this.lastActive = sharedTimers.now();
    this.timer = sharedTimers.schedule(timeoutMs, this);
  }

  /** Bytes went in or out: the time counts from now. */
  touch(): void {
    this.lastActive = sharedTimers.now();
    this.timer ??= sharedTimers.schedule(this.timeoutMs, this);
  }

  stop(): void {
    if (this.timer !== null) sharedTimers.cancel(this.timer);
    this.timer = null;
  }

  onDeadline(now: number): void {
    const left = this.lastActive + this.timeoutMs - now;
    if (left > 0) {
      this.timer = sharedTimers.schedule(left, this);
      return;
    }
    // As net.Socket: once, and again only after further activity.
    this.timer = null;
    this.onIdle();
  }
}
