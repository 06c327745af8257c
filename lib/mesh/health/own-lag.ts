// Whether this process itself is late: one ticker for all links of a node. A tick that comes late says that the event
// loop was blocked, and that whatever arrived meanwhile may still be unread (libuv runs timers before it reads).

import type { Timed, Timer, Timers } from '../../util/timers.js';

/** A block of the event loop rarely comes alone: after a late tick, this many come at the shortest interval. */
const ALERT_TICKS = 10;
/** Later than this, a round trip that was measured says more about this process than about the peer. */
const RTT_LAG_MS = 50;

export interface OwnLagOwner {
  /** Every tick, however late it comes. `now` and `lateMs` in ms. Returns how long the next one may wait, in ms. */
  onTick(now: number, lateMs: number): number;
}

export class OwnLag implements Timed {
  private timer: Timer | undefined;
  private isRunning = false;
  private dueMs = 0;
  private lastLateMs = 0;
  private alertTicks = 0;

  /** `tickMs`: the shortest interval. */
  constructor(
    private readonly timers: Timers,
    readonly tickMs: number,
    private readonly owner: OwnLagOwner,
  ) {}

  /** The last tick was late, or the next one is already. */
  get isLagging(): boolean {
    if (!this.isRunning) return false;
    return this.lastLateMs > RTT_LAG_MS || this.timers.now() - this.dueMs > RTT_LAG_MS;
  }

  start(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.lastLateMs = 0;
    this.alertTicks = 0;
    this.schedule(this.timers.now(), this.tickMs);
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
    this.isRunning = false;
  }

  onDeadline(now: number): void {
    this.lastLateMs = Math.max(0, now - this.dueMs);
    if (this.lastLateMs > RTT_LAG_MS) this.alertTicks = ALERT_TICKS;
    else if (this.alertTicks > 0) this.alertTicks--;
    this.timer = undefined;
    const restMs = this.owner.onTick(now, this.lastLateMs);
    // Stopped by the owner.
    if (!this.isRunning) return;
    this.schedule(now, this.alertTicks > 0 ? this.tickMs : Math.max(this.tickMs, restMs));
  }

  private schedule(now: number, waitMs: number): void {
    this.dueMs = now + waitMs;
    this.timer = this.timers.schedule(waitMs, this);
  }
}
