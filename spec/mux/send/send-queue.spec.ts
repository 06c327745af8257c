import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Output, Sender } from '../../../lib/mux/send/output.js';
import { SendQueue } from '../../../lib/mux/send/send-queue.js';
import { pattern } from '../../support/frames.js';

/** Takes payload as an Output does: by reference until it is confirmed. */
class Taker {
  private readonly taken: Buffer[] = [];
  private readonly seen: Buffer[] = [];
  private readonly callbacks: Array<{ sender: Sender; bytes: number }> = [];

  payload(chunk: Buffer): void {
    expect(chunk.length).toBeGreaterThan(0);
    this.taken.push(chunk);
    this.seen.push(Buffer.from(chunk));
  }

  notifyFlushed(sender: Sender, bytes: number): void {
    this.callbacks.push({ sender, bytes });
  }

  /** The transport has what was taken since the last call, unchanged; its memory may be reused. */
  confirm(): void {
    for (const [index, chunk] of this.taken.splice(0).entries()) {
      expect(chunk.equals(this.seen[this.confirmed + index])).toBe(true);
    }
    this.confirmed = this.seen.length;
    for (const { sender, bytes } of this.callbacks.splice(0)) sender.onFlushed(bytes);
  }

  private confirmed = 0;

  get pieces(): readonly Buffer[] {
    return this.taken;
  }

  get received(): Buffer {
    return Buffer.concat(this.seen);
  }

  get output(): Output {
    return this as unknown as Output;
  }
}

describe('A send queue', () => {
  it('is empty at first, and ignores empty chunks', () => {
    const queue = new SendQueue();
    queue.push(Buffer.alloc(0));
    queue.pack(Buffer.alloc(0));
    expect(queue.byteLength).toBe(0);
  });

  it('passes chunks of users on without copying, sliced where necessary', () => {
    const queue = new SendQueue();
    const taker = new Taker();
    const chunks = [pattern(10), pattern(20, 1)];
    for (const chunk of chunks) queue.push(chunk);
    queue.writeTo(taker.output, 10);
    queue.writeTo(taker.output, 5);
    queue.writeTo(taker.output, 15);
    expect(taker.pieces[0]).toBe(chunks[0]);
    expect(taker.pieces.slice(1).every(({ buffer }) => buffer === chunks[1].buffer)).toBe(true);
    expect(taker.received.equals(Buffer.concat(chunks))).toBe(true);
    expect(queue.byteLength).toBe(0);
  });

  it('keeps a copy of what is packed', () => {
    const queue = new SendQueue();
    const taker = new Taker();
    const chunk = pattern(50_000);
    const before = Buffer.from(chunk);
    queue.pack(chunk);
    chunk.fill(0);
    queue.writeTo(taker.output, 50_000);
    expect(taker.received.equals(before)).toBe(true);
  });

  it('takes about as much memory as it has bytes, whatever the sizes of chunks', () => {
    for (const size of [1, 60, 4_000, 5_000, 40_000]) {
      const queue = new SendQueue();
      const taker = new Taker();
      for (let index = 0; index < 300; index++) queue.pack(pattern(size, index));
      const bytes = queue.byteLength;
      const pieces = Reflect.get(queue, 'pieces') as Array<{ bytes: Buffer }>;
      const memory = new Set(pieces.map((piece) => piece.bytes));
      expect([...memory].reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(1.2 * bytes + 16 * 1024);
      queue.writeTo(taker.output, bytes);
      taker.confirm();
    }
  });

  it('takes almost no memory for a few bytes', () => {
    const queue = new SendQueue();
    queue.pack(Buffer.from('x'));
    const [piece] = Reflect.get(queue, 'pieces') as Array<{ bytes: Buffer }>;
    expect(piece.bytes.length).toBe(1);
  });

  it('reuses memory once the transport has it, and not before', () => {
    const queue = new SendQueue();
    const taker = new Taker();
    queue.pack(pattern(16 * 1024));
    queue.writeTo(taker.output, 16 * 1024);
    const [first] = taker.pieces;
    queue.pack(pattern(16 * 1024, 1));
    queue.writeTo(taker.output, 16 * 1024);
    expect(taker.pieces[1].buffer).not.toBe(first.buffer);
    taker.confirm();
    const buffers = new Set([first.buffer]);
    for (let round = 0; round < 3; round++) {
      queue.pack(pattern(16 * 1024, round));
      queue.writeTo(taker.output, 16 * 1024);
      buffers.add(taker.pieces[0].buffer);
      taker.confirm();
    }
    expect(buffers.size).toBeLessThanOrEqual(2);
  });

  it('drains everything, in parts', () => {
    const queue = new SendQueue();
    queue.push(pattern(100));
    queue.pack(pattern(40_000, 1));
    const taker = new Taker();
    queue.writeTo(taker.output, 50);
    const parts: Buffer[] = [];
    queue.drain((part) => parts.push(Buffer.from(part)));
    expect(queue.byteLength).toBe(0);
    expect(Buffer.concat([taker.received, ...parts]).equals(Buffer.concat([pattern(100), pattern(40_000, 1)]))).toBe(
      true,
    );
  });

  it('returns what was put in, for several streams at once, in any sequence of steps', () => {
    const step = fc.record({
      which: fc.nat(2),
      kind: fc.constantFrom('push', 'pack', 'pack', 'write', 'write', 'confirm', 'drop'),
      bytes: fc.oneof(fc.nat(100), fc.nat(6_000), fc.nat(70_000)),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const streams = Array.from({ length: 3 }, () => ({
          queue: new SendQueue(),
          taker: new Taker(),
          sent: [] as Buffer[],
        }));
        for (const [index, { which, kind, bytes }] of steps.entries()) {
          const stream = streams[which];
          const { queue, taker, sent } = stream;
          if (kind === 'push' || kind === 'pack') {
            const chunk = pattern(bytes, index);
            sent.push(Buffer.from(chunk));
            queue[kind](chunk);
            // A packed chunk has been copied.
            if (kind === 'pack') chunk.fill(0xff);
          } else if (kind === 'write') {
            const length = Math.min(bytes, queue.byteLength);
            if (length > 0) queue.writeTo(taker.output, length);
          } else if (kind === 'confirm') taker.confirm();
          else {
            // The stream is reset: queued data is dropped, and data in flight is not touched.
            const { received } = taker;
            expect(Buffer.concat(sent).subarray(0, received.length).equals(received)).toBe(true);
            stream.queue = new SendQueue();
            stream.sent = [received];
          }
        }
        for (const { queue, taker, sent } of streams) {
          if (queue.byteLength > 0) queue.writeTo(taker.output, queue.byteLength);
          taker.confirm();
          expect(taker.received.equals(Buffer.concat(sent))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
