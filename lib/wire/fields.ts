// Fields of messages and records, big-endian: numbers written and read in place, a reader that never goes beyond the end, and
// fields as parts to be joined, each checked against its size.

import { malformed } from './text.js';

export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** Returns the offset behind the number, as {@link writeUint32}. */
export function writeUint16(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 8;
  target[at + 1] = value;
  return at + 2;
}

export function writeUint32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
  return at + 4;
}

/** Reads one field after the other. Every method throws ERR_STARLANE_MESSAGE when the bytes end before the field. */
export class FieldReader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  uint(size: 1 | 2 | 4): number {
    const at = this.skip(size);
    if (size === 1) return this.bytes[at];
    return size === 2 ? readUint16(this.bytes, at) : readUint32(this.bytes, at);
  }

  /** The next `length` bytes, in a buffer of their own. */
  copy(length: number): Buffer {
    const at = this.skip(length);
    return Buffer.from(this.bytes.subarray(at, at + length));
  }

  /** What `read` makes of the next `length` bytes. */
  take<Value>(length: number, read: (bytes: Uint8Array, start: number, end: number) => Value): Value {
    const at = this.skip(length);
    return read(this.bytes, at, at + length);
  }

  /** How many bytes have been read. */
  get position(): number {
    return this.at;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.bytes.length - this.at;
  }

  /** A count of `countBytes`, at most `max`, and so many times what `read` returns. */
  list<Value>(max: number, read: () => Value, countBytes: 1 | 2 = 1): Value[] {
    const count = this.uint(countBytes);
    if (count > max) throw malformed(`a list of ${count}`);
    return Array.from({ length: count }, read);
  }

  private skip(length: number): number {
    const { at } = this;
    if (at + length > this.bytes.length) throw malformed('it ends too early');
    this.at = at + length;
    return at;
  }
}

/** Returns the bytes of a number. @throws ERR_STARLANE_MESSAGE when a value does not fit, as all functions below */
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
