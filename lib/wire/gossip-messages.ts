// Messages of the control stream that carry records, and that show two nodes which records the other one lacks.
// Big-endian, pure.
//
//   RECORDS        n * (u32 remaining life (s) | u16 n + record)
//   DIGEST         8 root | u32 number of records
//   BUCKETS        256 * 8 bucket
//   ENTRIES        u8 flags | 32 bitmap of buckets | u16 n + n * (8 node id | u16 shard | u16 shards | u32 epoch | u32 seq | 8 hash)
//   WANT           u8 flags | u16 n + n * (8 node id | u16 shard | u16 shards)
//
// The bucket of a record is the first byte of its node id. A bucket is the XOR of the hashes of its records, the root
// that of all buckets; a hash is the first 8 bytes of the SHA-256 of a record. `shards` 0 means the NODE record.

import { NODE_ID_BYTES, type NodeId, nodeIdFromBytes, nodeIdToBytes } from '../address.js';
import { starlaneError } from '../errors.js';
import { exactly, type FieldReader, readUint32, uint, writeUint16, writeUint32 } from './fields.js';
import { encodeMessage, MessageType } from './message.js';
import { decodeRecord, isLayout, type MeshRecord, type RecordVersion, recordKey } from './records.js';
import { malformed } from './text.js';

/** The number of parts in which the records are compared. */
export const BUCKETS = 256;

/** The most entries that fit a message. */
export const MAX_ENTRIES = 2048;
export const MAX_WANTED = 4096;

const BITMAP_BYTES = BUCKETS / 8;
const HASH_BYTES = 8;
const KEY_BYTES = NODE_ID_BYTES + 4;
const ENTRY_BYTES = KEY_BYTES + 8 + HASH_BYTES;
const RECORD_HEADER_BYTES = 4 + 2;
/** In the flags of ENTRIES and WANT: nothing more of this kind follows. */
const LAST = 1;

export interface RecordCopy {
  /** How long to keep it from now on when its node cannot be reached, in s. This is not signed. */
  readonly remainingLifeS: number;
  readonly record: MeshRecord;
}

export interface Records {
  readonly records: readonly RecordCopy[];
}

/** Summary of all records of a node, in 12 bytes. */
export interface Digest {
  readonly rootHigh: number;
  readonly rootLow: number;
  readonly count: number;
}

export interface Buckets {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
}

/** What the sender holds in some of the buckets. */
export interface Entries {
  /** The last message of this answer. */
  readonly isLast: boolean;
  /** A bit for each bucket that is covered, the lowest bit of the first byte for bucket 0. */
  readonly bitmap: Uint8Array;
  readonly entries: readonly RecordVersion[];
}

/** Keys of records that the sender lacks. */
export interface Want {
  readonly isLast: boolean;
  readonly keys: readonly string[];
}

export type GossipMessage =
  | ({ readonly type: typeof MessageType.RECORDS } & Records)
  | ({ readonly type: typeof MessageType.DIGEST } & Digest)
  | ({ readonly type: typeof MessageType.BUCKETS } & Buckets)
  | ({ readonly type: typeof MessageType.ENTRIES } & Entries)
  | ({ readonly type: typeof MessageType.WANT } & Want);

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeGossipMessage(message: GossipMessage): Buffer {
  switch (message.type) {
    case MessageType.RECORDS:
      return encodeMessage(message.type, message.records.flatMap(recordParts));
    case MessageType.DIGEST:
      return encodeMessage(message.type, [
        uint(4, message.rootHigh, 'root'),
        uint(4, message.rootLow, 'root'),
        uint(4, message.count, 'count'),
      ]);
    case MessageType.BUCKETS:
      return encodeMessage(message.type, [bucketBytes(message)]);
    case MessageType.ENTRIES:
      if (message.entries.length > MAX_ENTRIES) throw malformed(`${message.entries.length} entries`);
      return encodeMessage(message.type, [
        uint(1, message.isLast ? LAST : 0, 'flags'),
        exactly(BITMAP_BYTES, message.bitmap, 'bitmap'),
        uint(2, message.entries.length, 'entries'),
        entryBytes(message.entries),
      ]);
    case MessageType.WANT: {
      if (message.keys.length > MAX_WANTED) throw malformed(`${message.keys.length} records wanted`);
      const bytes = Buffer.allocUnsafe(KEY_BYTES * message.keys.length);
      message.keys.forEach((key, index) => {
        writeKey(bytes, KEY_BYTES * index, key);
      });
      return encodeMessage(message.type, [
        uint(1, message.isLast ? LAST : 0, 'flags'),
        uint(2, message.keys.length, 'keys'),
        bytes,
      ]);
    }
  }
}

/** Returns how many bytes a record takes in RECORDS. */
export function recordCopyBytes(record: MeshRecord): number {
  return RECORD_HEADER_BYTES + record.bytes.length;
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a record is malformed */
export function decodeRecords(fields: FieldReader): GossipMessage {
  const records: RecordCopy[] = [];
  while (fields.left > 0) {
    const remainingLifeS = fields.uint(4);
    records.push({ remainingLifeS, record: fields.take(fields.uint(2), readRecordAt) });
  }
  return { type: MessageType.RECORDS, records };
}

export function decodeDigest(fields: FieldReader): GossipMessage {
  return { type: MessageType.DIGEST, rootHigh: fields.uint(4), rootLow: fields.uint(4), count: fields.uint(4) };
}

export function decodeBuckets(fields: FieldReader): GossipMessage {
  const high = new Uint32Array(BUCKETS);
  const low = new Uint32Array(BUCKETS);
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    high[bucket] = fields.uint(4);
    low[bucket] = fields.uint(4);
  }
  return { type: MessageType.BUCKETS, high, low };
}

export function decodeEntries(fields: FieldReader): GossipMessage {
  const isLast = (fields.uint(1) & LAST) !== 0;
  const bitmap = fields.copy(BITMAP_BYTES);
  const entries = fields.list(MAX_ENTRIES, () => fields.take(ENTRY_BYTES, readEntry), 2);
  return { type: MessageType.ENTRIES, isLast, bitmap, entries };
}

export function decodeWant(fields: FieldReader): GossipMessage {
  const isLast = (fields.uint(1) & LAST) !== 0;
  return { type: MessageType.WANT, isLast, keys: fields.list(MAX_WANTED, () => fields.take(KEY_BYTES, readKey), 2) };
}

/** Returns the bucket of a record: the first byte of its node id, read from its first characters of base64url. */
export function bucketOf(nodeId: NodeId): number {
  return (sextet(nodeId.charCodeAt(0)) << 2) | (sextet(nodeId.charCodeAt(1)) >> 4);
}

function sextet(char: number): number {
  if (char >= 0x61) return char - 0x61 + 26;
  if (char === 0x5f) return 63;
  if (char >= 0x41) return char - 0x41;
  return char === 0x2d ? 62 : char - 0x30 + 52;
}

function recordParts({ remainingLifeS, record }: RecordCopy): Uint8Array[] {
  return [uint(4, remainingLifeS, 'remaining life'), uint(2, record.bytes.length, 'record'), record.bytes];
}

function readRecordAt(bytes: Uint8Array, start: number, end: number): MeshRecord {
  try {
    return decodeRecord(bytes.subarray(start, end));
  } catch (error) {
    throw starlaneError('ERR_STARLANE_MESSAGE', (error as Error).message, error);
  }
}

function bucketBytes({ high, low }: Buckets): Buffer {
  if (high.length !== BUCKETS || low.length !== BUCKETS) throw malformed(`there are ${BUCKETS} buckets`);
  const bytes = Buffer.allocUnsafe(HASH_BYTES * BUCKETS);
  let at = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    at = writeUint32(bytes, at, high[bucket]);
    at = writeUint32(bytes, at, low[bucket]);
  }
  return bytes;
}

function entryBytes(entries: readonly RecordVersion[]): Buffer {
  const bytes = Buffer.allocUnsafe(ENTRY_BYTES * entries.length);
  let at = 0;
  for (const { key, epoch, seq, hashHigh, hashLow } of entries) {
    at = writeKey(bytes, at, key);
    at = writeUint32(bytes, at, epoch);
    at = writeUint32(bytes, at, seq);
    at = writeUint32(bytes, at, hashHigh);
    at = writeUint32(bytes, at, hashLow);
  }
  return bytes;
}

function readEntry(bytes: Uint8Array, start: number): RecordVersion {
  const at = start + KEY_BYTES;
  return {
    key: readKey(bytes, start),
    epoch: readUint32(bytes, at),
    seq: readUint32(bytes, at + 4),
    hashHigh: readUint32(bytes, at + 8),
    hashLow: readUint32(bytes, at + 12),
  };
}

/** Writes `node id` or `node id/shard/shards`, and returns the offset behind it. */
function writeKey(bytes: Buffer, offset: number, key: string): number {
  const [nodeId, shard = '0', shards = '0'] = key.split('/');
  bytes.set(nodeIdToBytes(nodeId), offset);
  const at = writeUint16(bytes, offset + NODE_ID_BYTES, Number(shard));
  return writeUint16(bytes, at, Number(shards));
}

function readKey(bytes: Uint8Array, start: number): string {
  const at = start + NODE_ID_BYTES;
  const shard = (bytes[at] << 8) | bytes[at + 1];
  const shards = (bytes[at + 2] << 8) | bytes[at + 3];
  if (shards === 0 ? shard !== 0 : !isLayout(shard, shards)) throw malformed(`shard ${shard} of ${shards}`);
  return recordKey(nodeIdFromBytes(bytes, start), shard, shards);
}
