// Keys and signatures: real ones of Ed25519, or a keyed hash that costs a hundredth. Of the latter every record is checked
// once for all nodes, since they share the objects.

import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { rawPublicKey } from '../../lib/identity/raw-key.js';
import { RecordSignatures } from '../../lib/identity/signatures.js';
import { type MeshRecord, RecordKind, signatureOf, signedPart } from '../../lib/wire/records.js';
import type { Random } from './random.js';

export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

export interface Signatures {
  /** How many signatures have really been checked. */
  readonly checks: number;
  makeKeys(random: Random): KeyPair;
  verify(record: MeshRecord): boolean;
}

export class CheapSignatures implements Signatures {
  checks = 0;
  private readonly good = new WeakSet<MeshRecord>();
  private readonly texts = new Map<string, string>();

  makeKeys(random: Random): KeyPair {
    const publicKey = random.bytes(32);
    return { publicKey, sign: (bytes) => keyedHash(publicKey, bytes) };
  }

  verify(record: MeshRecord): boolean {
    if (this.good.has(record)) return true;
    this.checks++;
    const isGood = keyedHash(record.publicKey, signedPart(record)).equals(signatureOf(record));
    if (isGood) this.good.add(this.intern(record));
    return isGood;
  }

  /**
   * One string for each id, in all records: comparing them is comparing pointers then. In production that would cost a table;
   * here a thousand nodes look at every record.
   */
  private intern(record: MeshRecord): MeshRecord {
    const writable = record as { nodeId: string; key: string; bootId: string };
    writable.nodeId = this.textOf(record.nodeId);
    writable.key = this.textOf(record.key);
    writable.bootId = this.textOf(record.bootId);
    if (record.kind === RecordKind.NODE) {
      for (const link of record.links as unknown as Array<{ peerId: string }>) link.peerId = this.textOf(link.peerId);
    }
    return record;
  }

  private textOf(text: string): string {
    const known = this.texts.get(text);
    if (known !== undefined) return known;
    // A name of a property is one that V8 keeps once.
    const [name] = Object.keys({ [text]: true });
    this.texts.set(name, name);
    return name;
  }
}

/** Every node checks for itself, as in production. */
export class RealSignatures implements Signatures {
  checks = 0;
  private readonly signatures = new RecordSignatures();

  makeKeys(random: Random): KeyPair {
    const privateKey = privateKeyOf(random.bytes(32));
    return { publicKey: rawPublicKey(createPublicKey(privateKey)), sign: (bytes) => sign(null, bytes, privateKey) };
  }

  verify(record: MeshRecord): boolean {
    this.checks++;
    return this.signatures.verify(record);
  }
}

function keyedHash(publicKey: Uint8Array, bytes: Uint8Array): Buffer {
  return createHash('sha512').update('simulation\n').update(publicKey).update(bytes).digest();
}

/** What DER has around the 32 bytes of a private key of Ed25519. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export function privateKeyOf(seed: Buffer): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
}
