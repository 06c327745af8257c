import { describe, expect, it } from '@jest/globals';
import { createIdentity, type Identity } from '../../lib/identity/identity.js';
import { RecordSignatures } from '../../lib/identity/signatures.js';
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

  it('is checked once in a process, and the record is there once', () => {
    const record = recordOf(createIdentity());
    const fromOne = decodeRecord(record.bytes);
    expect([fromOne === record, signatures.isKnown(fromOne)]).toEqual([false, false]);
    expect(signatures.verify(fromOne)).toBe(true);
    const another = new RecordSignatures();
    const fromAnother = decodeRecord(Buffer.from(record.bytes));
    expect(fromAnother).toBe(fromOne);
    expect(another.isKnown(fromAnother)).toBe(true);
    // The one that its node has made has the same bytes.
    expect(another.isKnown(record)).toBe(true);
  });

  it('is not known of a record that has the signature of another', () => {
    const { bytes } = recordOf(createIdentity());
    expect(signatures.verify(decodeRecord(bytes))).toBe(true);
    const changed = Buffer.from(bytes);
    changed[4 + 32 + 16 + 4] ^= 1;
    const forged = decodeRecord(changed);
    expect([forged.seq === decodeRecord(bytes).seq, signatures.isKnown(forged)]).toEqual([false, false]);
    expect(signatures.verify(forged)).toBe(false);
    expect(signatures.isKnown(forged)).toBe(false);
    expect(decodeRecord(changed)).not.toBe(forged);
  });

  it('does not exist for a key that is none', () => {
    const identity = { ...createIdentity(), publicKey: Buffer.alloc(32, 0xff) };
    expect(signatures.verify(recordOf(identity))).toBe(false);
  });
});
