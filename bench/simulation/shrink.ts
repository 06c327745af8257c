// From a list with which something fails to a short one with which it still does, by leaving out ever smaller parts.

/** @param limit how often `fails` is called at most */
export async function shrink<T>(
  failing: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
  limit: number,
): Promise<readonly T[]> {
  let best = failing;
  let calls = 0;
  for (let length = Math.ceil(best.length / 2); length >= 1; ) {
    let hasShrunk = false;
    for (let at = 0; at < best.length; ) {
      if (calls++ >= limit) return best;
      const shorter = [...best.slice(0, at), ...best.slice(at + length)];
      if (await fails(shorter)) {
        best = shorter;
        hasShrunk = true;
      } else at += length;
    }
    // Single ones until none can be spared: one may have been needed by another that is gone.
    if (length > 1) length = Math.ceil(length / 2);
    else if (!hasShrunk) return best;
  }
  return best;
}
