import { describe, expect, it } from '@jest/globals';
import { KeptReads } from '../../../lib/mux/transport/kept-reads.js';

const MIB = 1024 * 1024;

describe('Chunks that are kept so that malloc keeps its heap', () => {
  it('are one for every 4 MiB', () => {
    const kept = new KeptReads();
    const chunks: Buffer[] = Array.from({ length: 128 }, () => Buffer.alloc(64 * 1024));
    for (const chunk of chunks) kept.onRead(chunk);
    expect(kept.chunks.map((chunk) => chunks.indexOf(chunk))).toEqual([63, 127]);
  });

  it('are the newest eight, however much comes', () => {
    const kept = new KeptReads();
    const chunks: Buffer[] = Array.from({ length: 20 * 64 }, () => Buffer.alloc(64 * 1024));
    for (const chunk of chunks) kept.onRead(chunk);
    const order = kept.chunks.map((chunk) => (chunks.indexOf(chunk) - 63) / 64).sort((a, b) => a - b);
    expect(order).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it('are no parts of something larger, which would be kept as well', () => {
    const kept = new KeptReads();
    const huge = Buffer.alloc(8 * MIB);
    for (let at = 0; at < huge.length; at += 64 * 1024) kept.onRead(huge.subarray(at, at + 64 * 1024));
    expect(kept.chunks).toHaveLength(0);
  });

  it('are none of small ones: what is small is allocated among other things', () => {
    const kept = new KeptReads();
    const small = Buffer.alloc(8 * 1024 - 1);
    for (let bytes = 0; bytes < 16 * MIB; bytes += small.length) kept.onRead(small);
    expect(kept.chunks).toHaveLength(0);
  });
});
