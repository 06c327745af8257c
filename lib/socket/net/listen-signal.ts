// The option `signal` of server.listen.

import { invalidArgType } from '../../util/runtime/node-errors.js';
import { nextTick } from '../../util/runtime/real-timers.js';

interface Closing {
  close(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** Closes the server when the signal is aborted. @throws ERR_INVALID_ARG_TYPE */
export function checkListenSignal(server: Closing, signal: unknown): void {
  if (signal === undefined) return;
  if (!(signal instanceof AbortSignal)) throw invalidArgType('options.signal', 'an instance of AbortSignal', signal);
  const onAbort = (): void => {
    server.close();
  };
  if (signal.aborted) {
    nextTick(onAbort);
    return;
  }
  signal.addEventListener('abort', onAbort, { once: true });
  server.once('close', () => signal.removeEventListener('abort', onAbort));
}
