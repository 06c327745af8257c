// Dials several addresses of one node, each a little after the one before: an address that does not answer costs a
// quarter of a second then, and not its timeout. The first link counts, and the other dials end.

import { starlaneError } from '../../errors.js';
import type { Timer, Timers } from '../../util/timers.js';
import type { MeshLink } from '../ports.js';

const STAGGER_MS = 250;

export function dialStaggered(
  timers: Timers,
  addresses: readonly string[],
  dial: (address: string, signal: AbortSignal) => Promise<MeshLink>,
  signal: AbortSignal,
): Promise<MeshLink> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const aborter = new AbortController();
    let timer: Timer | undefined;
    let next = 0;
    let underway = 0;
    let failure: unknown = starlaneError('ERR_STARLANE_ADDRESS', 'there is none to dial');
    const end = (): void => {
      if (timer !== undefined) timers.cancel(timer);
      signal.removeEventListener('abort', onAbort);
      aborter.abort(signal.reason);
    };
    const onAbort = (): void => {
      end();
      reject(signal.reason);
    };
    const attempt = async (address: string): Promise<void> => {
      underway++;
      try {
        const link = await dial(address, aborter.signal);
        end();
        resolve(link);
      } catch (error) {
        underway--;
        failure = error;
        if (!aborter.signal.aborted) proceed();
      }
    };
    const proceed = (): void => {
      if (timer !== undefined) timers.cancel(timer);
      timer = undefined;
      const address = addresses[next++];
      if (address !== undefined) {
        timer = timers.schedule(STAGGER_MS, { onDeadline: proceed });
        void attempt(address);
      } else if (underway === 0) {
        end();
        reject(failure);
      }
    };
    signal.addEventListener('abort', onAbort, { once: true });
    proceed();
  });
}
