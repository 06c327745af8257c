// Reads the log of an app, and goes on behind the last byte when a circuit breaks.

import type { IncomingMessage } from 'node:http';
import { codeOf } from '../../../errors.js';
import { backOffMs } from '../../../util/back-off.js';
import { clearTimeout, performanceNow, setTimeout } from '../../../util/runtime/real-timers.js';
import type { HostClient } from '../host-client.js';
import { POSITION_HEADER } from '../journal-route.js';

const BACK_OFF = { minMs: 200, maxMs: 5_000 };
/** Failures of the way to a host, and of a host that has much to do. */
const MENDABLE: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'EAGAIN',
  'ABORT_ERR',
  'ERR_STARLANE_LINK_LOST',
  'ERR_STARLANE_RELAY_LIMIT',
  'ERR_STARLANE_STREAM_RESET',
]);

export interface FollowOptions {
  /** The path of the log: `/v1/apps/web/logs`. */
  readonly path: string;
  /** The position of the first byte; undefined: the last lines of up to `tailBytes`. */
  readonly from?: number | undefined;
  readonly tailBytes: number;
  /** Whether to wait for what comes later. */
  readonly follows: boolean;
  /** How long one request may take to be answered. */
  readonly timeoutMs: number;
  /** How long to try again when nothing is answered. */
  readonly giveUpMs: number;
  readonly signal: AbortSignal;
  /** Takes bytes; the next ones come when it has resolved. */
  onBytes(bytes: Buffer): Promise<void> | void;
  /** So many bytes are not kept at the host any more. */
  onGap(bytes: number): void;
  /** The circuit broke; it is asked again. */
  onBreak?(error: Error): void;
}

/** Resolves with the position behind the last byte when all is read, or the signal is aborted. @throws what the host answers */
export async function follow(client: HostClient, options: FollowOptions): Promise<number | undefined> {
  const { path, follows, timeoutMs, giveUpMs, signal } = options;
  let position = options.from;
  let failures = 0;
  let untilMs = performanceNow() + giveUpMs;
  while (!signal.aborted) {
    const query = new URLSearchParams({
      follow: String(follows),
      ...(position === undefined ? { tail: String(options.tailBytes) } : { from: String(position) }),
    });
    let openedMs: number | undefined;
    try {
      const response = await client.open({ method: 'GET', path: `${path}?${query}`, timeoutMs, signal });
      openedMs = performanceNow();
      const first = Number(response.headers[POSITION_HEADER]);
      if (position !== undefined && first > position) options.onGap(first - position);
      position = first;
      failures = 0;
      for await (const bytes of response as AsyncIterable<Buffer>) {
        untilMs = performanceNow() + giveUpMs;
        position += bytes.length;
        await options.onBytes(bytes);
      }
      if (isWhole(response)) return position;
      throw Object.assign(new Error('the host ended'), { code: 'ECONNRESET' });
    } catch (error) {
      if (signal.aborted) break;
      // While it was open, nothing was wrong, also where nothing came.
      if (openedMs !== undefined) untilMs += performanceNow() - openedMs;
      if (!canMend(error) || performanceNow() >= untilMs) throw error;
      options.onBreak?.(error as Error);
      await waitFor(backOffMs(failures++, BACK_OFF, Math.random), signal);
    }
  }
  return position;
}

function isWhole(response: IncomingMessage): boolean {
  return response.complete;
}

/** Whether asking again may help: the way to the host is at fault, and not what was asked. */
export function canMend(error: unknown): boolean {
  const code = codeOf(error) ?? '';
  return code.startsWith('ERR_STREAM') || code.startsWith('HPE_') || MENDABLE.has(code);
}

/** Waits, or until the signal is aborted. */
export function waitFor(delayMs: number, signal?: AbortSignal): Promise<void> {
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
