// Iterators of users: how they are begun, ended, and not waited for longer than somebody is interested.

import { SchemaError } from '../validation.js';

/** Returns the iterator of what is given for a stream. @throws ERR_STARLANE_SCHEMA */
export function iteratorOf(value: unknown, what: string): AsyncIterator<unknown> | Iterator<unknown> {
  const iterable = value as Partial<AsyncIterable<unknown> & Iterable<unknown>> | null | undefined;
  // A text is one item, not its characters.
  const make =
    iterable?.[Symbol.asyncIterator] ?? (typeof value === 'string' ? undefined : iterable?.[Symbol.iterator]);
  if (typeof make !== 'function') {
    const message = 'an iterable is needed for a stream';
    throw new SchemaError('handled', `${what}: ${message}`, [{ message, path: [] }]);
  }
  return Reflect.apply(make, iterable, []) as AsyncIterator<unknown>;
}

/** Ends an iterator that is not read to its end, without waiting for it. */
export function endOf(iterator: AsyncIterator<unknown> | Iterator<unknown>): void {
  try {
    void Promise.resolve(iterator.return?.()).catch(() => {});
  } catch {
    // It was given up anyway.
  }
}

/** Settles as the promise does, or rejects with the reason of the signal when that aborts first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) {
      promise.catch(() => {});
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
