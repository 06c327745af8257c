// A deadline for something that is waited for: it is told to stop by its signal, and is waited for no longer even if it
// does not listen.

import { netError } from '../errors.js';
import type { Timers } from './timers.js';

/**
 * What `attempt` is resolved or rejected with, within `timeoutMs` and until `parent` aborts.
 * @param what is said in the ETIMEDOUT
 */
export function inTime<T>(
  timers: Timers,
  timeoutMs: number,
  what: string,
  attempt: (signal: AbortSignal) => Promise<T>,
  parent?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (parent?.aborted) throw parent.reason;
    const aborter = new AbortController();
    const settle = (): void => {
      timers.cancel(timer);
      parent?.removeEventListener('abort', onAbort);
    };
    const giveUp = (reason: unknown): void => {
      settle();
      reject(reason);
      aborter.abort(reason);
    };
    const onAbort = (): void => giveUp(parent?.reason);
    const timer = timers.schedule(timeoutMs, {
      onDeadline: () => giveUp(netError('ETIMEDOUT', 'connect', { address: what })),
    });
    parent?.addEventListener('abort', onAbort, { once: true });
    (async () => attempt(aborter.signal))().then(
      (value) => {
        settle();
        resolve(value);
      },
      (error) => {
        settle();
        reject(error);
      },
    );
  });
}
