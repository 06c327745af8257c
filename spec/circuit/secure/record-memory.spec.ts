import { describe, expect, it } from '@jest/globals';
import { NO_RECORD, RecordOpener, RecordSealer } from '../../../lib/circuit/secure/record-codec.js';
import { pattern } from '../../support/frames.js';
import { bytesInUse } from '../../support/served-mesh.js';

const KIB = 1024;
const LONGEST = 32 * KIB;
const OPENERS = 2_000;

function key() {
  return { key: Buffer.alloc(32, 1), iv: Buffer.alloc(12, 2) };
}

describe('A record that has not come as a whole', () => {
  it.each([4, 5, 600])('takes memory by the %d bytes that have come, and not by what it promises', async (bytes) => {
    const record = new RecordSealer(key()).seal(0, pattern(LONGEST));
    const openers = Array.from({ length: OPENERS }, () => new RecordOpener(key()));
    const before = await bytesInUse();
    for (const opener of openers) {
      opener.take(record.subarray(0, bytes));
      expect(opener.next()).toBe(NO_RECORD);
    }
    // All of it would be 64 MiB.
    expect((await bytesInUse()) - before).toBeLessThan(OPENERS * (2 * KIB + 8 * bytes));
    expect(openers[0].heldBytes).toBe(bytes);
  });

  it.each([1, 7, 4_096, 20_000])('is the same as one that has, when it comes in pieces of %d bytes', (size) => {
    const sealer = new RecordSealer(key());
    const opener = new RecordOpener(key());
    for (const length of [LONGEST, 1, 5_000, LONGEST]) {
      const plain = pattern(length, length);
      const record = sealer.seal(0, plain);
      let type = NO_RECORD;
      for (let at = 0; at < record.length; at += size) {
        if (type !== NO_RECORD) throw new Error('a record ahead of its end');
        opener.take(record.subarray(at, at + size));
        type = opener.next();
      }
      expect([type, opener.plain.equals(plain), opener.heldBytes]).toEqual([0, true, 0]);
    }
  });
});
