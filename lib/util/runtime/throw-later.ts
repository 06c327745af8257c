// Exceptions of users' handlers become uncaught errors in a tick of their own, as with Node's sockets. Thrown through the code that serves
// all streams of a link, they would cost the others their data.

import { nextTick } from './real-timers.js';

/** How errors are raised: as uncaught ones. Specs collect them instead. */
export const raising = {
  raise(error: unknown): void {
    nextTick(() => {
      throw error;
    });
  },
};

/** Raises an error as an uncaught one, in a later tick. */
export function throwLater(error: unknown): void {
  raising.raise(error);
}

/** Calls a handler of a user; what it throws is raised later. */
export function guard(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    throwLater(error);
  }
}
