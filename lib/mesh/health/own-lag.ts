// Whether this process itself is late: one ticker for all links of a node. A tick that comes late says that the event
// loop was blocked, and that whatever arrived meanwhile may still be unread (libuv runs timers before it reads).

import type { Timed, Timer, Timers } from '../../util/timers.js';

/** Later than this, a round trip that was measured says more about this process than about the peer. */
const RTT_LAG_MS = 50;

export interface OwnLagOwner {
  /** Every tick, however late it comes. `now` and `lateMs` in ms. */
  onTick(now: number, lateMs: number): void;
}

export class OwnLag implements Timed {
  private timer: Timer | undefined;
  private dueMs = 0;
  private lastLateMs = 0;

  constructor(
    private readonly timers: Timers,
    readonly tickMs: number,
    private readonly owner: OwnLagOwner,
  ) {}

  get isRunning(): boolean {
    return this.timer !== undefined;
  }

  /** The last tick was late, or the next one is already. */
  get isLagging(): boolean {
    if (this.timer === undefined) return false;
    return this.lastLateMs > RTT_LAG_MS || this.timers.now() - this.dueMs > RTT_LAG_MS;
  }

  start(): void {
    if (this.timer !== undefined) return;
    this.lastLateMs = 0;
    this.schedule(this.timers.now());
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.lastLateMs = Math.max(0, now - this.dueMs);
    this.schedule(now);
    this.owner.onTick(now, this.lastLateMs);
  }

  private schedule(now: number): void {
    this.dueMs = now + this.tickMs;
    this.timer = this.timers.schedule(this.tickMs, this);
  }
}
