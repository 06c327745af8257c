// Decides which end of an attached Duplex is the yamux client, when both ends call attach() without options.
//
//   preamble    7 bytes "STRLANE" | u8 version | 16 nonce       once in each direction, ahead of the session
//
// The end with the larger nonce is the client. Equal nonces mean that the bytes of this node came back to it.

import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { starlaneError } from '../../errors.js';
import type { Timers } from '../../util/timers.js';

const MAGIC = Buffer.from('STRLANE\x01', 'latin1');
const VERSION_AT = MAGIC.length - 1;
const NONCE_BYTES = 16;

/** The bytes before the session. */
export const PREAMBLE_BYTES = MAGIC.length + NONCE_BYTES;

interface RoleOptions {
  readonly timers: Timers;
  readonly timeoutMs: number;
  /** Replaceable in specs. */
  readonly nonce?: Uint8Array;
}

/**
 * Exchanges preambles. Resolves with true when this end is the client. Bytes beyond the preamble stay in the Duplex.
 * The Duplex is destroyed on failure.
 * @throws ERR_STARLANE_HANDSHAKE, _VERSION, _SELF_LINK, _HANDSHAKE_TIMEOUT, _TRANSPORT
 */
export function negotiateRole(duplex: Duplex, options: RoleOptions): Promise<boolean> {
  const { timers, timeoutMs, nonce = randomBytes(NONCE_BYTES) } = options;
  return new Promise((resolve, reject) => {
    let received: Buffer = Buffer.alloc(0);

    const stop = (): void => {
      timers.cancel(timer);
      duplex.removeListener('readable', onReadable);
      duplex.removeListener('end', onEnd);
      duplex.removeListener('error', onError);
      duplex.removeListener('close', onEnd);
    };
    const fail = (error: Error): void => {
      stop();
      // Later errors of the Duplex do not matter, but must not be unhandled.
      duplex.on('error', () => {});
      duplex.destroy();
      reject(error);
    };
    const onEnd = (): void => fail(starlaneError('ERR_STARLANE_TRANSPORT', 'it ended before the handshake'));
    const onError = (error: Error): void => fail(starlaneError('ERR_STARLANE_TRANSPORT', error.message, error));
    const onReadable = (): void => {
      for (let chunk = duplex.read(); chunk !== null; chunk = duplex.read()) {
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
        const fault = preambleFault(received);
        if (fault !== undefined) return fail(fault);
        if (received.length < PREAMBLE_BYTES) continue;
        const order = Buffer.compare(nonce, received.subarray(MAGIC.length, PREAMBLE_BYTES));
        if (order === 0) return fail(starlaneError('ERR_STARLANE_SELF_LINK'));
        stop();
        if (received.length > PREAMBLE_BYTES) duplex.unshift(received.subarray(PREAMBLE_BYTES));
        return resolve(order > 0);
      }
    };

    const timer = timers.schedule(timeoutMs, {
      onDeadline: () => fail(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT')),
    });
    if (duplex.destroyed) return onEnd();
    duplex.on('readable', onReadable);
    duplex.once('end', onEnd);
    duplex.once('error', onError);
    duplex.once('close', onEnd);
    duplex.write(Buffer.concat([MAGIC, nonce]));
  });
}

/** Returns the fault of a preamble at its first wrong byte, so that there is no wait for a peer that speaks something else. */
function preambleFault(received: Buffer): Error | undefined {
  const length = Math.min(received.length, MAGIC.length);
  const wrong = [...received.subarray(0, length)].findIndex((byte, index) => byte !== MAGIC[index]);
  if (wrong < 0) return undefined;
  if (wrong === VERSION_AT) return starlaneError('ERR_STARLANE_VERSION', `preamble of version ${received[VERSION_AT]}`);
  return starlaneError('ERR_STARLANE_HANDSHAKE', 'the peer is not a Starlane node');
}
