// What the two ends of a secure circuit sign: everything about the circuit that a relay must not change, and their keys. What
// a relay has to change (hop limit, time, visited nodes) is left out. Pure.
//
//   dial    D = SHA-256('starlane circuit 1' | 8 src | u32 port | 8 dst | u32 port | 16 circuit id | u8 n + env digest
//               | u8 n + service | public key | ephemeral key);       signed: 'starlane dial 1' | D
//   accept  A = SHA-256(D | signature of D | public key | ephemeral key | u32 port); signed: 'starlane accept 1' | A

import { createHash } from 'node:crypto';
import { type NodeId, nodeIdToBytes } from '../../address.js';
import type { CircuitProof } from '../../wire/circuit-proof.js';
import { writeUint32 } from '../../wire/fields.js';

const CIRCUIT_LABEL = Buffer.from('starlane circuit 1');
const DIAL_LABEL = Buffer.from('starlane dial 1');
const ACCEPT_LABEL = Buffer.from('starlane accept 1');

/** What OPEN says of a circuit that both ends have to see alike. */
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
type Keys = Pick<CircuitProof, 'publicKey' | 'ephemeral'>;

export function dialTranscript(terms: CircuitTerms, { publicKey, ephemeral }: Keys): Buffer {
  const { src, srcPort, dst, dstPort, circuitId, env = '', service } = terms;
  return createHash('sha256')
    .update(CIRCUIT_LABEL)
    .update(nodeIdToBytes(src))
    .update(uint32(srcPort))
    .update(nodeIdToBytes(dst))
    .update(uint32(dstPort))
    .update(circuitId)
    .update(prefixed(Buffer.from(env, 'hex')))
    .update(prefixed(Buffer.from(service)))
    .update(publicKey)
    .update(ephemeral)
    .digest();
}

/** @param port the one that answers */
export function acceptTranscript(dial: Buffer, dialSignature: Uint8Array, keys: Keys, port: number): Buffer {
  const { publicKey, ephemeral } = keys;
  return createHash('sha256')
    .update(dial)
    .update(dialSignature)
    .update(publicKey)
    .update(ephemeral)
    .update(uint32(port))
    .digest();
}

/** What the dialler signs. */
export function dialStatement(dial: Buffer): Buffer {
  return Buffer.concat([DIAL_LABEL, dial]);
}

/** What the other end signs. */
export function acceptStatement(accept: Buffer): Buffer {
  return Buffer.concat([ACCEPT_LABEL, accept]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  writeUint32(bytes, 0, value);
  return bytes;
}

function prefixed(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}
