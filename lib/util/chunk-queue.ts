// A first-in first-out queue of byte chunks that is read by byte count. Chunks are kept and sliced, and not copied unless
// they are packed.

import { copyOf } from './copy-of.js';

/** Consumed slots are dropped from the array when there are this many, so that shifting stays cheap. */
const COMPACT_AT = 64;

/** Bytes that {@link ChunkQueue.pack} gathers in one block, at most. */
const BLOCK_BYTES = 4 * 1024;
/** A chunk that is less than this share of the memory it lies in would keep too much of that. */
const PINNED_SHARE = 4;

export class ChunkQueue {
  private chunks: Buffer[] = [];
  private head = 0;
  /** Bytes of the first chunk that have been taken. */
  private headOffset = 0;
  private bytes = 0;
  /** The memory of the last chunk, if {@link pack} has made it, and how much of it is in use. */
  private block: Buffer | null = null;
  private blockUsed = 0;

  get byteLength(): number {
    return this.bytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.block = null;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /**
   * As {@link push}, but what is small, or a small part of a larger piece of memory, is copied next to what was packed
   * before: what waits takes about as much memory as it has bytes.
   */
  pack(chunk: Buffer): void {
    const { length } = chunk;
    if (length >= BLOCK_BYTES) {
      this.push(length * PINNED_SHARE < chunk.buffer.byteLength ? copyOf(chunk) : chunk);
      return;
    }
    let rest = chunk;
    if (this.block !== null) {
      const room = Math.min(this.block.length - this.blockUsed, length);
      if (room > 0) this.extend(this.block, chunk.subarray(0, room));
      rest = chunk.subarray(room);
    }
    if (rest.length === 0) return;
    // As large as what waits already: a queue that holds a byte must not take a whole block.
    const block = Buffer.allocUnsafeSlow(Math.max(rest.length, Math.min(this.bytes, BLOCK_BYTES)));
    rest.copy(block);
    this.push(block.subarray(0, rest.length));
    this.block = block;
    this.blockUsed = rest.length;
  }

  /** The next bytes, at most `maxBytes` and at most what is left of the first chunk. The queue must not be empty. */
  take(maxBytes: number): Buffer {
    const chunk = this.chunks[this.head];
    const left = chunk.length - this.headOffset;
    if (maxBytes < left) {
      const piece = chunk.subarray(this.headOffset, this.headOffset + maxBytes);
      this.headOffset += maxBytes;
      this.bytes -= maxBytes;
      return piece;
    }
    const piece = this.headOffset === 0 ? chunk : chunk.subarray(this.headOffset);
    this.dropHead();
    this.bytes -= left;
    return piece;
  }

  clear(): void {
    this.block = null;
    this.chunks = [];
    this.head = 0;
    this.headOffset = 0;
    this.bytes = 0;
  }

  /** The last chunk lies at the end of what is used of the block. */
  private extend(block: Buffer, bytes: Buffer): void {
    bytes.copy(block, this.blockUsed);
    this.blockUsed += bytes.length;
    this.bytes += bytes.length;
    const last = this.chunks.length - 1;
    const start = this.chunks[last].byteOffset;
    this.chunks[last] = block.subarray(start, this.blockUsed);
  }

  private dropHead(): void {
    this.headOffset = 0;
    this.head++;
    if (this.head === this.chunks.length) {
      this.chunks.length = 0;
      this.head = 0;
      this.block = null;
    } else if (this.head === COMPACT_AT) {
      this.chunks.splice(0, COMPACT_AT);
      this.head = 0;
    }
  }
}
