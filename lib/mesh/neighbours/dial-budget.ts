// How often this node may try to connect: two attempts a second, five at once after a rest. Whatever goes wrong in the
// choice of neighbours, it cannot become a storm of dials.

import { starlaneError } from '../../errors.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { TokenBucket } from '../../util/token-bucket.js';

const RATE = { perS: 2, burst: 5 };
const MAX_WAITING = 64;

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

export class DialBudget implements Timed {
  private readonly bucket = new TokenBucket(RATE);
  private readonly waiting: Waiter[] = [];
  private timer: Timer | undefined;

  constructor(private readonly timers: Timers) {}

  /** Resolved when it is one's turn. @throws ERR_STARLANE_LINK_LIMIT when too many wait, ERR_STARLANE_CLOSED by stop */
  async take(): Promise<void> {
    const now = this.timers.now();
    if (this.waiting.length === 0 && this.bucket.canTake(now)) {
      this.bucket.take(now);
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

  onDeadline(): void {
    this.timer = undefined;
    const now = this.timers.now();
    while (this.waiting.length > 0 && this.bucket.canTake(now)) {
      this.bucket.take(now);
      this.waiting.shift()?.resolve();
    }
    if (this.waiting.length > 0) this.arm();
  }

  private arm(): void {
    this.timer ??= this.timers.schedule(this.bucket.waitMs(this.timers.now()), this);
  }
}
