// The wait before a retry: doubled at each failure, and shorter at random, so that nodes that failed together do not come back in step.

export interface BackOff {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Each wait is up to this share shorter. */
const JITTER = 0.5;

/** Returns the wait after a failure, in ms. `failures`: how many there were before this one. */
export function backOffMs(failures: number, { minMs, maxMs }: BackOff, random: () => number): number {
  // The exponent is bounded so that it cannot become infinite before the minimum is taken.
  return Math.min(maxMs, minMs * 2 ** Math.min(failures, 40)) * (1 - JITTER * random());
}
