// The frames of a broadcast: what is written is read again, and what is malformed is refused.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  frameLength,
  LENGTH_BYTES,
  MAX_COUNTER,
} from '../../../lib/messages/broadcast/frames.js';

const key = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const counter = fc.oneof(
  fc.integer({ min: 1, max: 100 }),
  fc.maxSafeInteger().map((value) => 1 + Math.abs(value % 2 ** 48)),
);
const flag = fc.boolean();
const hops = fc.integer({ min: 0, max: 255 });

const frames: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    kind: fc.constant('gossip' as const),
    origin: key,
    counter,
    own: flag,
    fetched: flag,
    hops,
    format: fc.constantFrom(0 as const, 1 as const, 2 as const),
    payload: fc.uint8Array({ maxLength: 100 }),
  }),
  fc.record({
    kind: fc.constant('ihave' as const),
    entries: fc.array(
      fc.record({ origin: key, counter, own: flag, hops, heldMs: fc.integer({ min: 0, max: 65_535 }) }),
      { maxLength: 5 },
    ),
  }),
  fc.record({
    kind: fc.constant('graft' as const),
    origin: key,
    own: flag,
    eager: flag,
    ranges: fc.array(fc.record({ from: counter, count: fc.integer({ min: 1, max: 1_024 }) }), { maxLength: 5 }),
  }),
  fc.record({ kind: fc.constant('prune' as const), origin: key, own: flag }),
  fc.record({
    kind: fc.constant('summary' as const),
    established: flag,
    origins: fc.array(
      fc
        .record({ origin: key, own: flag, lowest: counter, more: fc.integer({ min: -1, max: 50 }) })
        .map(({ more, ...one }) => ({ ...one, highest: Math.min(MAX_COUNTER, one.lowest + more) })),
      { maxLength: 5 },
    ),
  }),
  fc.record({
    kind: fc.constant('hello' as const),
    version: fc.integer({ min: 0, max: 255 }),
    env: key.map((text) => text.slice(0, 8)),
  }),
);

function bytesOf(frame: Frame): Buffer {
  return Buffer.concat(encodeFrame(frame));
}

describe('The frames of a broadcast', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(frames, (frame) => {
        const bytes = bytesOf(frame);
        expect(frameLength(bytes)).toBe(bytes.length - LENGTH_BYTES);
        const read = decodeFrame(bytes.subarray(LENGTH_BYTES));
        if (read.kind === 'gossip') expect({ ...read, payload: new Uint8Array(read.payload) }).toEqual(frame);
        else expect(read).toEqual(frame);
      }),
    );
  });

  it('are refused when they are cut short or continue, with one code', () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.boolean(), (frame, at, isLonger) => {
        const whole = bytesOf(frame).subarray(LENGTH_BYTES);
        // A message may have any length from its head on, and later versions may add to HELLO.
        fc.pre(frame.kind !== 'gossip' && (frame.kind !== 'hello' || !isLonger));
        const bytes = isLonger ? Buffer.concat([whole, Buffer.from([1])]) : whole.subarray(0, at % whole.length);
        expect(() => decodeFrame(bytes)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' }));
      }),
    );
  });

  it('have a length that is limited', () => {
    for (const length of ['00000000', '00200000', 'ffffffff']) {
      expect(() => frameLength(Buffer.from(length, 'hex'))).toThrow(
        expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' }),
      );
    }
  });
});
