import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { byte, damaged, uint32 } from '../support/arbitraries.js';
import { cutAt, decodeChunks } from '../support/decoding.js';
import { type NaiveFrame, naiveDecode, naiveEncode } from '../support/naive-codec.js';

const flags = fc.nat(15);
const streamId = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 0xffff_ffff }));
const none = Buffer.alloc(0);

const frame: fc.Arbitrary<NaiveFrame> = fc.oneof(
  fc.record({ flags, streamId, payload: fc.uint8Array({ maxLength: 60 }) }).map((fields) => ({
    ...fields,
    type: 0,
    length: fields.payload.length,
    payload: Buffer.from(fields.payload),
  })),
  fc.record({ type: fc.constant(1), flags, streamId, length: uint32, payload: fc.constant(none) }),
  fc.record({
    type: fc.constantFrom(2, 3),
    flags,
    streamId: fc.constant(0),
    length: uint32,
    payload: fc.constant(none),
  }),
);
const frames = fc.array(frame, { maxLength: 20 });

/** Bytes, and the chunks in which they arrive. */
function chunked(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<{ bytes: Buffer; chunks: Buffer[] }> {
  return fc.tuple(bytes, fc.array(fc.nat(), { maxLength: 30 })).map(([whole, cuts]) => ({
    bytes: whole,
    chunks: cutAt(
      whole,
      cuts.map((cut) => cut % (whole.length + 1)),
    ),
  }));
}

describe('FrameDecoder against the naive codec', () => {
  it('finds the frames that were encoded, however they are chunked', () => {
    const encoded = frames.chain((list) =>
      chunked(fc.constant(Buffer.concat(list.map(naiveEncode)))).map(({ chunks }) => ({ list, chunks })),
    );
    fc.assert(
      fc.property(encoded, ({ list, chunks }) => {
        const { gathered, decoder } = decodeChunks(chunks);
        expect(gathered.frames).toEqual(list);
        expect(gathered.malformed).toEqual([]);
        expect(gathered.complete).toBe(list.filter(({ payload }) => payload.length > 0).length);
        expect(decoder.betweenFrames).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('agrees with the oracle on input that is cut off, damaged or noise', () => {
    const valid = frames.map((list) => Buffer.concat(list.map(naiveEncode)));
    const noise = fc.array(byte, { maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    const header = fc
      .tuple(fc.constantFrom(0, 0, 0, 1), fc.nat(4), fc.nat(40), fc.nat(2), fc.nat(40))
      .map(([version, type, flag, id, length]) => {
        const bytes = naiveEncode({ type, flags: flag, streamId: id, length, payload: none });
        bytes[0] = version;
        return bytes;
      });
    const headers = fc.array(header, { maxLength: 8 }).map((list) => Buffer.concat(list));
    fc.assert(
      fc.property(chunked(fc.oneof(damaged(valid), noise, headers)), ({ bytes, chunks }) => {
        const oracle = naiveDecode(bytes);
        const { gathered, decoder } = decodeChunks(chunks);
        expect(gathered.frames).toEqual(oracle.frames);
        expect(gathered.malformed).toHaveLength(oracle.malformedAt === undefined ? 0 : 1);
        if (oracle.malformedAt === undefined) expect(decoder.betweenFrames).toBe(oracle.atBoundary);
      }),
      { numRuns: 500 },
    );
  });
});
