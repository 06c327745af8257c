// Specs that need what not every machine has: a program, a kernel, a right.

import { describe, it } from '@jest/globals';

export interface Obstacle {
  /** What is missing, and after a colon how to get it. */
  readonly reason: string;
  /** It can be had, by installing something: its lack is a failure in CI. A kernel or a right cannot. */
  readonly isMissing: boolean;
}

/**
 * Declares specs that are skipped where there is an obstacle, unless CI should have it out of the way. The last lines of a run list what
 * was skipped (closing-reporter.cjs).
 */
export function describeUnless(obstacle: Obstacle | undefined, title: string, specs: () => void): void {
  if (obstacle === undefined) {
    describe(title, specs);
    return;
  }
  const { reason, isMissing } = obstacle;
  describe(title, () => {
    // A developer without it loses these specs; CI must not lose them unnoticed.
    if (isMissing && process.env['CI'] === 'true') {
      it('has what it needs in CI', () => {
        throw new Error(reason);
      });
    } else {
      it.skip(`is skipped: ${reason}`, () => {});
    }
  });
}
