// The proof of identity of each end of a secure circuit, in OPEN and at the end of its reply. Relays pass it on unread.
//
//   32 public key | 32 ephemeral key | 64 signature | with a secret, and nothing without one:
//     in OPEN u8 n + n * 4, which keys of the network the dialler has; in the reply u8, which of them is in use, from 0
//
// Ed25519, X25519, Ed25519. What is signed is in circuit/secure/transcript.ts.

import { malformed } from './text.js';

const KEY_BYTES = 32;
const SIGNATURE_AT = 2 * KEY_BYTES;
export const CIRCUIT_PROOF_BYTES = SIGNATURE_AT + 64;

/** A hint distinguishes the keys of a network; nothing of a key can be learned from it. */
export const KEY_HINT_BYTES = 4;
const MAX_KEY_HINTS = 4;
const REPLY_PROOF_BYTES = CIRCUIT_PROOF_BYTES + 1;

/** The identity of one end, its key for this circuit alone, and its signature of both and of what the circuit is. */
export interface CircuitProof {
  readonly publicKey: Uint8Array;
  readonly ephemeral: Uint8Array;
  readonly signature: Uint8Array;
  /** What follows the signature; empty without a secret. */
  readonly keys: Uint8Array;
}

/** The proof that an end writes; `keys` default to none. */
type OwnProof = Omit<CircuitProof, 'keys'> & Partial<Pick<CircuitProof, 'keys'>>;

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a part has another length */
export function encodeProof({ publicKey, ephemeral, signature, keys }: OwnProof): Buffer {
  const isWhole = publicKey.length === KEY_BYTES && ephemeral.length === KEY_BYTES;
  if (!isWhole || signature.length !== CIRCUIT_PROOF_BYTES - SIGNATURE_AT) {
    throw malformed('a proof has two keys of 32 bytes and a signature of 64');
  }
  return Buffer.concat(
    keys === undefined ? [publicKey, ephemeral, signature] : [publicKey, ephemeral, signature, keys],
  );
}

/** Returns the parts of a proof, without a copy. */
export function readProof(bytes: Uint8Array): CircuitProof {
  return {
    publicKey: bytes.subarray(0, KEY_BYTES),
    ephemeral: bytes.subarray(KEY_BYTES, SIGNATURE_AT),
    signature: bytes.subarray(SIGNATURE_AT, CIRCUIT_PROOF_BYTES),
    keys: bytes.subarray(CIRCUIT_PROOF_BYTES),
  };
}

/** Returns whether these bytes can be the proof of an OPEN, with key hints or without. */
export function isOpenProof(proof: Uint8Array): boolean {
  const { length } = proof;
  if (length <= CIRCUIT_PROOF_BYTES) return length === CIRCUIT_PROOF_BYTES;
  const count = proof[CIRCUIT_PROOF_BYTES];
  return count <= MAX_KEY_HINTS && length === CIRCUIT_PROOF_BYTES + 1 + count * KEY_HINT_BYTES;
}

/** Writes what {@link encodeProof} has made, and returns the offset behind it. @throws ERR_STARLANE_MESSAGE */
export function writeProof(target: Uint8Array, at: number, proof: Uint8Array): number {
  const { length } = proof;
  if (at + length > target.length) throw malformed('no room for a proof');
  target.set(proof, at);
  return at + length;
}

/** Returns whether the proof of a reply can have this length. Others are of a later version, and count as no proof. */
export function isReplyProof(length: number): boolean {
  return length === CIRCUIT_PROOF_BYTES || length === REPLY_PROOF_BYTES;
}

/** Returns where the proof with key hints ends that begins at `at` in an OPEN. @throws ERR_STARLANE_MESSAGE */
export function hintedProofEnd(bytes: Uint8Array, at: number, end: number): number {
  const count = at + CIRCUIT_PROOF_BYTES < end ? bytes[at + CIRCUIT_PROOF_BYTES] : MAX_KEY_HINTS + 1;
  const proofEnd = at + CIRCUIT_PROOF_BYTES + 1 + count * KEY_HINT_BYTES;
  if (count > MAX_KEY_HINTS || proofEnd > end) throw malformed('OPEN is too short for its key hints');
  return proofEnd;
}
