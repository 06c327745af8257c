// Requests to a host that are worth another try: by which errors, and the pause before it.

import { codeOf } from '../../errors.js';
import { clearTimeout, setTimeout } from '../../util/runtime/real-timers.js';

/** Errors of a dial, of a link, of a circuit, or of a request that was cut off. */
const WAY_FAULTS: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'ABORT_ERR',
  'ERR_STARLANE_LINK_LOST',
  'ERR_STARLANE_NOT_FOUND',
  'ERR_STARLANE_RELAY_LIMIT',
  'ERR_STARLANE_STREAM_RESET',
]);

/** Whether the way to the host is at fault, and not what was asked: the same request may succeed later. */
export function isWayFault(error: unknown): boolean {
  const code = codeOf(error) ?? '';
  return WAY_FAULTS.has(code) || code.startsWith('ERR_STREAM') || code.startsWith('HPE_');
}

/** As {@link isWayFault}, and when the host has too much to do just now. */
export function isPassing(error: unknown): boolean {
  return isWayFault(error) || codeOf(error) === 'EAGAIN';
}

/** Resolves after a time, or when the signal is aborted. */
export function pause(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const onEnd = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onEnd);
      resolve();
    };
    const timer = setTimeout(onEnd, delayMs);
    signal?.addEventListener('abort', onEnd, { once: true });
  });
}
