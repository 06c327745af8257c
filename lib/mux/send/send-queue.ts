// The bytes that wait in a stream to be sent: a first-in first-out queue that is emptied by byte count. Chunks of users are kept by
// reference. Forwarded chunks lie in memory that is about to be reused, so they are packed: copied into blocks. Blocks are reused too:
// a busy relay leaves nothing to the garbage collector, and the queue takes about as much memory as it has bytes.

import type { Output, Sender } from './output.js';

/** The sizes of blocks. The large one is that of the largest frame of bulk, which is then sent in as few pieces as possible. */
const LARGE_BLOCK_BYTES = 64 * 1024;
const BLOCK_BYTES = 16 * 1024;
/** A block is used for at least half of its size; below that, a queue gets memory of the size that it needs. */
const BLOCK_SHARE = 2;
/**
 * Free blocks of each size that are kept for reuse: at most 20 MiB of a process, however many streams there are. With a quarter of
 * that, eight streams at full speed kept allocating new ones, and V8 marked its heap ten times as often.
 */
const MAX_FREE_BLOCKS = 256;

/** Sent pieces are removed from the array when there are this many, so that removal stays cheap. */
const COMPACT_AT = 64;

/** Contiguous bytes: a chunk, or a block that is filled at its end and sent from its start. */
class Piece implements Sender {
  at = 0;
  /** Bytes that the transport has taken; the memory can be reused when it has taken all. */
  private flushed = 0;
  /** Whether nothing is added any more. */
  isClosed = false;

  constructor(
    readonly bytes: Buffer,
    /** The end of the bytes in use. */
    public end: number,
    /** The blocks to which this one returns once the transport has taken all of it; null when it is not reused. */
    readonly blocks: Blocks | null,
  ) {}

  get room(): number {
    return this.isClosed ? 0 : this.bytes.length - this.end;
  }

  /** Copies as much of `chunk` as there is room for, beginning at `from`, and returns how much that is. */
  append(chunk: Buffer, from: number): number {
    const count = Math.min(this.room, chunk.length - from);
    chunk.copy(this.bytes, this.end, from, from + count);
    this.end += count;
    return count;
  }

  onFlushed(bytes: number): void {
    this.flushed += bytes;
    if (this.isClosed && this.flushed === this.end) this.free();
  }

  /** Takes no more bytes. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.flushed === this.end) this.free();
  }

  private free(): void {
    if (this.blocks === null) return;
    this.at = 0;
    this.end = 0;
    this.flushed = 0;
    this.isClosed = false;
    this.blocks.giveBack(this);
  }
}

/** Blocks of one size. */
class Blocks {
  private readonly free: Piece[] = [];

  constructor(private readonly bytes: number) {}

  take(): Piece {
    return this.free.pop() ?? new Piece(Buffer.allocUnsafeSlow(this.bytes), 0, this);
  }

  giveBack(block: Piece): void {
    if (this.free.length < MAX_FREE_BLOCKS) this.free.push(block);
  }
}

const blocks = new Blocks(BLOCK_BYTES);
const largeBlocks = new Blocks(LARGE_BLOCK_BYTES);

/** Returns memory for at least a part of `bytes`. */
function pieceFor(bytes: number): Piece {
  if (bytes >= LARGE_BLOCK_BYTES / BLOCK_SHARE) return largeBlocks.take();
  if (bytes >= BLOCK_BYTES / BLOCK_SHARE) return blocks.take();
  return new Piece(Buffer.allocUnsafeSlow(bytes), 0, null);
}

export class SendQueue {
  private pieces: Piece[] = [];
  private head = 0;
  private bytes = 0;

  get byteLength(): number {
    return this.bytes;
  }

  /** Adds a chunk by reference. It must not change until it is sent. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.tail?.close();
    const piece = new Piece(chunk, chunk.length, null);
    piece.isClosed = true;
    this.pieces.push(piece);
    this.bytes += chunk.length;
  }

  /** Adds a copy of a chunk. */
  pack(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const count = this.roomFor(chunk.length - at).append(chunk, at);
      this.bytes += count;
      at += count;
    }
  }

  /** Writes the next `length` bytes as payload of a frame. The queue must have as many. */
  writeTo(output: Output, length: number): void {
    this.bytes -= length;
    for (let left = length; left > 0; ) {
      const piece = this.pieces[this.head];
      const { bytes, at } = piece;
      const count = Math.min(left, piece.end - at);
      output.payload(at === 0 && count === bytes.length ? bytes : bytes.subarray(at, at + count));
      if (piece.blocks !== null) output.notifyFlushed(piece, count);
      piece.at = at + count;
      left -= count;
      if (piece.at === piece.end) this.drop(piece);
    }
  }

  /** Removes everything, in parts that are valid only until `take` returns. */
  drain(take: (part: Buffer) => void): void {
    const { pieces, head } = this;
    this.pieces = [];
    this.head = 0;
    this.bytes = 0;
    for (let index = head; index < pieces.length; index++) {
      const piece = pieces[index];
      take(piece.bytes.subarray(piece.at, piece.end));
    }
  }

  private get tail(): Piece | undefined {
    return this.pieces.length > this.head ? this.pieces[this.pieces.length - 1] : undefined;
  }

  private roomFor(length: number): Piece {
    const { tail } = this;
    if (tail !== undefined && tail.room > 0) return tail;
    tail?.close();
    // As large as the bytes that wait already, so that memory and bytes grow together.
    const piece = pieceFor(Math.max(length, this.bytes));
    this.pieces.push(piece);
    return piece;
  }

  private drop(piece: Piece): void {
    piece.close();
    this.head++;
    if (this.head === this.pieces.length) {
      this.pieces.length = 0;
      this.head = 0;
    } else if (this.head === COMPACT_AT) {
      this.pieces.splice(0, COMPACT_AT);
      this.head = 0;
    }
  }
}
