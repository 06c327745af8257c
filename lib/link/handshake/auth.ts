// The proofs of a handshake: that the key in HELLO is the sender's own, and that the sender knows the secret of the
// network. Pure.
//
//   T          SHA-256('starlane link 1' | u8 role | u16 n + binding | u16 n + client's HELLO | u16 n + server's HELLO)
//   signature  Ed25519 by the key in the sender's HELLO, over T
//   proof      HMAC-SHA256 by the network key, over T; nothing when the sender has no secret, and several while one secret replaces
//              another: one that holds is enough
//
// In a network with an authority, a certificate takes the place of the proof: see membership.ts.
//
// The role is 0 in what the client sends and 1 in what the server sends, so that no proof can be sent back to its sender. The binding
// is a value that only the two ends of a tls session know (RFC 9266, with its own label). There, the client does not wait for the
// server's HELLO, which then counts as empty. Without tls the binding is empty, and the nonces in both HELLOs make every proof fit
// one handshake only. A HELLO is hashed as it was sent, type and body.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { verifySignature } from '../../identity/signatures.js';
import { type Auth, GoodbyeCode } from '../../wire/messages.js';
import { type Refusal, refusal } from './refusals.js';

const LABEL = 'starlane link 1';
const NOTHING = Buffer.alloc(0);

const ONLY_THIS = 'this node has a secret, the peer has none';
const ONLY_PEER = 'the peer has a secret, this node has none';
const DIFFERENT = 'this node has a secret, and the peer has a different one';
const ADVICE = 'as long as the network changes over';
const NOT_ENROLLED = `this node has a secret, the peer only a certificate: enrol this node, or give the peer the secret as well ${ADVICE}`;
const PEER_NOT_ENROLLED = `the peer has a secret, this node only a certificate: enrol the peer, or give this node the secret as well ${ADVICE}`;

/** The end that sends a proof. */
export const AuthRole = { CLIENT: 0, SERVER: 1 } as const;
export type AuthRole = (typeof AuthRole)[keyof typeof AuthRole];

/** What the proofs of a handshake cover. Each part has at most 65535 bytes. */
export interface HandshakeTranscript {
  readonly role: AuthRole;
  /** Empty without tls. */
  readonly binding: Uint8Array;
  readonly clientHello: Uint8Array;
  /** Empty where the client cannot know it yet. */
  readonly serverHello: Uint8Array;
}

export function transcriptHash({ role, binding, clientHello, serverHello }: HandshakeTranscript): Buffer {
  const hash = createHash('sha256').update(LABEL).update(Uint8Array.of(role));
  for (const part of [binding, clientHello, serverHello]) {
    hash.update(Uint8Array.of(part.length >>> 8, part.length)).update(part);
  }
  return hash.digest();
}

/** Returns the proofs of a node: `sign` signs with its key, `networkKeys` has a key for each of its secrets. */
export function makeAuth(
  transcript: HandshakeTranscript,
  sign: (bytes: Uint8Array) => Uint8Array,
  networkKeys: readonly Uint8Array[],
  certificate?: Uint8Array,
): Auth {
  const hash = transcriptHash(transcript);
  const [proof = NOTHING, ...furtherProofs] = networkKeys.map((key) => membershipProof(hash, key));
  return {
    signature: sign(hash),
    proof,
    ...(furtherProofs.length === 0 ? {} : { furtherProofs }),
    ...(certificate === undefined ? {} : { certificate }),
  };
}

/** Returns what is wrong with the proofs of a peer; undefined when they hold. */
export function checkAuth(
  auth: Auth,
  transcript: HandshakeTranscript,
  publicKey: Uint8Array,
  networkKeys: readonly Uint8Array[],
): Refusal | undefined {
  const hash = transcriptHash(transcript);
  // First, as a man in the middle breaks both proofs, and this one names the cause.
  return checkSignature(auth, hash, publicKey) ?? checkSecret(auth, hash, networkKeys, auth.certificate !== undefined);
}

/** Returns the refusal of a peer that has not signed the handshake with its key. */
export function checkSignature({ signature }: Auth, hash: Buffer, publicKey: Uint8Array): Refusal | undefined {
  if (!verifySignature(publicKey, hash, signature)) {
    return refusal(
      GoodbyeCode.IDENTITY,
      'ERR_STARLANE_IDENTITY',
      'the peer has not signed the handshake with its key',
      'the signature of this node does not hold for the handshake',
    );
  }
  return undefined;
}

/**
 * Returns the refusal of a peer that has not proved one of the secrets of this node, or has one where this node has none.
 * @param isMember whether it has shown the certificate of a member, which is of no use to this node
 */
export function checkSecret(
  { proof, furtherProofs = [] }: Auth,
  hash: Buffer,
  networkKeys: readonly Uint8Array[],
  isMember: boolean,
): Refusal | undefined {
  const hasProof = proof.length > 0;
  if (hasProof !== networkKeys.length > 0) {
    const missing = isMember ? [NOT_ENROLLED, PEER_NOT_ENROLLED] : [ONLY_THIS, ONLY_PEER];
    const [detail, peerReason] = hasProof ? [ONLY_PEER, ONLY_THIS] : missing;
    return refusal(GoodbyeCode.NOT_MEMBER, 'ERR_STARLANE_SECRET', detail, peerReason);
  }
  const expected = networkKeys.map((key) => membershipProof(hash, key));
  const holds = (given: Uint8Array): boolean => expected.some((one) => timingSafeEqual(given, one));
  if (hasProof && ![proof, ...furtherProofs].some(holds)) {
    return refusal(GoodbyeCode.NOT_MEMBER, 'ERR_STARLANE_SECRET', DIFFERENT, DIFFERENT);
  }
  return undefined;
}

function membershipProof(hash: Buffer, networkKey: Uint8Array): Buffer {
  return createHmac('sha256', networkKey).update(hash).digest();
}
