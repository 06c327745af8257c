// Rate limits: so many a second, and so many at once. The whole state is one number, the time at which the bucket will be full again,
// so thousands of idle buckets cost nothing.

export interface Rate {
  readonly perS: number;
  readonly burst: number;
}

/** Returns whether `cost` may be taken now from a bucket that is full at `fullAtMs`. */
export function canTake(fullAtMs: number, now: number, rate: Rate, cost = 1): boolean {
  return waitMs(fullAtMs, now, rate, cost) <= 0;
}

/** Returns when the bucket is full again after `cost` was taken. A whole number, as thousands are kept. */
export function afterTaking(fullAtMs: number, now: number, rate: Rate, cost = 1): number {
  return Math.ceil(Math.max(fullAtMs, now) + (cost * 1000) / rate.perS);
}

/** Returns how long until `cost` may be taken, in ms; 0 and less: now. A cost above the burst is taken from a full bucket. */
export function waitMs(fullAtMs: number, now: number, rate: Rate, cost = 1): number {
  const spareMs = (Math.max(rate.burst - cost, 0) * 1000) / rate.perS;
  return Math.max(fullAtMs - now, 0) - spareMs;
}

export class TokenBucket {
  private fullAtMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly rate: Rate) {}

  canTake(now: number, cost = 1): boolean {
    return canTake(this.fullAtMs, now, this.rate, cost);
  }

  take(now: number, cost = 1): void {
    this.fullAtMs = afterTaking(this.fullAtMs, now, this.rate, cost);
  }

  /** Returns how many may be taken now: at most the burst, and never below 0. */
  left(now: number): number {
    const { perS, burst } = this.rate;
    return Math.max(0, burst - (Math.max(this.fullAtMs - now, 0) * perS) / 1000);
  }

  waitMs(now: number, cost = 1): number {
    return Math.max(0, waitMs(this.fullAtMs, now, this.rate, cost));
  }
}
