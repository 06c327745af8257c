// An exception of a user's handler surfaces as it would from a socket of its own: uncaught, in a tick of its own. Thrown
// on through the code that serves all streams of a link, it would cost the others their data.

import { nextTick } from './real-timers.js';

/** How errors are raised: as uncaught ones. Specs of what raises them collect them instead. */
export const raising = {
  raise(error: unknown): void {
    nextTick(() => {
      throw error;
    });
  },
};

export function throwLater(error: unknown): void {
  raising.raise(error);
}

/** Calls a handler of someone else; what it throws is its own affair. */
export function guard(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    throwLater(error);
  }
}
