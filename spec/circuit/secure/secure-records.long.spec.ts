// Records of secure circuits: what one end seals the other end opens, however it is cut, and it opens nothing else.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  MAX_PLAIN_BYTES,
  NO_RECORD,
  nextKey,
  RECORD_OVERHEAD,
  type RecordKey,
  RecordOpener,
  RecordSealer,
  RecordType,
} from '../../../lib/circuit/secure/secure-records.js';
import { circuitKeys } from '../../../lib/circuit/secure/transcript.js';
import { pattern } from '../../support/frames.js';
import { bytesInUse } from '../../support/served-mesh.js';
import { thrownCode } from '../../support/thrown.js';

const { DATA, END, CONFIRM } = RecordType;

/** A new object each time: a key is erased when the next one follows. */
function key(): RecordKey {
  return circuitKeys(Buffer.alloc(32, 6), undefined, Buffer.alloc(32)).fromDialler;
}

interface Plain {
  readonly type: number;
  readonly text: string;
}

const plain = fc.oneof(
  { weight: 4, arbitrary: fc.string({ minLength: 1, maxLength: 40 }).map((text) => ({ type: DATA, text }) as Plain) },
  fc.constantFrom<Plain>({ type: END, text: '' }, { type: CONFIRM, text: '' }),
);

function seal(records: readonly Plain[], recordsPerKey?: number): Buffer[] {
  const sealer = new RecordSealer(key(), recordsPerKey);
  return records.map(({ type, text }) => sealer.seal(type as RecordType, Buffer.from(text)));
}

/** What comes of bytes that arrive in these parts. Each is gone when it has been taken, as memory that is lent. */
function open(parts: readonly Buffer[], opener = new RecordOpener(key())): Plain[] {
  const found: Plain[] = [];
  for (const part of parts) {
    const lent = Buffer.from(part);
    opener.take(lent);
    for (let type = opener.next(); type !== NO_RECORD; type = opener.next()) {
      found.push({ type, text: opener.plain.toString() });
    }
    lent.fill(0xee);
  }
  return found;
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

describe('records', () => {
  it('are on the wire what the protocol says', () => {
    // By another implementation of AES-GCM, with the key of the vectors of the key schedule.
    const A = Buffer.from('5e6d2c6acec8c88e6acacf4c547214d12d3edd07a0f5c4a0def0821fe597b946', 'hex');
    const sealer = new RecordSealer(circuitKeys(Buffer.alloc(32, 6), Buffer.alloc(32, 7), A).fromDialler);
    expect(sealer.seal(CONFIRM).toString('hex')).toBe('02000010b36f1fa16b7228d957fe0b6b2689c28b');
    expect(sealer.seal(DATA, Buffer.from('hello')).toString('hex')).toBe(
      '00000015b661d93d93f909cb9ce541ef6e7843644a48c3c760',
    );
    expect(sealer.seal(END).toString('hex')).toBe('0100001023d1ba8365dd5fa1e34bf5b40e6b6624');
  });

  it('are opened as they were sealed, wherever they are cut', () => {
    fc.assert(
      fc.property(fc.array(plain, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), (records, cuts) => {
        expect(open(cut(Buffer.concat(seal(records)), cuts))).toEqual(records);
      }),
      { numRuns: 500 },
    );
  });

  it('are opened byte by byte', () => {
    const records = [CONFIRM, DATA, END].map((type) => ({ type, text: type === DATA ? 'hello' : '' }));
    const bytes = Buffer.concat(seal(records));
    expect(open([...bytes].map((byte) => Buffer.from([byte])))).toEqual(records);
  });

  it('go on to the next key at both ends', () => {
    fc.assert(
      fc.property(fc.array(plain, { maxLength: 20 }), fc.integer({ min: 1, max: 4 }), (records, recordsPerKey) => {
        const bytes = Buffer.concat(seal(records, recordsPerKey));
        expect(open([bytes], new RecordOpener(key(), recordsPerKey))).toEqual(records);
      }),
    );
    const [, second] = seal([plainOf('a'), plainOf('b')], 1);
    expect(second).toEqual(new RecordSealer(nextKey(key())).seal(DATA, Buffer.from('b')));
  });

  it('erase a key that is not used any more', () => {
    const first = key();
    const sealer = new RecordSealer(first, 1);
    sealer.seal(END);
    expect(first.key.some((byte) => byte !== 0)).toBe(true);
    sealer.seal(END);
    expect(first.key.every((byte) => byte === 0)).toBe(true);
  });

  it('are different for the same plaintext', () => {
    const sealed = seal([plainOf('same'), plainOf('same')], 1 << 20).map((bytes) => bytes.toString('hex'));
    expect(sealed[0]).not.toBe(sealed[1]);
  });

  it('keep no reference to a chunk that was read', () => {
    const opener = new RecordOpener(key());
    expect(open(seal([plainOf('one'), plainOf('two')]), opener)).toHaveLength(2);
    expect([opener.plain, Reflect.get(opener, 'input')]).toEqual([Buffer.alloc(0), Buffer.alloc(0)]);
  });

  it('have up to 32 KiB, and the opener keeps one at a time', () => {
    const most = new RecordSealer(key()).seal(DATA, Buffer.alloc(MAX_PLAIN_BYTES, 'x'));
    expect(most).toHaveLength(MAX_PLAIN_BYTES + RECORD_OVERHEAD);
    const opener = new RecordOpener(key());
    expect(open([most.subarray(0, -1)], opener)).toEqual([]);
    expect(opener.heldBytes).toBe(most.length - 1);
    expect(open([most.subarray(-1)], opener)).toEqual([plainOf('x'.repeat(MAX_PLAIN_BYTES))]);
    expect(opener.heldBytes).toBe(0);
  });
});

describe('records that are not what was sent', () => {
  const RECORDS = ['one', 'two', 'three'].map(plainOf);

  it('are refused with any bit changed, and what comes before them is not', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 7 }), fc.array(fc.nat(), { maxLength: 4 }), (at, bit, cuts) => {
        const sealed = seal(RECORDS);
        const bytes = Buffer.concat(sealed);
        const index = at % bytes.length;
        bytes[index] ^= 1 << bit;
        const found: Plain[] = [];
        const opener = new RecordOpener(key());
        // A length that was made longer is waited for, until there is enough to see that the tag is wrong.
        const parts = [...cut(bytes, cuts), ...Array.from({ length: 40 }, () => Buffer.alloc(1024))];
        const code = thrownCode(() => {
          for (const part of parts) found.push(...open([part], opener));
        });
        expect(code).toBe('ERR_STARLANE_SECURE');
        const whole = RECORDS.slice(0, indexOf(sealed, index));
        expect(found).toEqual(whole.slice(0, found.length));
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['left out', [0, 2]],
    ['changed in their order', [1, 0, 2]],
    ['repeated', [0, 0]],
  ])('are refused when one is %s', (_what, order) => {
    const sealed = seal(RECORDS);
    expect(thrownCode(() => open(order.map((index) => sealed[index])))).toBe('ERR_STARLANE_SECURE');
  });

  it('are refused when they are of the other direction', () => {
    const { fromServer } = circuitKeys(Buffer.alloc(32, 6), undefined, Buffer.alloc(32));
    expect(thrownCode(() => open(seal(RECORDS), new RecordOpener(fromServer)))).toBe('ERR_STARLANE_SECURE');
  });

  it.each([
    ['too long', `00${(MAX_PLAIN_BYTES + 17).toString(16).padStart(6, '0')}`],
    ['the longest that can be said', '00ffffff'],
    ['without room for a tag', '0000000f'],
  ])('are refused at their length when that is %s', (_what, header) => {
    const opener = new RecordOpener(key());
    expect(thrownCode(() => open([Buffer.from(header, 'hex')], opener))).toBe('ERR_STARLANE_SECURE');
    expect(opener.heldBytes).toBeLessThanOrEqual(4);
  });

  it.each([
    ['data without any', 0, ''],
    ['an end with data', 1, 'x'],
    ['a confirmation with more than a trace context', 2, 'x'.repeat(538)],
    ['a type that there is not', 3, ''],
    ['a type that there is not', 255, 'x'],
  ])('are refused as %s', (_what, type, text) => {
    expect(thrownCode(() => open(seal([{ type, text }])))).toBe('ERR_STARLANE_SECURE');
  });

  it('may be a confirmation with a trace context', () => {
    const confirmation = { type: 2, text: 'x'.repeat(537) };
    expect(open(seal([confirmation]))).toEqual([confirmation]);
  });
});

function plainOf(text: string): Plain {
  return { type: DATA, text };
}

/** The number of the record that has the byte. */
function indexOf(sealed: readonly Buffer[], at: number): number {
  let end = 0;
  return sealed.findIndex((bytes) => {
    end += bytes.length;
    return at < end;
  });
}

const KIB = 1024;
const LONGEST = 32 * KIB;
const OPENERS = 2_000;

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
