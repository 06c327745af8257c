// Sends the input of a job in pieces, and keeps what the host has not taken yet, so that no lost link costs any of it.

import type { Readable } from 'node:stream';
import { clearTimeout, performanceNow, setTimeout } from '../../../../util/runtime/real-timers.js';
import { MAX_INPUT_BYTES } from '../input.js';

export interface InputTarget {
  sendInput(
    position: number,
    data: Uint8Array,
    isLast: boolean,
  ): Promise<{ readonly position: number; readonly open: boolean }>;
}

/** Bytes that are kept. */
const HELD_BYTES = 2 * MAX_INPUT_BYTES;
/** Between requests with less than half of a piece: an agent answers 50 a second of one caller. */
const PACE_MS = 50;
/** How often a caller with nothing to send shows the host that it is there. */
const ALIVE_MS = 10_000;

/**
 * Sends a stream to its end. Resolves when the host has taken all of it, or when the program reads no more.
 * @throws the error of the stream, or of the target
 */
export async function sendInput(stream: Readable, target: InputTarget): Promise<void> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let position = 0;
  let hasEnded = false;
  let failure: Error | undefined;
  let wake: () => void = () => {};
  const onData = (data: Buffer) => {
    held.push(data);
    heldBytes += data.length;
    if (heldBytes >= HELD_BYTES) stream.pause();
    wake();
  };
  const onEnd = () => {
    hasEnded = true;
    wake();
  };
  const onError = (error: Error) => {
    failure = error;
    wake();
  };
  stream.on('data', onData).once('end', onEnd).once('error', onError);
  const waitFor = (isReady: () => boolean, timeoutMs: number): Promise<void> =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        wake = () => {};
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      wake = () => {
        if (isReady()) done();
      };
      wake();
    });
  try {
    for (;;) {
      await waitFor(() => heldBytes > 0 || hasEnded || failure !== undefined, ALIVE_MS);
      if (failure !== undefined) throw failure;
      const all = Buffer.concat(held);
      held = [all];
      const piece = all.subarray(0, MAX_INPUT_BYTES);
      const isLast = hasEnded && piece.length === all.length;
      const askedMs = performanceNow();
      const answer = await target.sendInput(position, piece, isLast);
      if (!answer.open) return;
      const taken = Math.min(Math.max(0, answer.position - position), piece.length);
      position += taken;
      // More may have come meanwhile.
      held[0] = all.subarray(taken);
      heldBytes -= taken;
      if (heldBytes < HELD_BYTES && !hasEnded) stream.resume();
      if (piece.length < MAX_INPUT_BYTES / 2) {
        const paceMs = askedMs + PACE_MS - performanceNow();
        if (paceMs > 0) await waitFor(() => heldBytes >= MAX_INPUT_BYTES / 2 || hasEnded, paceMs);
      }
    }
  } finally {
    stream.off('data', onData).off('end', onEnd).off('error', onError);
    stream.pause();
  }
}
