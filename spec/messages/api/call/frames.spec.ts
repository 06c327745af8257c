// Frames of a call: however they are chunked, what goes in comes out; what is too long or unknown is refused before it is read.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  CallFrameDecoder,
  encodeFrame,
  type Frame,
  FrameKind,
  MAX_ERROR_BYTES,
} from '../../../../lib/messages/api/call/frames.js';
import { decodeHeader, encodeHeader } from '../../../../lib/messages/api/call/header.js';
import { decodeItem, encodeItem } from '../../../../lib/messages/api/call/item.js';

function all(decoder: CallFrameDecoder): Frame[] {
  const frames: Frame[] = [];
  for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
  return frames;
}

describe('frames of a call', () => {
  it('come out as they went in, however they are cut', () => {
    const frame = fc.record({
      kind: fc.constantFrom(...Object.values(FrameKind)),
      payload: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
    });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(40), { maxLength: 40 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames.flatMap(({ kind, payload }) => encodeFrame(kind, [payload])));
        const decoder = new CallFrameDecoder(1_000);
        const read: Frame[] = [];
        let at = 0;
        for (const cut of [...cuts, bytes.length]) {
          decoder.push(bytes.subarray(at, at + cut));
          at += cut;
          read.push(...all(decoder));
        }
        expect(read.map(({ kind, payload }) => [kind, payload.toString('hex')])).toEqual(
          frames.map(({ kind, payload }) => [kind, payload.toString('hex')]),
        );
        expect(decoder.isInFrame).toBe(false);
      }),
    );
  });

  it('keep nothing of the chunks that they are cut into', () => {
    const payload = Buffer.from('a frame that arrives byte by byte'.repeat(300));
    const decoder = new CallFrameDecoder(100_000);
    const chunk = Buffer.alloc(1);
    const read: Frame[] = [];
    for (const byte of Buffer.concat(encodeFrame(FrameKind.ITEM, [payload]))) {
      chunk[0] = byte;
      decoder.push(chunk);
      read.push(...all(decoder));
    }
    expect(read).toEqual([{ kind: FrameKind.ITEM, payload }]);
  });

  it.each([
    ['an item beyond the limit', FrameKind.ITEM, 101, 'ERR_STARLANE_MESSAGE_SIZE'],
    ['an error beyond the limit', FrameKind.ERROR, MAX_ERROR_BYTES + 1, 'ERR_STARLANE_MESSAGE_PROTOCOL'],
    ['a kind that is not known', 9, 0, 'ERR_STARLANE_MESSAGE_PROTOCOL'],
  ])('refuse %s by its first bytes', (_what, kind, length, code) => {
    const decoder = new CallFrameDecoder(100);
    const prefix = Buffer.from([kind, 0, 0, 0, 0]);
    prefix.writeUInt32BE(length, 1);
    decoder.push(prefix);
    expect(() => decoder.next()).toThrow(expect.objectContaining({ code }));
  });
});

describe('an item', () => {
  it.each([
    [undefined],
    [null],
    [3],
    ['a text ä'],
    [{ a: [1, { b: null }] }],
    [Buffer.from([0, 255, 3])],
    [Buffer.alloc(0)],
  ])('arrives as what it was: %j', (value) => {
    expect(decodeItem(Buffer.concat(encodeItem(value, 1_000)))).toEqual(value);
  });

  it.each([
    ['a function', () => {}],
    ['a bigint', 3n],
    ['a circle', circle()],
  ])('cannot be %s', (_what, value) => {
    expect(() => encodeItem(value, 1_000)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
  });

  it('has a limit', () => {
    expect(() => encodeItem('x'.repeat(100), 100)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_SIZE' }),
    );
  });

  it.each([[Buffer.alloc(0)], [Buffer.from([9])], [Buffer.from([1, 0x7b])]])('is refused when it is %j', (payload) => {
    expect(() => decodeItem(payload)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' }));
  });
});

describe('the header of a call', () => {
  it('comes out as it went in', () => {
    const header = { id: 'x', command: 7, timeoutMs: 100, streamsInput: true, streamsOutput: false };
    expect(decodeHeader(encodeHeader(header))).toEqual(header);
    expect(decodeHeader(encodeHeader({ ...header, timeoutMs: undefined }))).toEqual({
      ...header,
      timeoutMs: undefined,
    });
  });

  it.each([
    '',
    'null',
    '3',
    '{}',
    '{"id":"x"}',
    '{"id":"x","command":-1}',
    '{"id":"","command":1}',
    `{"id":"${'x'.repeat(65)}","command":1}`,
  ])('is refused when it is %s', (text) => {
    expect(() => decodeHeader(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL', outcome: 'not-handled' }),
    );
  });
});

function circle(): unknown {
  const made: { self?: unknown } = {};
  made.self = made;
  return made;
}
