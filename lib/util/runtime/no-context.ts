// A place for what belongs to nobody: links, timers and queues serve all users of a process, and must neither hand the async
// context (AsyncLocalStorage) of the one who happened to start them to the others nor keep it alive.

import { AsyncResource } from 'node:async_hooks';

const nobody = new AsyncResource('STARLANE');

/** Calls `run` in the context in which the library was loaded. */
export function withoutContext<Args extends unknown[], Result>(run: (...args: Args) => Result, ...args: Args): Result {
  return nobody.runInAsyncScope(run, undefined, ...args);
}
