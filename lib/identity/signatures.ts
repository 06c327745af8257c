// Checks Ed25519 signatures. Those of records are checked once in a process; the keys of a network come back with every record,
// so the keys used last are kept ready.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { NodeId } from '../address.js';
import { RecentMap } from '../util/recent-map.js';
import { type MeshRecord, signatureOf, signedPart, signedRecords } from '../wire/records.js';

/** The number of keys that are kept; the oldest goes first. A key has about 1 KiB, and making it costs a fifth of a verification. */
const MAX_KEYS = 4096;

/** Returns the key with these 32 bytes. @throws when they are no point of the curve, which only some versions of OpenSSL check here */
export function publicKeyFrom(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/** Returns whether the signature is that of the key with these 32 bytes. */
export function verifySignature(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, bytes, publicKeyFrom(publicKey), signature);
  } catch {
    return false;
  }
}

export class RecordSignatures {
  private readonly keys = new RecentMap<NodeId, KeyObject>(MAX_KEYS);

  /** Returns whether the record was signed by the key in it; its node id is the hash of that key. */
  verify(record: MeshRecord): boolean {
    if (this.isKnown(record)) return true;
    try {
      if (!verify(null, signedPart(record), this.keyOf(record), signatureOf(record))) return false;
    } catch {
      // The 32 bytes are no point of the curve.
      return false;
    }
    signedRecords.add(record);
    return true;
  }

  /** Returns whether this process has already checked it, for any of its nodes. */
  isKnown(record: MeshRecord): boolean {
    return signedRecords.find(record.bytes) !== undefined;
  }

  private keyOf({ nodeId, publicKey }: MeshRecord): KeyObject {
    const known = this.keys.peek(nodeId);
    if (known !== undefined) return known;
    const key = publicKeyFrom(publicKey);
    this.keys.set(nodeId, key);
    return key;
  }
}
