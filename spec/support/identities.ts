// Identities with real keys, and the check of what they sign.

import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto';
import { nodeIdFromPublicKey } from '../../lib/address.js';
import { rawPublicKey } from '../../lib/identity/raw-key.js';
import type { MeshIdentity } from '../../lib/mesh/ports.js';
import { type MeshRecord, signatureOf, signedPart } from '../../lib/wire/records.js';

export interface TestIdentity extends MeshIdentity {
  /** The same node in another run: its key with a new boot id. */
  reboot(): TestIdentity;
}

export function createTestIdentity(): TestIdentity {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = rawPublicKey(publicKey);
  const run = (): TestIdentity => ({
    nodeId: nodeIdFromPublicKey(raw),
    publicKey: raw,
    bootId: randomUUID(),
    sign: (bytes) => sign(null, bytes, privateKey),
    reboot: run,
  });
  return run();
}

/** Whether the signature of a record is that of its key. */
export function verifyRecord(record: MeshRecord): boolean {
  const x = Buffer.from(record.publicKey).toString('base64url');
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } });
  return verify(null, signedPart(record), key, signatureOf(record));
}
