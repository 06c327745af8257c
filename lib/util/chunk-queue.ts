// A first-in first-out queue of byte chunks that is read by byte count. Chunks are kept and sliced, never copied.

/** Consumed slots are dropped from the array when there are this many, so that shifting stays cheap. */
const COMPACT_AT = 64;

export class ChunkQueue {
  private chunks: Buffer[] = [];
  private head = 0;
  /** Bytes of the first chunk that have been taken. */
  private headOffset = 0;
  private bytes = 0;

  get byteLength(): number {
    return this.bytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
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
    this.chunks = [];
    this.head = 0;
    this.headOffset = 0;
    this.bytes = 0;
  }

  private dropHead(): void {
    this.headOffset = 0;
    this.head++;
    if (this.head === this.chunks.length) {
      this.chunks.length = 0;
      this.head = 0;
    } else if (this.head === COMPACT_AT) {
      this.chunks.splice(0, COMPACT_AT);
      this.head = 0;
    }
  }
}
