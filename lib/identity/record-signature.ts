// Checks the signatures of records, each once in a process. The keys of a network come back with every record, so those seen
// last are kept ready.

import { type KeyObject, verify } from 'node:crypto';
import type { NodeId } from '../address.js';
import { type MeshRecord, signatureOf, signedPart, signedRecords } from '../wire/records.js';
import { publicKeyFrom } from './identity.js';

/** Keys that are kept; the oldest goes first. One is about 1 KiB, and making it costs a fifth of a verification. */
const MAX_KEYS = 4096;

export class RecordSignatures {
  private readonly keys = new Map<NodeId, KeyObject>();

  /** Whether the record was signed by the key that it names; its node id is the hash of that. */
  verify(record: MeshRecord): boolean {
    if (this.isKnown(record)) return true;
    try {
      if (!verify(null, signedPart(record), this.keyOf(record), signatureOf(record))) return false;
    } catch {
      // 32 bytes that are no point of the curve.
      return false;
    }
    signedRecords.add(record);
    return true;
  }

  /** Whether this process has checked it already, for this node or another. */
  isKnown(record: MeshRecord): boolean {
    return signedRecords.find(record.bytes) !== undefined;
  }

  private keyOf({ nodeId, publicKey }: MeshRecord): KeyObject {
    const known = this.keys.get(nodeId);
    if (known !== undefined) return known;
    const key = publicKeyFrom(publicKey);
    if (this.keys.size >= MAX_KEYS) this.keys.delete(this.keys.keys().next().value as NodeId);
    this.keys.set(nodeId, key);
    return key;
  }
}
