// The records of a secure circuit (not those of gossip): what one end has written, in encrypted pieces, so that forged, reordered,
// repeated and missing ones are found. Bytes in, bytes out.
//
//   u8 type | u24 length of what follows | AES-256-GCM of the plaintext | 16 tag
//
// The first four bytes are authenticated with the rest. Records are numbered from 0 under each key; after 2^20 of them both ends go
// on to the next key. No plaintext leaves the opener before its tag is verified.

import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { starlaneError } from '../../errors.js';
import { MAX_TRACE_CONTEXT_BYTES } from '../../wire/trace-context.js';

/** The numbers are the wire: append only. */
export const RecordType = {
  /** At least one byte of the user. */
  DATA: 0,
  /** The sender will send no more. Empty. */
  END: 1,
  /** The first record of the dialler, which shows that it is there now and has the keys. Empty, or the trace context of the dial. */
  CONFIRM: 2,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

export const HEADER_BYTES = 4;
const TAG_BYTES = 16;

/** Bytes that a record adds to its plaintext. */
export const RECORD_OVERHEAD = HEADER_BYTES + TAG_BYTES;

/**
 * The longest plaintext of a record, in bytes. Half of the window that a hop of a relayed circuit begins with: what has
 * arrived of a record, its overhead aside, must be less than the half whose return lets credit flow. A cipher costs 3 us to set
 * up: at 16 KiB that is a third more for each byte, and at 64 KiB the data no longer fits the caches.
 */
export const MAX_PLAIN_BYTES = 32 * 1024;

/** Far below the 2^32 records after which GCM becomes weak, and so few that a key that leaks opens little. */
const RECORDS_PER_KEY = 2 ** 20;

const KEY_BYTES = 32;
const IV_BYTES = 12;
/** Key material of one direction, in bytes. */
export const DIRECTION_BYTES = KEY_BYTES + IV_BYTES;
const NEXT_LABEL = Buffer.from('starlane circuit next 1');

/** The AES-256-GCM key of the records of one direction. */
export interface RecordKey {
  readonly key: Buffer;
  /** The nonce of a record is this, its last four bytes XORed with the number of the record under this key. */
  readonly iv: Buffer;
}

/** Returns the next key, from which the one before cannot be computed: two blocks of HKDF-Expand. */
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

/** Divides the key material of one direction. */
export function recordKey(bytes: Buffer): RecordKey {
  return { key: bytes.subarray(0, KEY_BYTES), iv: bytes.subarray(KEY_BYTES) };
}

// Memory for records that are being sent, or have arrived in part, is used again: every megabyte that the garbage collector gets
// instead makes it run sooner, and that takes longer than the cipher.

const BLOCK_BYTES = MAX_PLAIN_BYTES + RECORD_OVERHEAD;
/** Below this, Node cuts buffers from larger pieces anyway. */
const MIN_BYTES = 4 * 1024;
/** Free blocks that a process keeps: 2 MiB. */
const MAX_FREE = 64;

const free: Buffer[] = [];

/** Returns memory for a record. Call {@link giveBack} when nothing uses it any more, so that it can be used again. */
export function takeMemory(bytes: number): Buffer {
  if (bytes <= MIN_BYTES || bytes > BLOCK_BYTES) return Buffer.allocUnsafe(bytes);
  const block = free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  return block.subarray(0, bytes);
}

/** Returns memory of {@link takeMemory} that nothing uses any more. */
export function giveBack({ buffer, byteOffset, length }: Buffer): void {
  if (length <= MIN_BYTES || buffer.byteLength !== BLOCK_BYTES || byteOffset !== 0) return;
  if (free.length < MAX_FREE) free.push(Buffer.from(buffer));
}

const CIPHER = 'aes-256-gcm';
const TAG = { authTagLength: TAG_BYTES };
const EMPTY = Buffer.alloc(0);
/** The nonce of the current record: a cipher copies it at once. */
const NONCE = Buffer.alloc(12);
/** Once the first of these has come of a record, memory for all of it is taken; before that, at least the second. */
const SMALL_BYTES = 4 * 1024;
const MIN_ROOM_BYTES = 256;

/** The keys of one direction, one after the other, and the nonce of each record. */
class RecordKeys {
  private count = 0;

  constructor(
    private current: RecordKey,
    private readonly recordsPerKey: number,
  ) {}

  get key(): Buffer {
    return this.current.key;
  }

  /** Returns the nonce of the next record, valid until the next call for any circuit. */
  next(): Buffer {
    if (this.count === this.recordsPerKey) {
      const { key } = this.current;
      this.current = nextKey(this.current);
      key.fill(0);
      this.count = 0;
    }
    const { iv } = this.current;
    iv.copy(NONCE);
    NONCE.writeUInt32BE((iv.readUInt32BE(8) ^ this.count) >>> 0, 8);
    this.count++;
    return NONCE;
  }
}

export class RecordSealer {
  private readonly keys: RecordKeys;

  constructor(key: RecordKey, recordsPerKey = RECORDS_PER_KEY) {
    this.keys = new RecordKeys(key, recordsPerKey);
  }

  /** @param plain at most {@link MAX_PLAIN_BYTES}. @param record memory for it and {@link RECORD_OVERHEAD} */
  seal(
    type: RecordType,
    plain: Buffer = EMPTY,
    record: Buffer = Buffer.allocUnsafe(plain.length + RECORD_OVERHEAD),
  ): Buffer {
    const { length } = plain;
    const bytes = length + TAG_BYTES;
    record[0] = type;
    record[1] = bytes >>> 16;
    record[2] = bytes >>> 8;
    record[3] = bytes;
    const nonce = this.keys.next();
    const cipher = createCipheriv(CIPHER, this.keys.key, nonce, TAG);
    cipher.setAAD(record.subarray(0, HEADER_BYTES));
    if (length > 0) cipher.update(plain).copy(record, HEADER_BYTES);
    cipher.final();
    cipher.getAuthTag().copy(record, HEADER_BYTES + length);
    return record;
  }
}

/** The result of {@link RecordOpener.next} when there is no whole record. */
export const NO_RECORD = -1;

/** Takes bytes as they arrive, cut anywhere, and returns records. Keeps at most one of them. */
export class RecordOpener {
  /** The plaintext of the newest record, in memory of its own. */
  plain: Buffer = EMPTY;
  private readonly keys: RecordKeys;
  /** `input` from `at` on was taken and not returned. */
  private input: Buffer = EMPTY;
  private at = 0;
  /** The record that has arrived in part: its memory, and how much of it is there. */
  private partial: Buffer | null = null;
  private partialBytes = 0;
  /** The length of that record, once its header is there. */
  private wholeBytes = 0;
  /** Null until a record has come in part. */
  private header: Buffer | null = null;

  constructor(key: RecordKey, recordsPerKey = RECORDS_PER_KEY) {
    this.keys = new RecordKeys(key, recordsPerKey);
  }

  /** Takes the next bytes, which are used until {@link next} returns {@link NO_RECORD}. */
  take(chunk: Buffer): void {
    this.input = chunk;
    this.at = 0;
  }

  /**
   * Returns the type of the next record, or {@link NO_RECORD}.
   * @throws StarlaneError ERR_STARLANE_SECURE when it is not what the other end has sent; do not call it again then
   */
  next(): number {
    const { input, at } = this;
    const left = input.length - at;
    if (left === 0) return this.noRecord();
    if (this.partial !== null || left < HEADER_BYTES) return this.nextInParts();
    const end = at + HEADER_BYTES + bodyBytes(input, at);
    if (end > input.length) return this.nextInParts();
    this.at = end;
    return this.open(input, at, end);
  }

  /** Bytes held of a record that is not complete. */
  get heldBytes(): number {
    return this.partialBytes;
  }

  /** The record begins, ends or both in another chunk. */
  private nextInParts(): number {
    // The header first: it says how long the record is.
    this.header ??= Buffer.allocUnsafeSlow(HEADER_BYTES);
    this.partial ??= this.header;
    if (this.partial === this.header) {
      this.fill(HEADER_BYTES);
      if (this.partialBytes < HEADER_BYTES) return this.noRecord();
      this.wholeBytes = HEADER_BYTES + bodyBytes(this.header, 0);
    }
    const partial = this.roomFor(this.partial);
    this.partial = partial;
    this.fill(this.wholeBytes);
    if (this.partialBytes < this.wholeBytes) return this.noRecord();
    this.partial = null;
    this.partialBytes = 0;
    const type = this.open(partial, 0, this.wholeBytes);
    giveBack(partial);
    return type;
  }

  /** Drops all references to data: millions of streams may be idle. */
  private noRecord(): number {
    this.input = EMPTY;
    this.at = 0;
    this.plain = EMPTY;
    return NO_RECORD;
  }

  /** Returns memory for what has come of the record, and little more: four bytes are enough to announce any length. */
  private roomFor(partial: Buffer): Buffer {
    const { header, partialBytes, wholeBytes } = this;
    const there = Math.min(wholeBytes, partialBytes + this.input.length - this.at);
    if (partial !== header && partial.length >= there) return partial;
    const grown =
      there >= SMALL_BYTES
        ? takeMemory(wholeBytes)
        : Buffer.allocUnsafe(Math.min(wholeBytes, SMALL_BYTES, Math.max(MIN_ROOM_BYTES, 4 * there)));
    partial.copy(grown, 0, 0, partialBytes);
    return grown;
  }

  private fill(bytes: number): void {
    const { input, at } = this;
    const count = Math.min(bytes - this.partialBytes, input.length - at);
    input.copy(this.partial as Buffer, this.partialBytes, at, at + count);
    this.partialBytes += count;
    this.at += count;
  }

  private open(bytes: Buffer, from: number, end: number): number {
    const bodyAt = from + HEADER_BYTES;
    const tagAt = end - TAG_BYTES;
    const nonce = this.keys.next();
    const decipher = createDecipheriv(CIPHER, this.keys.key, nonce, TAG);
    decipher.setAuthTag(bytes.subarray(tagAt, end));
    decipher.setAAD(bytes.subarray(from, bodyAt));
    const plain = tagAt === bodyAt ? EMPTY : decipher.update(bytes.subarray(bodyAt, tagAt));
    try {
      decipher.final();
    } catch {
      throw starlaneError('ERR_STARLANE_SECURE', 'a record was altered on its way');
    }
    const type = bytes[from];
    if (!fits(type, plain.length)) throw starlaneError('ERR_STARLANE_SECURE', `a record of type ${type}`);
    this.plain = plain;
    return type;
  }
}

/** @throws ERR_STARLANE_SECURE for a length that no record has */
function bodyBytes(bytes: Buffer, at: number): number {
  const length = (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  if (length < TAG_BYTES || length > MAX_PLAIN_BYTES + TAG_BYTES) {
    throw starlaneError('ERR_STARLANE_SECURE', `a record of ${length} bytes`);
  }
  return length;
}

function fits(type: number, plainBytes: number): boolean {
  if (type === RecordType.DATA) return plainBytes > 0;
  if (type === RecordType.CONFIRM) return plainBytes <= MAX_TRACE_CONTEXT_BYTES;
  return type === RecordType.END && plainBytes === 0;
}
