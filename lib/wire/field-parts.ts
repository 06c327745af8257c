// Fields of messages and records as parts to be joined, each checked against what fits. Big-endian.

import { malformed } from './text.js';

/** @throws StarlaneError ERR_STARLANE_MESSAGE when the value does not fit, as all of these */
export function uint(size: 1 | 2 | 4, value: number, what: string): Buffer {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size)) throw malformed(`${what} ${value}`);
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUIntBE(value, 0, size);
  return bytes;
}

export function exactly(length: number, bytes: Uint8Array, what: string): Uint8Array {
  if (bytes.length !== length) throw malformed(`${what} of ${bytes.length} bytes instead of ${length}`);
  return bytes;
}

/** UTF-8 behind a length of one byte. */
export function shortText(text: string, maxBytes: number, what: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > maxBytes) throw malformed(`${what} of ${bytes.length} bytes`);
  return Buffer.concat([uint(1, bytes.length, what), bytes]);
}

const BOOT_ID_BYTES = 16;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The 16 bytes of a UUID. */
export function bootIdBytes(bootId: string): Buffer {
  if (!UUID.test(bootId)) throw malformed('a boot id is a UUID');
  return Buffer.from(bootId.replaceAll('-', ''), 'hex');
}

/** Reads the 16 bytes at `offset` as a UUID. */
export function bootIdFromBytes(bytes: Buffer, offset = 0): string {
  const hex = bytes.toString('hex', offset, offset + BOOT_ID_BYTES);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** An env digest: 8 bytes as 16 hex digits. */
export const ENV_DIGEST_BYTES = 8;

export function envDigestBytes(digest: string): Uint8Array {
  return exactly(ENV_DIGEST_BYTES, Buffer.from(digest, 'hex'), 'env digest');
}
