// What a stream has been given to send and its session has not sent: a first-in first-out queue that is emptied by byte
// count. Chunks of users are kept by reference. What is forwarded lies in memory that is about to be used again, and is
// packed: copied into blocks, which are used again themselves, so that a relay at work leaves nothing to the collector and
// what waits takes about as much memory as it has bytes.

import type { Output, Sender } from './output.js';

/** Blocks that are used again: as large as the largest frame for bulk, which is sent in as few pieces as can be. */
const LARGE_BLOCK_BYTES = 64 * 1024;
const BLOCK_BYTES = 16 * 1024;
/** A block is taken for a half of it at least; below, a queue gets memory of the size that it needs. */
const BLOCK_SHARE = 2;
/**
 * Blocks kept for the next one who needs some: 20 MiB of a process at most, however many streams there are. With a quarter of that,
 * eight streams at full speed had new ones made all the time, for which V8 marked its heap ten times as often.
 */
const MAX_FREE_BLOCKS = 256;

/** Sent pieces are dropped from the array when there are this many, so that shifting stays cheap. */
const COMPACT_AT = 64;

/** Bytes side by side: a chunk, or a block that is filled from one end and sent from the other. */
class Piece implements Sender {
  at = 0;
  /** Bytes that are with the transport; its memory may be used again when all are. */
  private handedOver = 0;
  /** Nothing is added any more. */
  isClosed = false;

  constructor(
    readonly bytes: Buffer,
    /** Behind the last byte that is in use. */
    public end: number,
    /** Where it goes to be used again, once all of it is handed over; null if it does not. */
    readonly blocks: Blocks | null,
  ) {}

  get room(): number {
    return this.isClosed ? 0 : this.bytes.length - this.end;
  }

  /** Copies from `chunk`, beginning at `from`, as much as there is room for, and tells how much that is. */
  append(chunk: Buffer, from: number): number {
    const count = Math.min(this.room, chunk.length - from);
    chunk.copy(this.bytes, this.end, from, from + count);
    this.end += count;
    return count;
  }

  onHandedOver(bytes: number): void {
    this.handedOver += bytes;
    if (this.isClosed && this.handedOver === this.end) this.free();
  }

  /** Nothing more is added. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.handedOver === this.end) this.free();
  }

  private free(): void {
    if (this.blocks === null) return;
    this.at = 0;
    this.end = 0;
    this.handedOver = 0;
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

/** Memory for at least a part of `bytes`. */
function pieceFor(bytes: number): Piece {
  if (bytes >= LARGE_BLOCK_BYTES / BLOCK_SHARE) return largeBlocks.take();
  if (bytes >= BLOCK_BYTES / BLOCK_SHARE) return blocks.take();
  return new Piece(Buffer.allocUnsafeSlow(bytes), 0, null);
}

export class Backlog {
  private pieces: Piece[] = [];
  private head = 0;
  private bytes = 0;

  get byteLength(): number {
    return this.bytes;
  }

  /** Adds a chunk that nobody changes until it is sent. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.tail?.close();
    const piece = new Piece(chunk, chunk.length, null);
    piece.isClosed = true;
    this.pieces.push(piece);
    this.bytes += chunk.length;
  }

  /** Adds a copy. */
  pack(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const count = this.roomFor(chunk.length - at).append(chunk, at);
      this.bytes += count;
      at += count;
    }
  }

  /** The next bytes become the payload of a frame; so many there have to be. */
  writeTo(output: Output, length: number): void {
    this.bytes -= length;
    for (let left = length; left > 0; ) {
      const piece = this.pieces[this.head];
      const { bytes, at } = piece;
      const count = Math.min(left, piece.end - at);
      output.payload(at === 0 && count === bytes.length ? bytes : bytes.subarray(at, at + count));
      if (piece.blocks !== null) output.report(piece, count);
      piece.at = at + count;
      left -= count;
      if (piece.at === piece.end) this.drop(piece);
    }
  }

  /** Takes everything out, in parts that hold only until `take` returns. */
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
    // As large as what waits already, so that memory and bytes grow together.
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
