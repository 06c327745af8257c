// What the two ends of a circuit sign, and the keys that follow. Each end signs everything about the circuit that a relay must not
// change, and its keys. What a relay has to change (hop limit, time, visited nodes) is left out.
//
//   dial    D = SHA-256('starlane circuit 1' | 8 src | u32 port | 8 dst | u32 port | 16 circuit id | u8 n + env digest
//               | u8 n + service | public key | ephemeral key);       signed: 'starlane dial 1' | D
//   accept  A = SHA-256(D | signature of D | public key | ephemeral key | u32 port); signed: 'starlane accept 1' | A
//
// In handshake 2 all labels end in 2. D goes on with the public key of the destination, as the dialler knows it, and with the hints
// and the terms as they are in OPEN. A goes on with the choice in the reply, and with the SHA-256 of the ML-KEM key behind it, if any.
// The source of a circuit that is not encrypted signs 'starlane source 2' | D, and no reply is signed.
//
// The keys of the two directions follow from the secrets, the network key and A (RFC 5869, HKDF with SHA-256).

import { createHash, hkdfSync } from 'node:crypto';
import { type NodeId, nodeIdToBytes } from '../../address.js';
import type { CircuitProof } from '../../wire/circuit-proof.js';
import { writeUint32 } from '../../wire/fields.js';
import { DIRECTION_BYTES, type RecordKey, recordKey } from './secure-records.js';

export type HandshakeVersion = 1 | 2;

const labelsOf = (version: HandshakeVersion) => ({
  circuit: Buffer.from(`starlane circuit ${version}`),
  dial: Buffer.from(`starlane dial ${version}`),
  accept: Buffer.from(`starlane accept ${version}`),
  keys: Buffer.from(`starlane circuit keys ${version}`),
});

const LABELS = { 1: labelsOf(1), 2: labelsOf(2) };
const SOURCE_LABEL = Buffer.from('starlane source 2');

/** The fields of OPEN that both ends have to see alike. */
export interface CircuitTerms {
  readonly src: NodeId;
  readonly srcPort: number;
  readonly dst: NodeId;
  readonly dstPort: number;
  readonly circuitId: Uint8Array;
  /** A digest in hex. */
  readonly env?: string | undefined;
  readonly service: string;
}

/** The keys that an end names in its proof. */
export type ProofKeys = Pick<CircuitProof, 'publicKey' | 'ephemeral'>;

/** What the dialler signs in handshake 2 besides. */
export interface DialExtras extends Pick<CircuitProof, 'keys' | 'terms'> {
  /** The public key of the destination. */
  readonly dstKey: Uint8Array;
}

/** What the destination signs in handshake 2 besides. */
export interface AcceptExtras {
  /** See ReplyChoice. */
  readonly choice: number;
  /** The ML-KEM key behind the reply; empty where there is none. */
  readonly kemKey: Uint8Array;
}

/** @param extras in handshake 2 */
export function dialTranscript(terms: CircuitTerms, { publicKey, ephemeral }: ProofKeys, extras?: DialExtras): Buffer {
  const { src, srcPort, dst, dstPort, circuitId, env = '', service } = terms;
  const hash = createHash('sha256')
    .update(LABELS[extras === undefined ? 1 : 2].circuit)
    .update(nodeIdToBytes(src))
    .update(uint32(srcPort))
    .update(nodeIdToBytes(dst))
    .update(uint32(dstPort))
    .update(circuitId)
    .update(prefixed(Buffer.from(env, 'hex')))
    .update(prefixed(Buffer.from(service)))
    .update(publicKey)
    .update(ephemeral);
  if (extras !== undefined) hash.update(extras.dstKey).update(extras.keys).update(extras.terms);
  return hash.digest();
}

/** @param port the port that answers. @param extras in handshake 2 */
export function acceptTranscript(
  dial: Buffer,
  dialSignature: Uint8Array,
  { publicKey, ephemeral }: ProofKeys,
  port: number,
  extras?: AcceptExtras,
): Buffer {
  const hash = createHash('sha256')
    .update(dial)
    .update(dialSignature)
    .update(publicKey)
    .update(ephemeral)
    .update(uint32(port));
  if (extras !== undefined) hash.update(Buffer.from([extras.choice])).update(digestOf(extras.kemKey));
  return hash.digest();
}

/** Returns what the dialler of an encrypted circuit signs. */
export function dialStatement(dial: Buffer, version: HandshakeVersion = 1): Buffer {
  return Buffer.concat([LABELS[version].dial, dial]);
}

/** Returns what the source of a circuit signs that is not encrypted. */
export function sourceStatement(dial: Buffer): Buffer {
  return Buffer.concat([SOURCE_LABEL, dial]);
}

/** Returns what the server's end signs. */
export function acceptStatement(accept: Buffer, version: HandshakeVersion = 1): Buffer {
  return Buffer.concat([LABELS[version].accept, accept]);
}

/** The salt where the network has no secret. */
const NO_NETWORK_KEY = Buffer.alloc(32);

export interface CircuitKeys {
  readonly fromDialler: RecordKey;
  readonly fromServer: RecordKey;
}

/** The secret of ML-KEM, and the ciphertext that carried it. */
export interface KemSecret {
  readonly secret: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/**
 * The combiner is that of X25519MLKEM768 in TLS 1.3 (draft-ietf-tls-ecdhe-mlkem): the secret of ML-KEM, then that of X25519, in one
 * HKDF whose info covers all keys and the ciphertext, so that the result is as strong as the stronger of the two.
 * @param accept the transcript of the server's end, which covers everything before it
 */
export function circuitKeys(
  shared: Uint8Array,
  networkKey: Uint8Array | undefined,
  accept: Uint8Array,
  version: HandshakeVersion = 1,
  kem?: KemSecret,
): CircuitKeys {
  const secret = kem === undefined ? shared : Buffer.concat([kem.secret, shared]);
  const ciphertext = kem === undefined ? NOTHING : digestOf(kem.ciphertext);
  const info = Buffer.concat([LABELS[version].keys, accept, ciphertext]);
  const bytes = Buffer.from(hkdfSync('sha256', secret, networkKey ?? NO_NETWORK_KEY, info, 2 * DIRECTION_BYTES));
  return {
    fromDialler: recordKey(bytes.subarray(0, DIRECTION_BYTES)),
    fromServer: recordKey(bytes.subarray(DIRECTION_BYTES)),
  };
}

const NOTHING = Buffer.alloc(0);

/** Returns the SHA-256 of what there is; nothing of nothing. */
function digestOf(bytes: Uint8Array): Buffer {
  return bytes.length === 0 ? NOTHING : createHash('sha256').update(bytes).digest();
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  writeUint32(bytes, 0, value);
  return bytes;
}

function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
