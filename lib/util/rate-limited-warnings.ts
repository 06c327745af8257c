// Warnings that a stranger can cause: the same one is told once, and never many in a short time.

import { RecentMap } from './recent-map.js';
import type { Timers } from './timers.js';
import { type Rate, TokenBucket } from './token-bucket.js';

const RATE: Rate = { perS: 0.1, burst: 10 };
const MAX_REMEMBERED = 1_024;

export class WarnOnce {
  private readonly told = new RecentMap<string, true>(MAX_REMEMBERED);
  private readonly bucket = new TokenBucket(RATE);

  constructor(
    private readonly timers: Timers,
    private readonly tell: (error: Error) => void,
  ) {}

  warn(subject: string, error: Error): void {
    const now = this.timers.now();
    if (this.told.has(subject) || !this.bucket.canTake(now)) return;
    this.bucket.take(now);
    this.told.set(subject, true);
    this.tell(error);
  }
}
