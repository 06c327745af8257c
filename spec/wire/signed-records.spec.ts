import { describe, expect, it } from '@jest/globals';
import type { MeshRecord } from '../../lib/wire/records.js';
import { SignedRecords } from '../../lib/wire/signed-records.js';
import { nodeOf } from '../mesh/signed-records.js';

describe('records whose signatures were checked', () => {
  it('are found by their bytes', () => {
    const records = new SignedRecords<MeshRecord>();
    const record = nodeOf('a');
    expect(records.find(record.bytes)).toBeUndefined();
    records.add(record);
    records.add(record);
    expect(records.find(Buffer.from(record.bytes))).toBe(record);
    expect(records.size).toBe(1);
  });

  it('are not found by any other bytes', () => {
    const records = new SignedRecords<MeshRecord>();
    const { bytes } = nodeOf('a');
    records.add(nodeOf('a'));
    for (let at = 0; at < bytes.length; at++) {
      const other = Buffer.from(bytes);
      other[at] ^= 1;
      expect(records.find(other)).toBeUndefined();
    }
    expect(records.find(bytes.subarray(1))).toBeUndefined();
  });

  it('are so many at most, the last ones', () => {
    const records = new SignedRecords<MeshRecord>(3);
    const all = ['a', 'b', 'c', 'd'].map((name) => nodeOf(name));
    for (const record of all) records.add(record);
    expect(records.size).toBe(3);
    expect(all.map(({ bytes }) => records.find(bytes))).toEqual([undefined, ...all.slice(1)]);
  });
});
