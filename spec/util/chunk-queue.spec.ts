import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ChunkQueue } from '../../lib/util/chunk-queue.js';
import { pattern } from '../support/frames.js';

describe('ChunkQueue', () => {
  it('is empty at first, and ignores empty chunks', () => {
    const queue = new ChunkQueue();
    expect(queue.byteLength).toBe(0);
    queue.push(Buffer.alloc(0));
    expect(queue.byteLength).toBe(0);
  });

  it('gives a chunk that fits back as it is', () => {
    const queue = new ChunkQueue();
    const chunk = pattern(10);
    queue.push(chunk);
    expect(queue.take(10)).toBe(chunk);
    queue.push(chunk);
    expect(queue.take(1_000)).toBe(chunk);
    expect(queue.byteLength).toBe(0);
  });

  it('slices what does not fit, without a copy', () => {
    const queue = new ChunkQueue();
    const chunk = pattern(10);
    queue.push(chunk);
    const pieces = [queue.take(4), queue.take(4), queue.take(4)];
    expect(pieces.map(({ length }) => length)).toEqual([4, 4, 2]);
    expect(Buffer.concat(pieces).equals(chunk)).toBe(true);
    expect(pieces.every(({ buffer }) => buffer === chunk.buffer)).toBe(true);
  });

  it('never takes across the end of a chunk', () => {
    const queue = new ChunkQueue();
    queue.push(Buffer.from('ab'));
    queue.push(Buffer.from('cd'));
    expect(queue.take(3).toString()).toBe('ab');
    expect(queue.take(3).toString()).toBe('cd');
  });

  it('can be cleared and used again', () => {
    const queue = new ChunkQueue();
    queue.push(Buffer.from('abc'));
    queue.take(1);
    queue.clear();
    expect(queue.byteLength).toBe(0);
    queue.push(Buffer.from('xyz'));
    expect(queue.take(10).toString()).toBe('xyz');
  });

  it('does not keep what was taken, and loses nothing of what was not', () => {
    const queue = new ChunkQueue();
    const input = pattern(2_000);
    const taken: Buffer[] = [];
    for (let round = 0; round < 1_000; round++) {
      queue.push(input.subarray(2 * round, 2 * round + 1));
      queue.push(input.subarray(2 * round + 1, 2 * round + 2));
      taken.push(queue.take(1));
    }
    const kept = Reflect.get(queue, 'chunks') as Buffer[];
    expect(queue.byteLength).toBe(1_000);
    expect(kept.length).toBeLessThan(1_100);
    while (queue.byteLength > 0) taken.push(queue.take(1));
    expect(Buffer.concat(taken).equals(input)).toBe(true);
  });

  it('gives back all bytes in order, whatever is pushed and taken', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), size: fc.nat(30) }),
      fc.record({ kind: fc.constant('take' as const), size: fc.integer({ min: 1, max: 40 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const queue = new ChunkQueue();
        const input = pattern(30 * 400);
        let pushed = 0;
        let taken = 0;
        for (const { kind, size } of steps) {
          if (kind === 'push') {
            queue.push(input.subarray(pushed, pushed + size));
            pushed += size;
          } else if (queue.byteLength > 0) {
            const piece = queue.take(size);
            expect(piece.length).toBeGreaterThan(0);
            expect(piece.length).toBeLessThanOrEqual(size);
            expect(piece.equals(input.subarray(taken, taken + piece.length))).toBe(true);
            taken += piece.length;
          }
          expect(queue.byteLength).toBe(pushed - taken);
        }
      }),
    );
  });

  it('keeps a large chunk as it is when it is packed, if it is most of its memory', () => {
    const queue = new ChunkQueue();
    const chunk = Buffer.from(pattern(16 * 1024));
    queue.pack(chunk.subarray(100));
    expect(queue.take(100_000).buffer).toBe(chunk.buffer);
  });

  it('takes about as much memory as it has bytes, however small the parts that are packed', () => {
    for (const size of [1, 60, 5_000]) {
      const queue = new ChunkQueue();
      const sent: Buffer[] = [];
      for (let index = 0; index < 300; index++) {
        const large = Buffer.from(pattern(64 * 1024, index));
        sent.push(Buffer.from(large.subarray(index, index + size)));
        queue.pack(large.subarray(index, index + size));
      }
      const bytes = queue.byteLength;
      const memory = new Set<ArrayBufferLike>();
      const pieces: Buffer[] = [];
      while (queue.byteLength > 0) {
        const piece = queue.take(100_000);
        memory.add(piece.buffer);
        pieces.push(Buffer.from(piece));
      }
      expect(Buffer.concat(pieces).equals(Buffer.concat(sent))).toBe(true);
      const used = [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0);
      expect(used).toBeLessThanOrEqual(2 * bytes);
    }
  });

  it('gives back what came in, pushed, packed and taken in any order', () => {
    const step = fc.record({ kind: fc.constantFrom('push', 'pack', 'pack', 'take'), bytes: fc.nat(6_000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const queue = new ChunkQueue();
        const [sent, taken]: [Buffer[], Buffer[]] = [[], []];
        const take = (bytes: number): void => {
          const piece = queue.take(bytes);
          expect(piece.length).toBeGreaterThan(0);
          taken.push(Buffer.from(piece));
        };
        for (const [index, { kind, bytes }] of steps.entries()) {
          if (kind === 'take') {
            if (queue.byteLength > 0) take(bytes + 1);
            continue;
          }
          const chunk = Buffer.from(pattern(20_000, index)).subarray(7, 7 + bytes);
          sent.push(Buffer.from(chunk));
          if (kind === 'push') queue.push(chunk);
          else queue.pack(chunk);
        }
        while (queue.byteLength > 0) take(100_000);
        expect(Buffer.concat(taken).equals(Buffer.concat(sent))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
