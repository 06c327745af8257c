// The content of one message on a circuit of its own: chunks with their lengths, and an empty one at the end, so that a content that is
// whole differs from one that broke off. Pure.
//
//   uint32 length | bytes | uint32 length | bytes | ... | uint32 0

import { writeUint32 } from '../../wire/fields.js';

/** Bytes of one chunk at most, as senders write them. */
export const CHUNK_BYTES = 256 * 1024;
const HEAD_BYTES = 4;

/** Returns the length before a chunk; 0: the end. */
export function chunkHead(length: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  writeUint32(head, 0, length);
  return head;
}

/** Finds the content among the bytes of a circuit, however they are chunked. */
export class ChunkDecoder {
  /** The content is whole. Bytes after it are a fault of the sender. */
  isWhole = false;
  /** Something came after the end. */
  isMalformed = false;
  private head = 0;
  private headBytes = 0;
  private left = 0;

  /** @param onContent called with the next bytes of the content, which are never none */
  constructor(private readonly onContent: (bytes: Buffer) => void) {}

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.isWhole) {
        this.isMalformed = true;
        return;
      }
      if (this.left > 0) {
        const end = Math.min(chunk.length, at + this.left);
        this.left -= end - at;
        this.onContent(chunk.subarray(at, end));
        at = end;
        continue;
      }
      this.head = ((this.head << 8) | chunk[at++]) >>> 0;
      if (++this.headBytes < HEAD_BYTES) continue;
      this.headBytes = 0;
      this.left = this.head;
      this.head = 0;
      this.isWhole = this.left === 0;
    }
  }
}
