// The reply to an OPEN, at the start of the reverse direction of a circuit. Big-endian, pure.
//
//   u16 length | u8 code | u32 port | 8 at | u8 n + reason | u8 n + n * 8 visited | u8 n + proof
//
// The proof of the destination (circuit-proof.ts), of a secure circuit that is accepted, has 128 or 129 bytes. Empty fields at the end
// may be left out.
//
// The length counts what follows it. A reader skips what it does not know at the end, so that later versions can append.

import { isVirtualPort, NODE_ID_BYTES, type NodeId } from '../address.js';
import { isReplyProof, writeProof } from './circuit-proof.js';
import { readUint32, writeUint16, writeUint32 } from './fields.js';
import {
  type EncodedNodeId,
  NOWHERE,
  prefixedEnd,
  readNodeId,
  readVisited,
  visitedBytes,
  writeNodeId,
  writeVisited,
} from './node-ids.js';
import { encodeReason, malformed, readReason } from './text.js';

/** The longest reply that is read, with its length: 658 bytes can be in use, the rest is room for later versions. */
export const MAX_REPLY_BYTES = 1024;

const LENGTH_BYTES = 2;
const FIXED_BYTES = 1 + 4 + NODE_ID_BYTES + 1;

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
  /** The proof of a secure circuit does not hold. */
  INSECURE: 9,
  /** The destination has seen this OPEN before. The source may try again with another one. */
  REPEATED: 10,
  /** The clocks of source and destination differ too much. */
  CLOCK: 11,
} as const;
export type ReplyCode = (typeof ReplyCode)[keyof typeof ReplyCode];

/** A reply to be written. */
export interface OpenReply {
  readonly code: number;
  /** The port that answers when accepted, else 0. */
  readonly port: number;
  /** The node that decided. */
  readonly at: EncodedNodeId;
  /** Cut to 255 bytes of UTF-8. Default empty. */
  readonly reason?: string;
  /**
   * When accepted, the relays between here and the destination, nearest first; else every node that was tried, at most 32.
   * Default none.
   */
  readonly visited?: readonly EncodedNodeId[];
  /** The proof of the destination of a secure circuit. Default none. */
  readonly proof?: Uint8Array | undefined;
}

/** A reply that has been read. */
export interface ReadReply {
  /** One of {@link ReplyCode}, or the number of a later version, which means a refusal. */
  readonly code: number;
  readonly port: number;
  readonly at: NodeId;
  readonly reason: string;
  readonly visited: readonly NodeId[];
  /** A part of the bytes read: copy it to keep it. */
  readonly proof: Uint8Array | undefined;
}

/**
 * Returns a reply in its own buffer.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit, ERR_STARLANE_ADDRESS for a bad node id
 */
export function encodeReply(reply: OpenReply): Buffer {
  const { visited = NOWHERE, proof } = reply;
  if (!(Number.isInteger(reply.code) && reply.code >= 0 && reply.code <= 0xff)) {
    throw malformed('the code of a reply goes from 0 to 255');
  }
  if (!isVirtualPort(reply.port)) throw malformed('a port goes from 0 to 4294967295');
  const reason = reply.reason === undefined || reply.reason === '' ? undefined : encodeReason(reply.reason);
  const reasonBytes = reason === undefined ? 0 : reason.length;
  const ownBytes = LENGTH_BYTES + FIXED_BYTES + reasonBytes;
  const hasVisited = visited.length > 0 || proof !== undefined;
  const bytes = Buffer.allocUnsafe(
    ownBytes + (hasVisited ? visitedBytes(visited) : 0) + (proof === undefined ? 0 : 1 + proof.length),
  );
  writeUint16(bytes, 0, bytes.length - LENGTH_BYTES);
  bytes[2] = reply.code;
  let at = writeUint32(bytes, 3, reply.port);
  at = writeNodeId(bytes, at, reply.at);
  bytes[at++] = reasonBytes;
  if (reason !== undefined) bytes.set(reason, at);
  if (hasVisited) at = writeVisited(bytes, ownBytes, visited);
  if (proof !== undefined) {
    if (!isReplyProof(proof.length)) throw malformed(`a proof of ${proof.length} bytes`);
    bytes[at] = proof.length;
    writeProof(bytes, at + 1, proof);
  }
  return bytes;
}

/**
 * Reads a reply from the first bytes of the reverse direction. Returns undefined when more are needed, but never for more than
 * {@link MAX_REPLY_BYTES} in all.
 * @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed
 */
export function tryReadReply(bytes: Uint8Array): { reply: ReadReply; bytesRead: number } | undefined {
  const end = prefixedEnd(bytes, FIXED_BYTES, MAX_REPLY_BYTES, 'reply');
  if (end === 0) return undefined;
  const code = bytes[2];
  const port = readUint32(bytes, 3);
  const at = readNodeId(bytes, 7);
  const reasonBytes = bytes[15];
  const reasonEnd = 16 + reasonBytes;
  if (reasonEnd > end) throw malformed('reply is too short for its reason');
  const reason = reasonBytes === 0 ? '' : readReason(bytes, 16, reasonEnd);
  const visited = reasonEnd === end ? NOWHERE : readVisited(bytes, reasonEnd, end);
  const proof = reasonEnd === end ? undefined : tryReadProof(bytes, reasonEnd + visitedBytes(visited), end);
  return { reply: { code, port, at, reason, visited, proof }, bytesRead: end };
}

/** Returns the proof; undefined when its length is of a later version, which counts as no proof. */
function tryReadProof(bytes: Uint8Array, at: number, end: number): Uint8Array | undefined {
  if (at === end || !isReplyProof(bytes[at])) return undefined;
  const proofEnd = at + 1 + bytes[at];
  if (proofEnd > end) throw malformed('reply is too short for its proof');
  return bytes.subarray(at + 1, proofEnd);
}
