// Contents on circuits of their own, however their sender cuts them.

import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { readWhole } from '../../lib/messages/transfer.js';
import { chunkHead } from '../../lib/messages/wire/chunks.js';
import type { Socket } from '../../lib/socket/socket.js';

class FakeSocket extends EventEmitter {
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

/** Reads a content of these chunks. */
function read(chunks: readonly Buffer[]): Buffer | undefined {
  const socket = new FakeSocket();
  let whole: Buffer | undefined;
  const never = (): void => {
    throw new Error('it is whole');
  };
  readWhole(socket as unknown as Socket, Buffer.alloc(0), undefined, 10_000_000, {
    onWhole: (bytes) => {
      whole = bytes;
    },
    onBroken: never,
    onMisfit: never,
  });
  for (const chunk of chunks) socket.emit('data', Buffer.concat([chunkHead(chunk.length), chunk]));
  socket.emit('data', chunkHead(0));
  return whole;
}

describe('a content that is read as a whole', () => {
  it('is the same however it was cut', () => {
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) & 0xff));
    for (const sizes of [[1], [5_000], [1, 3, 4_095, 4_096, 4_097, 9_000], [60_000, 1]]) {
      const chunks: Buffer[] = [];
      for (let at = 0, turn = 0; at < content.length; turn++) {
        const size = sizes[turn % sizes.length];
        chunks.push(content.subarray(at, at + size));
        at += size;
      }
      expect(read(chunks)?.equals(content)).toBe(true);
    }
  });

  it('takes not much more memory when it comes byte by byte', () => {
    const concat = Buffer.concat;
    let parts = 0;
    const chunks = Array.from({ length: 100_000 }, () => Buffer.from([1]));
    try {
      Buffer.concat = ((list: readonly Uint8Array[], length?: number) => {
        parts = Math.max(parts, list.length);
        return concat(list, length);
      }) as typeof Buffer.concat;
      expect(read(chunks)).toHaveLength(100_000);
    } finally {
      Buffer.concat = concat;
    }
    expect(parts).toBeLessThan(10);
  });
});
