// The proofs of a handshake: that the key in HELLO is the sender's own, and that the sender knows the secret of the
// network. Pure.
//
//   T          SHA-256('starlane link 1' | u8 role | u16 n + binding | u16 n + client's HELLO | u16 n + server's HELLO)
//   signature  Ed25519 by the key in the sender's HELLO, over T
//   proof      HMAC-SHA256 by the network key, over T; nothing when the sender has no secret, and several while one secret takes
//              the place of another: one that holds is enough
//
// The role is 0 for what the client says and 1 for the server, so that nobody can send back what was sent to it. The
// binding is what only the two ends of a tls session know (RFC 9266, with a label of its own); there, the client does not
// wait for the server's HELLO, which then has no bytes. Without tls the binding is empty, and it is the nonces in both
// HELLOs that no proof fits twice. A HELLO is hashed as it was sent, type and body.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { StarlaneErrorCode } from '../../errors.js';
import { verifySignature } from '../../identity/signatures.js';
import { type Auth, GoodbyeCode } from '../../wire/messages.js';

const LABEL = 'starlane link 1';
const NOTHING = Buffer.alloc(0);

const ONLY_THIS = 'this node has a secret, the peer has none';
const ONLY_PEER = 'the peer has a secret, this node has none';
const DIFFERENT = 'this node has a secret, and the peer has a different one';

/** Who says it. */
export const AuthRole = { CLIENT: 0, SERVER: 1 } as const;
export type AuthRole = (typeof AuthRole)[keyof typeof AuthRole];

/** What a proof is about. Each part has at most 65535 bytes. */
export interface Transcript {
  readonly role: AuthRole;
  /** Empty without tls. */
  readonly binding: Uint8Array;
  readonly clientHello: Uint8Array;
  /** Empty when the client could not know it. */
  readonly serverHello: Uint8Array;
}

/** Why a proof does not hold: a code for the peer, and the error for this side; in words for each of them. */
export interface AuthFault {
  readonly code: GoodbyeCode;
  readonly errorCode: StarlaneErrorCode;
  /** For the user of this node. */
  readonly detail: string;
  /** For the user of the peer, who calls that one "this node" and this one "the peer". */
  readonly told: string;
}

export function transcriptHash({ role, binding, clientHello, serverHello }: Transcript): Buffer {
  const hash = createHash('sha256').update(LABEL).update(Uint8Array.of(role));
  for (const part of [binding, clientHello, serverHello]) {
    hash.update(Uint8Array.of(part.length >>> 8, part.length)).update(part);
  }
  return hash.digest();
}

/** The proofs of a node with this key, and the keys of its network if it has a secret. */
export function makeAuth(
  transcript: Transcript,
  sign: (bytes: Uint8Array) => Uint8Array,
  networkKeys: readonly Uint8Array[],
): Auth {
  const hash = transcriptHash(transcript);
  const [proof = NOTHING, ...furtherProofs] = networkKeys.map((key) => membershipProof(hash, key));
  const auth = { signature: sign(hash), proof };
  return furtherProofs.length === 0 ? auth : { ...auth, furtherProofs };
}

/** What is wrong with the proofs of a peer, or undefined when they hold. */
export function checkAuth(
  { signature, proof, furtherProofs = [] }: Auth,
  transcript: Transcript,
  publicKey: Uint8Array,
  networkKeys: readonly Uint8Array[],
): AuthFault | undefined {
  const hash = transcriptHash(transcript);
  // First, as a man in the middle breaks both, and this is what is wrong then.
  if (!verifySignature(publicKey, hash, signature)) {
    return fault(
      GoodbyeCode.IDENTITY,
      'ERR_STARLANE_IDENTITY',
      'the peer has not signed the handshake with its key',
      'the signature of this node does not hold for the handshake',
    );
  }
  const hasProof = proof.length > 0;
  if (hasProof !== networkKeys.length > 0) {
    const [detail, told] = hasProof ? [ONLY_PEER, ONLY_THIS] : [ONLY_THIS, ONLY_PEER];
    return fault(GoodbyeCode.NOT_MEMBER, 'ERR_STARLANE_SECRET', detail, told);
  }
  const expected = networkKeys.map((key) => membershipProof(hash, key));
  const holds = (given: Uint8Array): boolean => expected.some((one) => timingSafeEqual(given, one));
  if (hasProof && ![proof, ...furtherProofs].some(holds)) {
    return fault(GoodbyeCode.NOT_MEMBER, 'ERR_STARLANE_SECRET', DIFFERENT, DIFFERENT);
  }
  return undefined;
}

function membershipProof(hash: Buffer, networkKey: Uint8Array): Buffer {
  return createHmac('sha256', networkKey).update(hash).digest();
}

function fault(code: GoodbyeCode, errorCode: StarlaneErrorCode, detail: string, told: string): AuthFault {
  return { code, errorCode, detail, told };
}
