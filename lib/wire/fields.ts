// Fields of messages, big-endian: numbers in place, and a reader that never goes beyond the end.

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
