// What each end of a secure circuit says of itself, in OPEN and at the end of its reply. Relays pass it on unread.
//
//   32 public key | 32 ephemeral key | 64 signature
//
// Ed25519, X25519, Ed25519. What is signed is in circuit/secure/transcript.ts.

import { malformed } from './text.js';

const KEY_BYTES = 32;
const SIGNATURE_AT = 2 * KEY_BYTES;
export const PROOF_BYTES = SIGNATURE_AT + 64;

/** The identity of one end, its key for this circuit alone, and its signature of both and of what the circuit is. */
export interface CircuitProof {
  readonly publicKey: Uint8Array;
  readonly ephemeral: Uint8Array;
  readonly signature: Uint8Array;
}

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a part has another length */
export function encodeProof({ publicKey, ephemeral, signature }: CircuitProof): Buffer {
  const isWhole = publicKey.length === KEY_BYTES && ephemeral.length === KEY_BYTES;
  if (!isWhole || signature.length !== PROOF_BYTES - SIGNATURE_AT) {
    throw malformed('a proof has two keys of 32 bytes and a signature of 64');
  }
  return Buffer.concat([publicKey, ephemeral, signature], PROOF_BYTES);
}

/** The parts of {@link PROOF_BYTES} bytes, without a copy. */
export function readProof(bytes: Uint8Array): CircuitProof {
  return {
    publicKey: bytes.subarray(0, KEY_BYTES),
    ephemeral: bytes.subarray(KEY_BYTES, SIGNATURE_AT),
    signature: bytes.subarray(SIGNATURE_AT, PROOF_BYTES),
  };
}

/** Writes what {@link encodeProof} has made, and returns the offset behind it. @throws ERR_STARLANE_MESSAGE */
export function writeProof(target: Uint8Array, at: number, proof: Uint8Array): number {
  if (proof.length !== PROOF_BYTES) throw malformed(`a proof has ${PROOF_BYTES} bytes`);
  if (at + PROOF_BYTES > target.length) throw malformed('no room for a proof');
  target.set(proof, at);
  return at + PROOF_BYTES;
}
