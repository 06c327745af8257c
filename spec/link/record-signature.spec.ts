import { describe, expect, it } from '@jest/globals';
import { createIdentity, type Identity } from '../../lib/link/identity.js';
import { RecordSignatures } from '../../lib/link/record-signature.js';
import { decodeRecord, encodeNodeRecord, type NodeRecord } from '../../lib/wire/records.js';

function recordOf(identity: Identity, sign = identity.sign): NodeRecord {
  const { publicKey, bootId } = identity;
  const version = { publicKey, bootId, epoch: 1, seq: 1, lifeS: 3600 };
  return encodeNodeRecord({ ...version, flags: 0, envDigests: [], addresses: [], links: [] }, sign);
}

describe('the signature of a record', () => {
  const signatures = new RecordSignatures();

  it('is that of its node', () => {
    const record = recordOf(createIdentity());
    expect(signatures.verify(record)).toBe(true);
    expect(signatures.verify(decodeRecord(record.bytes))).toBe(true);
  });

  it('is not that of another', () => {
    expect(signatures.verify(recordOf(createIdentity(), createIdentity().sign))).toBe(false);
  });

  it('holds for every byte before it', () => {
    const { bytes } = recordOf(createIdentity());
    // The sequence number: any value of it makes a record.
    const changed = Buffer.from(bytes);
    changed[4 + 32 + 16 + 4] ^= 1;
    expect(signatures.verify(decodeRecord(changed))).toBe(false);
  });

  it('does not exist for a key that is none', () => {
    const identity = { ...createIdentity(), publicKey: Buffer.alloc(32, 0xff) };
    expect(signatures.verify(recordOf(identity))).toBe(false);
  });
});
