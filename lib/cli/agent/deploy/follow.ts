// Reads the log of an app, and goes on behind the last byte when a circuit breaks.

import { backOffMs } from '../../../util/back-off.js';
import { performanceNow } from '../../../util/runtime/real-timers.js';
import { codedError } from '../../failure.js';
import type { HostClient } from '../host-client.js';
import { POSITION_HEADER } from '../journal-route.js';
import { isPassing, pause } from '../retry.js';

const BACK_OFF = { minMs: 200, maxMs: 5_000 };

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
  /** The clock, in ms. Replaced by specs. */
  now?(): number;
}

/** Resolves with the position behind the last byte when all is read, or the signal is aborted. @throws what the host answers */
export async function follow(client: HostClient, options: FollowOptions): Promise<number | undefined> {
  const { path, follows, timeoutMs, giveUpMs, signal, now = performanceNow } = options;
  let position = options.from;
  let failures = 0;
  let untilMs = now() + giveUpMs;
  while (!signal.aborted) {
    const query = new URLSearchParams({
      follow: String(follows),
      ...(position === undefined ? { tail: String(options.tailBytes) } : { from: String(position) }),
    });
    let openedMs: number | undefined;
    try {
      const response = await client.open({ method: 'GET', path: `${path}?${query}`, timeoutMs, signal });
      openedMs = now();
      const first = Number(response.headers[POSITION_HEADER]);
      if (position !== undefined && first > position) options.onGap(first - position);
      position = first;
      failures = 0;
      for await (const bytes of response as AsyncIterable<Buffer>) {
        untilMs = now() + giveUpMs;
        position += bytes.length;
        await options.onBytes(bytes);
      }
      if (response.complete) return position;
      throw codedError('ECONNRESET', 'the host ended');
    } catch (error) {
      if (signal.aborted) break;
      // While it was open, nothing was wrong, also where nothing came.
      if (openedMs !== undefined) untilMs += now() - openedMs;
      if (!isPassing(error) || now() >= untilMs) throw error;
      options.onBreak?.(error as Error);
      await pause(backOffMs(failures++, BACK_OFF, Math.random), signal);
    }
  }
  return position;
}
