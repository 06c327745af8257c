// Messages of the control stream that carry statements about members, and that show two nodes which of them the other one lacks.
// Big-endian, pure. They go only to peers that understand them, see Capability.MEMBERS.
//
//   MEMBERS          n * (u16 n + statement)                   see statements.ts; a reader ignores kinds that it does not know
//   MEMBERS_DIGEST   8 root | u32 number of statements
//   MEMBER_HASHES    u8 flags | u16 n + n * 8 hash
//
// A hash is the first 8 bytes of the SHA-256 of a statement, the root is the XOR of all hashes.

import { exactly, type FieldReader, uint } from './fields.js';
import { encodeMessage, MessageType } from './message.js';
import { MAX_STATEMENT_BYTES } from './statements.js';
import { malformed } from './text.js';

/** The most hashes that a message may have. */
export const MAX_MEMBER_HASHES = 4096;

const HASH_BYTES = 8;
/** In the flags of MEMBER_HASHES: nothing more of this kind follows. */
const LAST = 1;

export type MemberMessage =
  | { readonly type: typeof MessageType.MEMBERS; readonly statements: readonly Uint8Array[] }
  | ({ readonly type: typeof MessageType.MEMBERS_DIGEST } & MembersDigest)
  | {
      readonly type: typeof MessageType.MEMBER_HASHES;
      readonly isLast: boolean;
      /** Each as 16 hex digits. */
      readonly hashes: readonly string[];
    };

/** A summary of all statements that a node holds. */
export interface MembersDigest {
  readonly rootHigh: number;
  readonly rootLow: number;
  readonly count: number;
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a field does not fit */
export function encodeMemberMessage(message: MemberMessage): Buffer {
  switch (message.type) {
    case MessageType.MEMBERS:
      return encodeMessage(message.type, message.statements.flatMap(statementParts));
    case MessageType.MEMBERS_DIGEST:
      return encodeMessage(message.type, [
        uint(4, message.rootHigh, 'root'),
        uint(4, message.rootLow, 'root'),
        uint(4, message.count, 'count'),
      ]);
    case MessageType.MEMBER_HASHES: {
      const { isLast, hashes } = message;
      if (hashes.length > MAX_MEMBER_HASHES) throw malformed(`${hashes.length} hashes`);
      return encodeMessage(message.type, [
        uint(1, isLast ? LAST : 0, 'flags'),
        uint(2, hashes.length, 'hashes'),
        ...hashes.map((hash) => exactly(HASH_BYTES, Buffer.from(hash, 'hex'), 'hash')),
      ]);
    }
  }
}

/** Returns how many bytes a statement takes in MEMBERS. */
export function statementBytes(statement: Uint8Array): number {
  return 2 + statement.length;
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when it is malformed; the statements are not read */
export function decodeMembers(fields: FieldReader): MemberMessage {
  const statements: Buffer[] = [];
  while (fields.left > 0) {
    const length = fields.uint(2);
    if (length === 0 || length > MAX_STATEMENT_BYTES) throw malformed(`a statement of ${length} bytes`);
    statements.push(fields.copy(length));
  }
  return { type: MessageType.MEMBERS, statements };
}

export function decodeMembersDigest(fields: FieldReader): MemberMessage {
  return { type: MessageType.MEMBERS_DIGEST, rootHigh: fields.uint(4), rootLow: fields.uint(4), count: fields.uint(4) };
}

export function decodeMemberHashes(fields: FieldReader): MemberMessage {
  const isLast = (fields.uint(1) & LAST) !== 0;
  const hashes = fields.list(MAX_MEMBER_HASHES, () => fields.copy(HASH_BYTES).toString('hex'), 2);
  return { type: MessageType.MEMBER_HASHES, isLast, hashes };
}

function statementParts(statement: Uint8Array): Uint8Array[] {
  return [uint(2, statement.length, 'statement'), statement];
}
