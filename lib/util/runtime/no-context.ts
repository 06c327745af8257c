// Work outside every async context (AsyncLocalStorage). Links, timers and queues serve all users of a process: they must neither pass the
// context of the user who happened to start them to the others nor keep it alive.

import { AsyncResource } from 'node:async_hooks';

const neutral = new AsyncResource('STARLANE');

/** Calls `run` in the context in which the library was loaded. */
export function withoutContext<Args extends unknown[], Result>(run: (...args: Args) => Result, ...args: Args): Result {
  return neutral.runInAsyncScope(run, undefined, ...args);
}
