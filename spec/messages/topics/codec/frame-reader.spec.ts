// Messages are read as they were written, however the bytes arrive.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FrameReader } from '../../../../lib/messages/topics/codec/frame-reader.js';
import { encodeHello, encodeSequence, FrameType, frame } from '../../../../lib/messages/topics/codec/layout.js';
import { MessageWriter } from '../../../../lib/messages/topics/codec/message-writer.js';
import { isWhole, readData } from '../../../../lib/messages/topics/message.js';
import { Outlet } from '../../../../lib/messages/topics/outlet.js';

const MAX_BYTES = 1024 * 1024;

class Collector {
  readonly seen: unknown[] = [];
  private next = 0;
  reader = new FrameReader(this, MAX_BYTES);
  stopsAt = Number.POSITIVE_INFINITY;

  onFrame(type: number, body: Buffer): void {
    this.seen.push([type, body.toString('hex')]);
  }

  onData(first: number): void {
    this.next = first;
  }

  onMessage(buffer: Buffer, start: number, end: number): void {
    expect(isWhole(buffer, start, end)).toBe(true);
    this.seen.push([this.next++, readData(buffer, start, end)]);
    if (this.seen.length >= this.stopsAt) this.reader.stop();
  }
}

/** The bytes that an outlet writes. */
function written(data: readonly unknown[], perTurn: number): Buffer {
  const writer = new MessageWriter(MAX_BYTES);
  const outlet = new Outlet(1e9, 'drop-newest', () => {});
  const chunks: Buffer[] = [];
  const socket = { writableNeedDrain: false, write: (bytes: Buffer) => chunks.push(Buffer.from(bytes)) };
  for (const [index, one] of data.entries()) {
    writer.encode(Buffer.from('a.b'), one, undefined);
    outlet.append(writer.buffer, writer.start, writer.end, 1);
    if (index % perTurn === perTurn - 1) {
      outlet.seal();
      outlet.send(socket as never);
    }
  }
  outlet.seal();
  outlet.send(socket as never);
  return Buffer.concat(chunks);
}

const value = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(undefined),
  fc.constant(null),
  fc.record({ n: fc.integer(), list: fc.array(fc.boolean()) }),
  fc.nat(9_000).map((length) => 'é'.repeat(length)),
);

describe('a reader of frames', () => {
  it('reads messages from chunks of any size, and goes on where it was stopped', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(value, { maxLength: 12 }), fc.integer({ min: 1, max: 4 }), cuts, (data, perTurn, sizes) => {
        const bytes = written(data, perTurn);
        const collector = new Collector();
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length];
          collector.stopsAt = turn % 3 === 0 ? collector.seen.length + 1 : Number.POSITIVE_INFINITY;
          collector.reader.push(bytes.subarray(at, at + size));
          collector.stopsAt = Number.POSITIVE_INFINITY;
          if (turn % 5 === 4) collector.reader.resume();
          at += size;
        }
        collector.reader.resume();
        expect(collector.seen).toEqual(data.map((one, index) => [index + 1, one]));
      }),
      { numRuns: 50 },
    );
  });

  it('reads frames between messages', () => {
    const collector = new Collector();
    const ack = encodeSequence(FrameType.ACK, 7);
    const flush = frame(FrameType.FLUSH);
    const bytes = Buffer.concat([flush, written(['x'], 1), ack]);
    for (const byte of bytes) collector.reader.push(Buffer.from([byte]));
    expect(collector.seen).toEqual([
      [FrameType.FLUSH, ''],
      [1, 'x'],
      [FrameType.ACK, '070000000000'],
    ]);
  });

  it.each([
    ['a frame that is too long', Buffer.from([FrameType.ACK, 0xff, 0xff, 0, 0])],
    ['a frame of messages without one', Buffer.from([FrameType.DATA, 10, 0, 0, 0])],
    [
      'a message that is longer than its frame',
      Buffer.concat([
        Buffer.from([FrameType.DATA, 17, 0, 0, 0]),
        Buffer.alloc(10, 1),
        Buffer.from([0, 0, 9, 0, 0, 0, 0]),
      ]),
    ],
    [
      'a message that is too long',
      Buffer.concat([
        Buffer.from([FrameType.DATA, 0xff, 0xff, 0xff, 0x7f]),
        Buffer.alloc(10, 1),
        Buffer.from([0, 0, 0xff, 0xff, 0xff, 0x7e]),
      ]),
    ],
  ])('refuses %s', (_what, bytes) => {
    expect(() => new Collector().reader.push(bytes)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' }),
    );
  });

  it('survives any bytes: it reads them or refuses them', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), (chunks) => {
        const { reader } = new Collector();
        const sink = { onFrame: () => {}, onData: () => {}, onMessage: () => {} };
        const other = new FrameReader(sink, 1_000);
        try {
          for (const chunk of [encodeHello({ session: Buffer.alloc(16), base: 0, replies: 0 }), ...chunks]) {
            other.push(Buffer.from(chunk));
            reader.stop();
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_STARLANE_MESSAGE_PROTOCOL' });
        }
      }),
    );
  });
});

describe('a writer of messages', () => {
  it('refuses what is too long or cannot be JSON', () => {
    const writer = new MessageWriter(2_000);
    const encode = (data: unknown, headers?: Record<string, string>) =>
      writer.encode(Buffer.from('a'), data, headers === undefined ? undefined : { headers });
    expect(() => encode(Buffer.alloc(2_000))).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_SIZE' }));
    expect(() => encode('x'.repeat(2_001))).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_SIZE' }));
    expect(() => encode('x', { a: 'y'.repeat(2_000) })).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_SIZE' }),
    );
    expect(() => encode(() => {})).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
    expect(() => encode(1n)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
    expect(() => encode('x', { a: 1 as never })).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
    encode('x'.repeat(1_900));
    encode('é'.repeat(900));
  });
});
