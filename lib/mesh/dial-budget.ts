// How often this node may try to connect: two attempts a second, five at once after a rest. Whatever goes wrong in the
// choice of neighbours, it cannot become a storm of dials.

import { starlaneError } from '../errors.js';
import type { Timed, Timer, Timers } from '../util/timers.js';

const INTERVAL_MS = 500;
const BURST = 5;
const MAX_WAITING = 64;

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

export class DialBudget implements Timed {
  private tokens = BURST;
  private countedMs: number;
  private readonly waiting: Waiter[] = [];
  private timer: Timer | undefined;

  constructor(private readonly timers: Timers) {
    this.countedMs = timers.now();
  }

  /** Resolved when it is one's turn. @throws ERR_STARLANE_LINK_LIMIT when too many wait, ERR_STARLANE_CLOSED by stop */
  async take(): Promise<void> {
    this.count();
    if (this.tokens >= 1 && this.waiting.length === 0) {
      this.tokens--;
      return;
    }
    if (this.waiting.length >= MAX_WAITING) {
      throw starlaneError('ERR_STARLANE_LINK_LIMIT', `${MAX_WAITING} dials wait already`);
    }
    await new Promise<void>((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.arm();
    });
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
    for (const waiter of this.waiting.splice(0)) waiter.reject(starlaneError('ERR_STARLANE_CLOSED'));
  }

  /** @internal */
  onDeadline(): void {
    this.timer = undefined;
    this.count();
    for (; this.tokens >= 1 && this.waiting.length > 0; this.tokens--) this.waiting.shift()?.resolve();
    if (this.waiting.length > 0) this.arm();
  }

  private arm(): void {
    this.timer ??= this.timers.schedule((1 - this.tokens) * INTERVAL_MS, this);
  }

  private count(): void {
    const now = this.timers.now();
    this.tokens = Math.min(BURST, this.tokens + (now - this.countedMs) / INTERVAL_MS);
    this.countedMs = now;
  }
}
