// The wait before something that failed is tried again: doubled at each failure, and shorter at random, so that those
// who failed together do not come back in step.

export interface BackOff {
  readonly minMs: number;
  readonly maxMs: number;
}

/** Each wait is this much shorter at most. */
const JITTER = 0.5;

/** `failures`: how many there were before this one. */
export function backOffMs(failures: number, { minMs, maxMs }: BackOff, random: () => number): number {
  // The exponent is bounded so that it cannot become infinite before the minimum is taken.
  return Math.min(maxMs, minMs * 2 ** Math.min(failures, 40)) * (1 - JITTER * random());
}
