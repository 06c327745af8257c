// Node ids in OPEN and its reply, alone and as lists: 8 bytes on the wire, text everywhere else. The same few ids come with
// every OPEN, so the ids read last are cached.

import { NODE_ID_BYTES, type NodeId, nodeIdFromBytes, nodeIdToBytes } from '../address.js';
import { readUint16, readUint32 } from './fields.js';
import { malformed } from './text.js';

/** A node id as text, or as its 8 bytes, which spares the conversion at every open. */
export type EncodedNodeId = NodeId | Uint8Array;

interface CachedId {
  readonly high: number;
  readonly low: number;
  readonly id: NodeId;
}

/** A power of two. Each slot holds the newest id: a hostile peer can waste the cache, but not grow it. */
const ID_SLOTS = 1024;
const ids = new Array<CachedId | undefined>(ID_SLOTS).fill(undefined);

/** Reads the 8 bytes at `at`, which the caller has made sure are there. */
export function readNodeId(bytes: Uint8Array, at: number): NodeId {
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

/** Writes an id, and returns the offset behind it. @throws ERR_STARLANE_MESSAGE, ERR_STARLANE_ADDRESS */
export function writeNodeId(target: Uint8Array, at: number, id: EncodedNodeId): number {
  const bytes = typeof id === 'string' ? nodeIdToBytes(id) : id;
  if (bytes.length !== NODE_ID_BYTES) throw malformed('a node id has 8 bytes');
  for (let index = 0; index < NODE_ID_BYTES; index++) target[at + index] = bytes[index];
  return at + NODE_ID_BYTES;
}

/** No nodes at all. */
export const NOWHERE: readonly NodeId[] = Object.freeze([]);

/** More relays than any sensible route has, and the bound of the list that finds loops. */
export const MAX_VISITED = 32;

/** Returns the bytes of a list of nodes: a count, and 8 bytes each. */
export function visitedBytes(visited: readonly EncodedNodeId[]): number {
  return 1 + NODE_ID_BYTES * visited.length;
}

/** Writes a list of at most {@link MAX_VISITED} nodes, and returns the offset behind it. @throws as {@link writeNodeId} */
export function writeVisited(target: Uint8Array, offset: number, visited: readonly EncodedNodeId[]): number {
  if (visited.length > MAX_VISITED) throw malformed('too many visited nodes');
  target[offset] = visited.length;
  let at = offset + 1;
  for (const id of visited) at = writeNodeId(target, at, id);
  return at;
}

/** Returns the list at `at`, which must end before `end`. @throws ERR_STARLANE_MESSAGE when it does not, or is too long */
export function readVisited(bytes: Uint8Array, at: number, end: number): readonly NodeId[] {
  const count = bytes[at];
  if (count > MAX_VISITED) throw malformed('too many visited nodes');
  if (at + 1 + count * NODE_ID_BYTES > end) throw malformed('it is too short for its visited nodes');
  if (count === 0) return NOWHERE;
  const visited: NodeId[] = [];
  for (let index = 0; index < count; index++) visited.push(readNodeId(bytes, at + 1 + index * NODE_ID_BYTES));
  return visited;
}

/**
 * Returns where a message ends that begins with its length in two bytes, or 0 when it has not arrived completely.
 * @throws ERR_STARLANE_MESSAGE as soon as the length is wrong
 */
export function prefixedEnd(bytes: Uint8Array, minLength: number, maxBytes: number, what: string): number {
  if (bytes.length < 2) return 0;
  const length = readUint16(bytes, 0);
  const end = 2 + length;
  if (length < minLength || end > maxBytes) throw malformed(`${what} of ${length} bytes`);
  return bytes.length < end ? 0 : end;
}
