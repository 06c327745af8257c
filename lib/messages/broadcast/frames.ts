// The frames between two neighbours of a broadcast, as objects and as bytes. docs/protocol.md describes them.

import { starlaneError } from '../../errors.js';
import { readUint16, readUint32, writeUint16, writeUint32 } from '../../wire/fields.js';

/** 16 bytes as text of latin1: the node id of the origin, then 8 random bytes of its run. */
export type OriginKey = string;

export const ORIGIN_BYTES = 16;
export const ENV_BYTES = 8;
export const VERSION = 1;

/** How the payload was given to `send`. */
export const Format = { BYTES: 0, TEXT: 1, JSON: 2 } as const;
export type Format = (typeof Format)[keyof typeof Format];

/** One message on its way. */
export interface Gossip {
  readonly kind: 'gossip';
  readonly origin: OriginKey;
  /** The number of the message, from 1 for each run of an origin. */
  readonly counter: number;
  /** Whether it travels on the tree of its origin, or on the one that all share. */
  readonly own: boolean;
  /** Whether it is the answer to a request that leaves the tree as it is. */
  readonly fetched: boolean;
  /** Circuits that it has passed before this one, at most 255. */
  readonly hops: number;
  readonly format: Format;
  readonly payload: Uint8Array;
}

/** A message that the sender of the frame has. */
export interface Announcement {
  readonly origin: OriginKey;
  readonly counter: number;
  readonly own: boolean;
  readonly hops: number;
  /** How long the sender has had the message, in ms, at most 65535. */
  readonly heldMs: number;
}

/** What the sender of the frame has of an origin: it has seen all up to `highest`, and can repair from `lowest` on. */
export interface OriginSummary {
  readonly origin: OriginKey;
  readonly own: boolean;
  readonly lowest: number;
  readonly highest: number;
}

export interface CounterRange {
  readonly from: number;
  readonly count: number;
}

/** The first frame of a circuit, in both directions. */
export interface Hello {
  readonly kind: 'hello';
  readonly version: number;
  /** The digest of the env as latin1. */
  readonly env: string;
}

/** What the sender has. It follows the HELLO of the other end, before any message. */
export interface Summary {
  readonly kind: 'summary';
  /** Whether the sender has learned from others where the origins are. */
  readonly established: boolean;
  readonly origins: readonly OriginSummary[];
}

export type Frame =
  | Hello
  | Gossip
  | Summary
  | { readonly kind: 'ihave'; readonly entries: readonly Announcement[] }
  /** Asks for messages. `eager`: from now on all of that tree come over this circuit. */
  | {
      readonly kind: 'graft';
      readonly origin: OriginKey;
      readonly own: boolean;
      readonly eager: boolean;
      readonly ranges: readonly CounterRange[];
    }
  /** From now on the sender wants announcements instead of messages of that tree. */
  | { readonly kind: 'prune'; readonly origin: OriginKey; readonly own: boolean };

/** The greatest number of a message: what is counted from there on can still be counted exactly. */
export const MAX_COUNTER = 2 ** 48;
/** Entries of one frame; longer lists take several frames. */
export const MAX_ENTRIES = 1_024;
export const MAX_RANGES = 256;
/** Messages that one range asks for. */
export const MAX_RANGE = 1_024;

const Kind = { HELLO: 1, SUMMARY: 2, GOSSIP: 3, IHAVE: 4, GRAFT: 5, PRUNE: 6 } as const;
const Flag = { OWN: 1, EAGER: 2, FETCHED: 2, FORMAT_SHIFT: 2 } as const;

export const LENGTH_BYTES = 4;
const COUNTER_BYTES = 8;
const GOSSIP_HEAD = 1 + ORIGIN_BYTES + COUNTER_BYTES + 2;
const ANNOUNCEMENT_BYTES = ORIGIN_BYTES + COUNTER_BYTES + 4;
const SUMMARY_BYTES = ORIGIN_BYTES + 1 + 2 * COUNTER_BYTES;
const RANGE_BYTES = COUNTER_BYTES + 2;
const HELLO_BYTES = 1 + 1 + ENV_BYTES;
/** The longest message that participants take. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
const MAX_FRAME_BYTES = GOSSIP_HEAD + MAX_MESSAGE_BYTES;

/** Returns the chunks of a frame with its length before it; the payload of a message is not copied. */
export function encodeFrame(frame: Frame): Uint8Array[] {
  switch (frame.kind) {
    case 'gossip': {
      const { payload, own, fetched, format } = frame;
      const head = begin(Kind.GOSSIP, GOSSIP_HEAD - 1, payload.length);
      let at = writeId(head, LENGTH_BYTES + 1, frame.origin, frame.counter);
      head[at++] = (own ? Flag.OWN : 0) | (fetched ? Flag.FETCHED : 0) | (format << Flag.FORMAT_SHIFT);
      head[at] = frame.hops;
      return [head, payload];
    }
    case 'ihave': {
      const bytes = begin(Kind.IHAVE, 2 + frame.entries.length * ANNOUNCEMENT_BYTES);
      let at = writeUint16(bytes, LENGTH_BYTES + 1, frame.entries.length);
      for (const { origin, counter, own, hops, heldMs } of frame.entries) {
        at = writeId(bytes, at, origin, counter);
        bytes[at++] = own ? Flag.OWN : 0;
        bytes[at++] = hops;
        at = writeUint16(bytes, at, heldMs);
      }
      return [bytes];
    }
    case 'graft': {
      const bytes = begin(Kind.GRAFT, 1 + ORIGIN_BYTES + 2 + frame.ranges.length * RANGE_BYTES);
      let at = LENGTH_BYTES + 1;
      bytes[at++] = (frame.own ? Flag.OWN : 0) | (frame.eager ? Flag.EAGER : 0);
      at = writeUint16(bytes, writeOrigin(bytes, at, frame.origin), frame.ranges.length);
      for (const { from, count } of frame.ranges) at = writeUint16(bytes, writeCounter(bytes, at, from), count);
      return [bytes];
    }
    case 'prune': {
      const bytes = begin(Kind.PRUNE, 1 + ORIGIN_BYTES);
      bytes[LENGTH_BYTES + 1] = frame.own ? Flag.OWN : 0;
      writeOrigin(bytes, LENGTH_BYTES + 2, frame.origin);
      return [bytes];
    }
    case 'summary': {
      const bytes = begin(Kind.SUMMARY, 3 + frame.origins.length * SUMMARY_BYTES);
      bytes[LENGTH_BYTES + 1] = frame.established ? 1 : 0;
      writeSummary(bytes, LENGTH_BYTES + 2, frame.origins);
      return [bytes];
    }
    case 'hello': {
      const bytes = begin(Kind.HELLO, HELLO_BYTES - 1);
      bytes[LENGTH_BYTES + 1] = frame.version;
      bytes.write(frame.env, LENGTH_BYTES + 2, ENV_BYTES, 'latin1');
      return [bytes];
    }
  }
}

/** Returns how long the content of the frame is that begins with these 4 bytes. @throws ERR_STARLANE_MESSAGE_PROTOCOL when it is too long */
export function frameLength(bytes: Uint8Array): number {
  const length = readUint32(bytes, 0);
  if (length === 0 || length > MAX_FRAME_BYTES) throw broken(`a frame of ${length} bytes`);
  return length;
}

/** Reads the content of a frame. A payload is a view of `bytes`. @throws ERR_STARLANE_MESSAGE_PROTOCOL */
export function decodeFrame(bytes: Buffer): Frame {
  switch (bytes[0]) {
    case Kind.GOSSIP:
      return decodeGossip(bytes);
    case Kind.IHAVE: {
      const count = countOf(bytes, 1, ANNOUNCEMENT_BYTES, MAX_ENTRIES);
      const entries: Announcement[] = [];
      for (let index = 0, at = 3; index < count; index++, at += ANNOUNCEMENT_BYTES) {
        entries.push({
          origin: originAt(bytes, at),
          counter: counterAt(bytes, at + ORIGIN_BYTES),
          own: flagsAt(bytes, at + ORIGIN_BYTES + COUNTER_BYTES, Flag.OWN) !== 0,
          hops: bytes[at + ORIGIN_BYTES + COUNTER_BYTES + 1],
          heldMs: readUint16(bytes, at + ORIGIN_BYTES + COUNTER_BYTES + 2),
        });
      }
      return { kind: 'ihave', entries };
    }
    case Kind.GRAFT: {
      const flags = bytes.length < 2 + ORIGIN_BYTES ? fail('a short frame') : flagsAt(bytes, 1, Flag.OWN | Flag.EAGER);
      const count = countOf(bytes, 2 + ORIGIN_BYTES, RANGE_BYTES, MAX_RANGES);
      const ranges: CounterRange[] = [];
      for (let index = 0, at = 4 + ORIGIN_BYTES; index < count; index++, at += RANGE_BYTES) {
        const range = { from: counterAt(bytes, at), count: readUint16(bytes, at + COUNTER_BYTES) };
        if (range.count === 0 || range.count > MAX_RANGE) throw broken(`a range of ${range.count}`);
        ranges.push(range);
      }
      const [own, eager] = [(flags & Flag.OWN) !== 0, (flags & Flag.EAGER) !== 0];
      return { kind: 'graft', origin: originAt(bytes, 2), own, eager, ranges };
    }
    case Kind.PRUNE:
      if (bytes.length !== 2 + ORIGIN_BYTES) throw broken('a PRUNE of another length');
      return { kind: 'prune', origin: originAt(bytes, 2), own: flagsAt(bytes, 1, Flag.OWN) !== 0 };
    case Kind.SUMMARY:
      return {
        kind: 'summary',
        established: bytes.length > 1 && flagsAt(bytes, 1, 1) !== 0,
        origins: readSummary(bytes, 2),
      };
    case Kind.HELLO:
      // Later versions may add fields, which this one does not read.
      if (bytes.length < HELLO_BYTES) throw broken('a short HELLO');
      return { kind: 'hello', version: bytes[1], env: bytes.toString('latin1', 2, 2 + ENV_BYTES) };
    default:
      throw broken(`a frame of the kind ${bytes[0]}`);
  }
}

function decodeGossip(bytes: Buffer): Gossip {
  if (bytes.length < GOSSIP_HEAD) throw broken('a short message');
  const flags = bytes[GOSSIP_HEAD - 2];
  const format = flags >>> Flag.FORMAT_SHIFT;
  if (format > Format.JSON) throw broken(`a message of the format ${format}`);
  return {
    kind: 'gossip',
    origin: originAt(bytes, 1),
    counter: counterAt(bytes, 1 + ORIGIN_BYTES),
    own: (flags & Flag.OWN) !== 0,
    fetched: (flags & Flag.FETCHED) !== 0,
    hops: bytes[GOSSIP_HEAD - 1],
    format: format as Format,
    payload: bytes.subarray(GOSSIP_HEAD),
  };
}

/** Returns a buffer for a frame whose last `behind` bytes are in another one. */
function begin(kind: number, size: number, behind = 0): Buffer {
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + 1 + size);
  writeUint32(bytes, 0, 1 + size + behind);
  bytes[LENGTH_BYTES] = kind;
  return bytes;
}

function writeOrigin(target: Buffer, at: number, origin: OriginKey): number {
  return at + target.write(origin, at, ORIGIN_BYTES, 'latin1');
}

function writeCounter(target: Uint8Array, at: number, counter: number): number {
  return writeUint32(target, writeUint32(target, at, Math.floor(counter / 2 ** 32)), counter % 2 ** 32);
}

function writeId(target: Buffer, at: number, origin: OriginKey, counter: number): number {
  return writeCounter(target, writeOrigin(target, at, origin), counter);
}

function writeSummary(target: Buffer, start: number, origins: readonly OriginSummary[]): void {
  let at = writeUint16(target, start, origins.length);
  for (const { origin, own, lowest, highest } of origins) {
    at = writeOrigin(target, at, origin);
    target[at++] = own ? Flag.OWN : 0;
    at = writeCounter(target, writeCounter(target, at, lowest), highest);
  }
}

function readSummary(bytes: Buffer, start: number): OriginSummary[] {
  const count = countOf(bytes, start, SUMMARY_BYTES, MAX_ENTRIES);
  const origins: OriginSummary[] = [];
  for (let index = 0, at = start + 2; index < count; index++, at += SUMMARY_BYTES) {
    const lowest = counterAt(bytes, at + ORIGIN_BYTES + 1);
    const highest = counterAt(bytes, at + ORIGIN_BYTES + 1 + COUNTER_BYTES, 0);
    // One above the highest: nothing is kept for repair.
    if (lowest > highest + 1) throw broken('a summary that ends before it begins');
    const own = flagsAt(bytes, at + ORIGIN_BYTES, Flag.OWN) !== 0;
    origins.push({ origin: originAt(bytes, at), own, lowest, highest });
  }
  return origins;
}

/** Returns the count at `at`, behind which so many entries end the frame. */
function countOf(bytes: Uint8Array, at: number, entryBytes: number, most: number): number {
  if (bytes.length < at + 2) throw broken('a short frame');
  const count = readUint16(bytes, at);
  if (count > most || bytes.length !== at + 2 + count * entryBytes) throw broken(`a list of ${count}`);
  return count;
}

function originAt(bytes: Buffer, at: number): OriginKey {
  return bytes.toString('latin1', at, at + ORIGIN_BYTES);
}

function counterAt(bytes: Uint8Array, at: number, least = 1): number {
  const counter = readUint32(bytes, at) * 2 ** 32 + readUint32(bytes, at + 4);
  if (counter < least || counter > MAX_COUNTER) throw broken('a counter beyond its range');
  return counter;
}

function flagsAt(bytes: Uint8Array, at: number, known: number): number {
  if ((bytes[at] & ~known) !== 0) throw broken(`flags ${bytes[at]}`);
  return bytes[at];
}

function fail(what: string): never {
  throw broken(what);
}

function broken(what: string): Error {
  return starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', what);
}
