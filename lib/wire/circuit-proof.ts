// The proof of identity of each end of a circuit, in OPEN and at the end of its reply. Relays pass it on unread.
//
//   32 public key | 32 ephemeral key | 64 signature | in OPEN, with hints: u8 n + n * 4 key hints
//     | in OPEN, in handshake 2: u8 n + terms, which are u8 mode | u32 time (s) | what later versions add
//     | in the reply: u8 choice, in handshake 1 only with a secret
//
// Ed25519, X25519, Ed25519. Handshake 2 always has hints, maybe none of them. What is signed is in circuit/secure/transcript.ts.

import { readUint32, writeUint32 } from './fields.js';
import { malformed } from './text.js';

const KEY_BYTES = 32;
const SIGNATURE_AT = 2 * KEY_BYTES;
export const CIRCUIT_PROOF_BYTES = SIGNATURE_AT + 64;

/** A hint distinguishes the keys of a network; nothing of a key can be learned from it. */
export const KEY_HINT_BYTES = 4;
const MAX_KEY_HINTS = 4;
const REPLY_PROOF_BYTES = CIRCUIT_PROOF_BYTES + 1;
const MODE_AND_TIME_BYTES = 1 + 4;

/**
 * What a node can do, as it has signed in its NODE record (flags) and says in HELLO (capabilities). A dialler that knows it never uses
 * less, so that nothing a relay does can make it. The numbers are the wire: append only.
 */
export const CircuitAbility = {
  /** Handshake 2. */
  HANDSHAKE_2: 0x10,
  /** ML-KEM-768 beside X25519, in handshake 2. */
  HYBRID: 0x20,
  /** It reads the trace context of circuits to it: in OPEN, and in the confirmation of an encrypted one. */
  TRACE: 0x40,
} as const;

/** Bits of the mode in the terms. The numbers are the wire: append only. */
export const CircuitMode = {
  /** What follows is encrypted from end to end. Without it, the source has signed OPEN and no more. */
  ENCRYPTED: 0x1,
  /** The source can do ML-KEM-768 as well. */
  HYBRID: 0x2,
} as const;

/** The reply's choice in handshake 2: which hint is used, and whether a key of ML-KEM-768 follows the reply. */
export const ReplyChoice = {
  /** In place of a hint: no secret of the network is used. */
  NO_HINT: 0x3f,
  HINT: 0x3f,
  HYBRID: 0x80,
} as const;

/** What a source signs in handshake 2 besides the fields of OPEN. */
export interface ProofTerms {
  /** Bits of {@link CircuitMode}; those of later versions may be among them. */
  readonly mode: number;
  /** When it was signed, by the clock of the source, in s since 1970. */
  readonly signedAtS: number;
}

/** The identity of one end, its key for this circuit alone, and its signature of both and of what the circuit is. */
export interface CircuitProof {
  readonly publicKey: Uint8Array;
  /** Zeros where nothing is encrypted. */
  readonly ephemeral: Uint8Array;
  readonly signature: Uint8Array;
  /** In OPEN the hints with their count, in the reply the choice; empty without a secret in handshake 1. */
  readonly keys: Uint8Array;
  /** The terms with their length, in the OPEN of handshake 2; else empty. */
  readonly terms: Uint8Array;
}

/** The proof that an end writes; `keys` and `terms` default to none. */
type OwnProof = Omit<CircuitProof, 'keys' | 'terms'> & Partial<Pick<CircuitProof, 'keys' | 'terms'>>;

const NO_BYTES = Buffer.alloc(0);

/** @throws StarlaneError ERR_STARLANE_MESSAGE when a part has another length */
export function encodeProof({ publicKey, ephemeral, signature, keys = NO_BYTES, terms = NO_BYTES }: OwnProof): Buffer {
  const isWhole = publicKey.length === KEY_BYTES && ephemeral.length === KEY_BYTES;
  if (!isWhole || signature.length !== CIRCUIT_PROOF_BYTES - SIGNATURE_AT) {
    throw malformed('a proof has two keys of 32 bytes and a signature of 64');
  }
  return Buffer.concat([publicKey, ephemeral, signature, keys, terms]);
}

/** Returns the parts of a proof whose length was checked, without a copy. */
export function readProof(bytes: Uint8Array): CircuitProof {
  const { length } = bytes;
  const keysEnd = length <= REPLY_PROOF_BYTES ? length : hintsEnd(bytes, CIRCUIT_PROOF_BYTES);
  return {
    publicKey: bytes.subarray(0, KEY_BYTES),
    ephemeral: bytes.subarray(KEY_BYTES, SIGNATURE_AT),
    signature: bytes.subarray(SIGNATURE_AT, CIRCUIT_PROOF_BYTES),
    keys: bytes.subarray(CIRCUIT_PROOF_BYTES, keysEnd),
    terms: bytes.subarray(keysEnd),
  };
}

/** Returns terms with their length in front. */
export function encodeTerms({ mode, signedAtS }: ProofTerms): Buffer {
  const bytes = Buffer.allocUnsafe(1 + MODE_AND_TIME_BYTES);
  bytes[0] = MODE_AND_TIME_BYTES;
  bytes[1] = mode;
  writeUint32(bytes, 2, signedAtS);
  return bytes;
}

/** Reads terms with their length in front; undefined where there are none, so that the proof is that of handshake 1. */
export function readTerms(terms: Uint8Array): ProofTerms | undefined {
  return terms.length === 0 ? undefined : { mode: terms[1], signedAtS: readUint32(terms, 2) };
}

/** What a proof in OPEN has beyond its first 128 bytes. */
export const ProofForm = { BARE: 0, HINTS: 1, TERMS: 2 } as const;
export type ProofForm = (typeof ProofForm)[keyof typeof ProofForm];

/** Returns the form of a proof for OPEN. @throws StarlaneError ERR_STARLANE_MESSAGE when it has none */
export function formOf(proof: Uint8Array): ProofForm {
  const { length } = proof;
  if (length === CIRCUIT_PROOF_BYTES) return ProofForm.BARE;
  if (length > CIRCUIT_PROOF_BYTES && proof[CIRCUIT_PROOF_BYTES] <= MAX_KEY_HINTS) {
    const end = hintsEnd(proof, CIRCUIT_PROOF_BYTES);
    if (length === end) return ProofForm.HINTS;
    if (length > end && proof[end] >= MODE_AND_TIME_BYTES && length === end + 1 + proof[end]) return ProofForm.TERMS;
  }
  throw malformed(`a proof of ${length} bytes`);
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

/** Returns where the proof of a form ends that begins at `at` in an OPEN. @throws ERR_STARLANE_MESSAGE */
export function proofEnd(bytes: Uint8Array, at: number, end: number, form: ProofForm): number {
  const hintsAt = at + CIRCUIT_PROOF_BYTES;
  if (form === ProofForm.BARE) return hintsAt;
  const isShort = hintsAt >= end || bytes[hintsAt] > MAX_KEY_HINTS;
  const termsAt = isShort ? end : hintsEnd(bytes, hintsAt);
  if (isShort || termsAt > end) throw malformed('OPEN is too short for its key hints');
  if (form === ProofForm.HINTS) return termsAt;
  if (termsAt === end || bytes[termsAt] < MODE_AND_TIME_BYTES || termsAt + 1 + bytes[termsAt] > end) {
    throw malformed('OPEN is too short for its terms');
  }
  return termsAt + 1 + bytes[termsAt];
}

function hintsEnd(bytes: Uint8Array, at: number): number {
  return at + 1 + bytes[at] * KEY_HINT_BYTES;
}
