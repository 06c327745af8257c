// An exception of a handler is thrown again in a later tick, where it would end the run. This collects it instead.

import { afterEach, beforeEach } from '@jest/globals';
import { raising } from '../../lib/util/runtime/throw-later.js';

/** For the specs of a describe block: the errors that the library raised. */
export function catchErrorsOfTicks(): Error[] {
  const caught: Error[] = [];
  const { raise } = raising;
  beforeEach(() => {
    caught.length = 0;
    raising.raise = (error) => {
      caught.push(error as Error);
    };
  });
  afterEach(() => {
    raising.raise = raise;
  });
  return caught;
}
