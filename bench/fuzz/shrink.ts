// The smallest input that still fails: what is left of it is what matters.

import type { Parts } from './target.js';

/** Enough for what is a few hundred bytes long. */
const MAX_ATTEMPTS = 3_000;

export async function shrink(
  parts: Parts,
  fails: (parts: Parts) => Promise<boolean>,
  maxAttempts = MAX_ATTEMPTS,
): Promise<Buffer[]> {
  let best = [...parts];
  let attempts = 0;
  const isBetter = async (candidate: Buffer[]): Promise<boolean> => {
    if (++attempts > maxAttempts || !(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let isProgress = true; isProgress && attempts < maxAttempts; ) {
    isProgress = false;
    for (let at = best.length - 1; at >= 0; at--) {
      if (await isBetter(best.filter((_, index) => index !== at))) isProgress = true;
    }
    for (let at = 0; at < best.length; at++) {
      for (let size = best[at].length; size >= 1; size >>>= 1) {
        for (let start = 0; start + size <= best[at].length; ) {
          const bytes = best[at];
          const shorter = Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + size)]);
          if (await isBetter(best.with(at, shorter))) isProgress = true;
          else start += size;
        }
      }
      for (let index = 0; index < best[at].length; index++) {
        if (best[at][index] === 0) continue;
        const plain = Buffer.from(best[at]);
        plain[index] = 0;
        if (await isBetter(best.with(at, plain))) isProgress = true;
      }
    }
  }
  return best;
}
