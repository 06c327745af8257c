// Specs that need what not every machine has: a program, a kernel, a right.

import { describe, it } from '@jest/globals';

export interface Obstacle {
  readonly reason: string;
  /** It can be had, by installing something: its lack is a failure in CI. A kernel or a right cannot. */
  readonly isMissing: boolean;
}

/** Declares specs that are skipped with a message where there is an obstacle, unless CI should have it out of the way. */
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
      process.stderr.write(`${title}: skipped, ${reason}\n`);
      it.skip(`is skipped: ${reason}`, () => {});
    }
  });
}
