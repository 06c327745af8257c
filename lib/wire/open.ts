// How every stream but the control stream begins: OPEN from the dialler, and the reply to it. Big-endian, pure.
//
//   OPEN    u16 length | u8 version | u8 flags | u8 hop limit | 8 destination | u32 destination port
//           | 8 source | u32 source port | 16 circuit id | u8 n + n * 8 visited | u8 n + service
//   reply   u16 length | u8 code | u32 port | 8 at | u8 n + reason
//
// The length counts what follows it. A reader skips what it does not know at the end, so that later versions can append.

import { isVirtualPort, NODE_ID_BYTES, type NodeId, nodeIdFromBytes, nodeIdToBytes } from '../address.js';
import { readUint16, readUint32, writeUint16, writeUint32 } from './fields.js';
import { encodeReason, encodeServiceName, malformed, readReason, readServiceName } from './text.js';

export const OPEN_VERSION = 1;

/** More relays than any sensible route has, and the bound of the list that finds loops. */
export const MAX_VISITED = 32;

export const CIRCUIT_ID_BYTES = 16;

/** The longest OPEN that is read, with its length: 557 bytes can be in use, the rest is room for later versions. */
export const MAX_OPEN_BYTES = 1024;

/** The longest reply that is read, with its length: 271 bytes can be in use. */
export const MAX_REPLY_BYTES = 512;

const LENGTH_BYTES = 2;
const NO_BYTES = Buffer.alloc(0);
/** Up to and with the number of visited nodes. */
const OPEN_FIXED_BYTES = 1 + 1 + 1 + NODE_ID_BYTES + 4 + NODE_ID_BYTES + 4 + CIRCUIT_ID_BYTES + 1;
const REPLY_FIXED_BYTES = 1 + 4 + NODE_ID_BYTES + 1;

/** A node id as text, or as its 8 bytes, which spares the conversion at every open. */
export type EncodedNodeId = NodeId | Uint8Array;

/** An OPEN to be written. */
export interface OpenRequest {
  /** Bits for later versions, 0..255. Default 0. A relay passes them on. */
  readonly flags?: number;
  /** How many more links it may cross, 0..255. */
  readonly hopLimit: number;
  readonly dst: EncodedNodeId;
  /** 0: by service alone. */
  readonly dstPort: number;
  readonly src: EncodedNodeId;
  readonly srcPort: number;
  /** The 16 bytes of a UUID. */
  readonly circuitId: Uint8Array;
  /** Relays it has passed, at most 32. Default none. */
  readonly visited?: readonly EncodedNodeId[];
  /** Empty: by port alone. */
  readonly service: string;
}

/** An OPEN that has been read. */
export interface Open {
  readonly flags: number;
  readonly hopLimit: number;
  readonly dst: NodeId;
  readonly dstPort: number;
  readonly src: NodeId;
  readonly srcPort: number;
  /** A part of the bytes read: copy it to keep it. */
  readonly circuitId: Uint8Array;
  readonly visited: readonly NodeId[];
  readonly service: string;
}

/** What became of an OPEN. The numbers are the wire: append only. */
export const ReplyCode = {
  ACCEPTED: 0,
  /** Nothing is bound there. */
  REFUSED: 1,
  /** The node that replies knows no way to the destination. */
  NO_ROUTE: 2,
  /** The node that replies does not allow it. */
  DENIED: 3,
  /** The next node did not answer in time. */
  TIMEOUT: 4,
  /** A backlog or another limit is reached. */
  LIMIT: 5,
  /** The hop limit was used up. */
  HOP_LIMIT: 6,
  /** It came back to a node that it had visited. */
  LOOP: 7,
  /** The OPEN could not be understood. */
  MALFORMED: 8,
} as const;
export type ReplyCode = (typeof ReplyCode)[keyof typeof ReplyCode];

/** A reply to be written. */
export interface OpenReply {
  readonly code: number;
  /** The port that answers when accepted, else 0. */
  readonly port: number;
  /** The node that says so. */
  readonly at: EncodedNodeId;
  /** Cut to 255 bytes of UTF-8. Default empty. */
  readonly reason?: string;
}

/** A reply that has been read. */
export interface ReadReply {
  /** One of {@link ReplyCode}, or the number of a later version, which means a refusal. */
  readonly code: number;
  readonly port: number;
  readonly at: NodeId;
  readonly reason: string;
}

/** How many bytes {@link writeOpen} needs. */
export function openBytes(open: OpenRequest): number {
  const serviceBytes = open.service === '' ? 0 : encodeServiceName(open.service).length;
  return LENGTH_BYTES + OPEN_FIXED_BYTES + NODE_ID_BYTES * (open.visited?.length ?? 0) + 1 + serviceBytes;
}

/**
 * Writes an OPEN at `offset`, where there is room for {@link openBytes}, and returns the offset behind it.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, ERR_STARLANE_ADDRESS for a bad node id
 */
export function writeOpen(target: Buffer, offset: number, open: OpenRequest): number {
  const { service, circuitId, visited, flags = 0 } = open;
  const visitedCount = visited === undefined ? 0 : visited.length;
  if (visitedCount > MAX_VISITED) throw malformed('too many visited nodes');
  if (circuitId.length !== CIRCUIT_ID_BYTES) throw malformed('a circuit id has 16 bytes');
  if (!isByte(open.hopLimit) || !isByte(flags)) throw malformed('hop limit and flags go from 0 to 255');
  if (!isVirtualPort(open.dstPort) || !isVirtualPort(open.srcPort)) throw malformed('a port goes from 0 to 4294967295');

  let at = offset + LENGTH_BYTES;
  target[at++] = OPEN_VERSION;
  target[at++] = flags;
  target[at++] = open.hopLimit;
  at = writeNodeId(target, at, open.dst);
  at = writeUint32(target, at, open.dstPort);
  at = writeNodeId(target, at, open.src);
  at = writeUint32(target, at, open.srcPort);
  for (let index = 0; index < CIRCUIT_ID_BYTES; index++) target[at++] = circuitId[index];
  target[at++] = visitedCount;
  for (let index = 0; index < visitedCount; index++) at = writeNodeId(target, at, visited![index]);
  const name = service === '' ? NO_BYTES : encodeServiceName(service);
  target[at++] = name.length;
  if (at + name.length > target.length) throw malformed('no room for an OPEN');
  for (let index = 0; index < name.length; index++) target[at++] = name[index];
  writeUint16(target, offset, at - offset - LENGTH_BYTES);
  return at;
}

/** An OPEN in a buffer of its own. Throws as {@link writeOpen}. */
export function encodeOpen(open: OpenRequest): Buffer {
  const bytes = Buffer.allocUnsafe(openBytes(open));
  writeOpen(bytes, 0, open);
  return bytes;
}

/**
 * Reads an OPEN from the start of what a stream has brought so far: undefined when more is needed, never of more than
 * {@link MAX_OPEN_BYTES} in all.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed or of another version
 */
export function tryReadOpen(bytes: Uint8Array): { open: Open; bytesRead: number } | undefined {
  const end = frameEnd(bytes, OPEN_FIXED_BYTES + 1, MAX_OPEN_BYTES, 'OPEN');
  if (end === 0) return undefined;
  let at = LENGTH_BYTES;
  if (bytes[at] !== OPEN_VERSION) throw malformed(`OPEN of version ${bytes[at]}`);
  const flags = bytes[at + 1];
  const hopLimit = bytes[at + 2];
  at += 3;
  const dst = readNodeId(bytes, at);
  at += NODE_ID_BYTES;
  const dstPort = readUint32(bytes, at);
  at += 4;
  const src = readNodeId(bytes, at);
  at += NODE_ID_BYTES;
  const srcPort = readUint32(bytes, at);
  at += 4;
  const circuitId = bytes.subarray(at, at + CIRCUIT_ID_BYTES);
  at += CIRCUIT_ID_BYTES;

  const visitedCount = bytes[at++];
  if (visitedCount > MAX_VISITED) throw malformed('OPEN has visited too many nodes');
  if (at + visitedCount * NODE_ID_BYTES >= end) throw malformed('OPEN is too short for its visited nodes');
  let visited: NodeId[] | undefined;
  for (let index = 0; index < visitedCount; index++) {
    visited ??= [];
    visited.push(readNodeId(bytes, at));
    at += NODE_ID_BYTES;
  }

  const serviceBytes = bytes[at++];
  if (at + serviceBytes > end) throw malformed('OPEN is too short for its service');
  const service = serviceBytes === 0 ? '' : readServiceName(bytes, at, at + serviceBytes);
  return {
    open: { flags, hopLimit, dst, dstPort, src, srcPort, circuitId, visited: visited ?? NOWHERE, service },
    bytesRead: end,
  };
}

/**
 * A reply in a buffer of its own.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, ERR_STARLANE_ADDRESS for a bad node id
 */
export function encodeReply(reply: OpenReply): Buffer {
  if (!isByte(reply.code)) throw malformed('the code of a reply goes from 0 to 255');
  if (!isVirtualPort(reply.port)) throw malformed('a port goes from 0 to 4294967295');
  const reason = reply.reason === undefined || reply.reason === '' ? undefined : encodeReason(reply.reason);
  const reasonBytes = reason === undefined ? 0 : reason.length;
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + REPLY_FIXED_BYTES + reasonBytes);
  writeUint16(bytes, 0, bytes.length - LENGTH_BYTES);
  bytes[2] = reply.code;
  let at = writeUint32(bytes, 3, reply.port);
  at = writeNodeId(bytes, at, reply.at);
  bytes[at++] = reasonBytes;
  if (reason !== undefined) bytes.set(reason, at);
  return bytes;
}

/**
 * Reads a reply from the start of what the reverse direction has brought so far: undefined when more is needed, never
 * of more than {@link MAX_REPLY_BYTES} in all.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed
 */
export function tryReadReply(bytes: Uint8Array): { reply: ReadReply; bytesRead: number } | undefined {
  const end = frameEnd(bytes, REPLY_FIXED_BYTES, MAX_REPLY_BYTES, 'reply');
  if (end === 0) return undefined;
  const code = bytes[2];
  const port = readUint32(bytes, 3);
  const at = readNodeId(bytes, 7);
  const reasonBytes = bytes[15];
  if (16 + reasonBytes > end) throw malformed('reply is too short for its reason');
  const reason = reasonBytes === 0 ? '' : readReason(bytes, 16, 16 + reasonBytes);
  return { reply: { code, port, at, reason }, bytesRead: end };
}

const NOWHERE: readonly NodeId[] = Object.freeze([]);

/** Where the length says that it ends, or 0 when that much is not there yet. A bad length is told at once. */
function frameEnd(bytes: Uint8Array, minLength: number, maxBytes: number, what: string): number {
  if (bytes.length < LENGTH_BYTES) return 0;
  const length = readUint16(bytes, 0);
  const end = LENGTH_BYTES + length;
  if (length < minLength || end > maxBytes) throw malformed(`${what} of ${length} bytes`);
  return bytes.length < end ? 0 : end;
}

interface CachedId {
  readonly high: number;
  readonly low: number;
  readonly id: NodeId;
}

/** A power of two. One id a slot, the newest wins: a hostile peer can waste the cache, not grow it. */
const ID_SLOTS = 1024;
const ids = new Array<CachedId | undefined>(ID_SLOTS).fill(undefined);

/** The same few ids come with every open: kept as strings, they are neither decoded nor stored again. */
function readNodeId(bytes: Uint8Array, at: number): NodeId {
  const high = readUint32(bytes, at);
  const low = readUint32(bytes, at + 4);
  // Ids are hashes, so any of their bits will do.
  const slot = low & (ID_SLOTS - 1);
  const known = ids[slot];
  if (known !== undefined && known.high === high && known.low === low) return known.id;
  const id = nodeIdFromBytes(bytes, at);
  ids[slot] = { high, low, id };
  return id;
}

function writeNodeId(target: Uint8Array, at: number, id: EncodedNodeId): number {
  const bytes = typeof id === 'string' ? nodeIdToBytes(id) : id;
  if (bytes.length !== NODE_ID_BYTES) throw malformed('a node id has 8 bytes');
  for (let index = 0; index < NODE_ID_BYTES; index++) target[at + index] = bytes[index];
  return at + NODE_ID_BYTES;
}

function isByte(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xff;
}
