// From the secret that two ends share to the keys of their records, one for each direction, and from each key to the next
// (RFC 5869, HKDF with SHA-256). Pure.

import { createHmac, hkdfSync } from 'node:crypto';

const KEYS_LABEL = Buffer.from('starlane circuit keys 1');
const NEXT_LABEL = Buffer.from('starlane circuit next 1');

const KEY_BYTES = 32;
const IV_BYTES = 12;
const DIRECTION_BYTES = KEY_BYTES + IV_BYTES;

/** Salt where the network has no secret. */
const NO_NETWORK_KEY = Buffer.alloc(32);

/** What the records of one direction are encrypted with: AES-256-GCM. */
export interface RecordKey {
  readonly key: Buffer;
  /** The nonce of a record is this, its last four bytes XORed with the number of the record under this key. */
  readonly iv: Buffer;
}

export interface CircuitKeys {
  readonly fromDialler: RecordKey;
  readonly fromServer: RecordKey;
}

/** @param accept the transcript of the accepting end, which covers everything before it */
export function circuitKeys(shared: Uint8Array, networkKey: Uint8Array | undefined, accept: Uint8Array): CircuitKeys {
  const info = Buffer.concat([KEYS_LABEL, accept]);
  const bytes = Buffer.from(hkdfSync('sha256', shared, networkKey ?? NO_NETWORK_KEY, info, 2 * DIRECTION_BYTES));
  return {
    fromDialler: recordKey(bytes.subarray(0, DIRECTION_BYTES)),
    fromServer: recordKey(bytes.subarray(DIRECTION_BYTES)),
  };
}

/** The key that follows, from which the one before cannot be found: HKDF-Expand, which gives two blocks of 32 bytes. */
export function nextKey({ key }: RecordKey): RecordKey {
  const first = createHmac('sha256', key)
    .update(NEXT_LABEL)
    .update(Buffer.from([1]))
    .digest();
  const second = createHmac('sha256', key)
    .update(first)
    .update(NEXT_LABEL)
    .update(Buffer.from([2]))
    .digest();
  return recordKey(Buffer.concat([first, second], DIRECTION_BYTES));
}

function recordKey(bytes: Buffer): RecordKey {
  return { key: bytes.subarray(0, KEY_BYTES), iv: bytes.subarray(KEY_BYTES) };
}
