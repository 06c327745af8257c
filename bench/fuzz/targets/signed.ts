// Keys and signatures that cost nothing, so that mutated records can be signed again by the thousand. Code that verifies
// them gets `isSigned` in place of Ed25519.

import { hash } from 'node:crypto';
import { nodeIdFromPublicKey } from '../../../lib/address.js';
import type { MeshIdentity } from '../../../lib/mesh/ports.js';
import { type MeshRecord, signatureOf, signedPart } from '../../../lib/wire/records.js';

const SIGNATURE_BYTES = 64;
const KEY_AT = 4;
const KEY_BYTES = 32;
const DOMAIN = Buffer.from('starlane record 1\n');

/** Depends on key and content, and does not occur by accident. */
function sign(publicKey: Uint8Array, bytes: Uint8Array): Buffer {
  return hash('sha512', Buffer.concat([Buffer.from('secret of'), publicKey, bytes]), 'buffer');
}

export function isSigned(record: MeshRecord): boolean {
  return sign(record.publicKey, signedPart(record)).equals(signatureOf(record));
}

export function identityOf(name: string, run = 1): MeshIdentity {
  const publicKey = hash('sha256', name, 'buffer');
  return {
    publicKey,
    nodeId: nodeIdFromPublicKey(publicKey),
    bootId: `00000000-0000-4000-8000-${run.toString(16).padStart(12, '0')}`,
    sign: (bytes) => sign(publicKey, bytes),
  };
}

/** The same record with the signature of the key that it names, where there is room for one. */
export function signAgain(record: Buffer): Buffer {
  if (record.length < KEY_AT + KEY_BYTES + SIGNATURE_BYTES) return record;
  const signed = record.subarray(0, -SIGNATURE_BYTES);
  const signature = sign(record.subarray(KEY_AT, KEY_AT + KEY_BYTES), Buffer.concat([DOMAIN, signed]));
  return Buffer.concat([signed, signature]);
}
