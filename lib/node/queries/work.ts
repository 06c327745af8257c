// How much of the node queries may take. An answer about a mesh of a thousand nodes keeps the event loop busy for a tenth of a second, and
// has megabytes: what callers may take is time, each of them and all together, and not only requests.

import { performanceNow } from '../../util/runtime/real-timers.js';
import type { Timers } from '../../util/timers.js';
import { type Rate, TokenBucket } from '../../util/token-bucket.js';

/** Milliseconds of work for one caller. */
const WORK_OF_CALLER: Rate = { perS: 100, burst: 1_000 };
/** Milliseconds of work for all callers together: a quarter of the event loop. */
export const WORK_OF_ALL: Rate = { perS: 250, burst: 2_000 };

/** Counts work. */
export interface Work {
  /** Returns why no more work is done now: what the caller has used up is its own, or that of all. */
  readonly isSpent: 'caller' | 'all' | undefined;
  /** Takes what one piece of work took, in ms. */
  charge(tookMs: number): void;
}

/** The work for one caller, which counts for all as well. */
export class CallerWork implements Work {
  private readonly own = new TokenBucket(WORK_OF_CALLER);

  constructor(
    private readonly timers: Timers,
    private readonly all: TokenBucket,
  ) {}

  get isSpent(): 'caller' | 'all' | undefined {
    const now = this.timers.now();
    // More than there is may be taken: how long an answer takes shows only afterwards.
    if (!this.own.canTake(now)) return 'caller';
    return this.all.canTake(now) ? undefined : 'all';
  }

  charge(tookMs: number): void {
    const now = this.timers.now();
    this.own.take(now, tookMs);
    this.all.take(now, tookMs);
  }
}

/** For callers that have shown who they are in another way. */
export const UNLIMITED: Work = { isSpent: undefined, charge: () => {} };

/** Does work in one turn of the event loop, and charges it. */
export function charged<Result>(work: Work, run: () => Result): Result {
  const began = performanceNow();
  try {
    return run();
  } finally {
    work.charge(performanceNow() - began);
  }
}
