// What a stream has been given to send and its session has not sent: a first-in first-out queue that is emptied by byte
// count. Chunks of users are kept by reference. What is forwarded lies in memory that is about to be used again, and is
// packed: copied into blocks, which are used again themselves, so that a relay at work leaves nothing to the collector and
// what waits takes about as much memory as it has bytes.

import type { Output } from './output.js';
import type { Sender } from './reports.js';

/** A block that is used again; frames of half a dozen of them are common. */
const BLOCK_BYTES = 16 * 1024;
/** Below this a queue gets memory of the size that it needs: a stream that holds a byte must not take a block. */
const SMALL_BYTES = 4 * 1024;
/** Blocks kept for the next one who needs some: 4 MiB of a process, however many streams there are. */
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
    /** It is to hear what is handed over, and is used again. */
    readonly isBlock: boolean,
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
    if (!this.isBlock || freeBlocks.length >= MAX_FREE_BLOCKS) return;
    this.at = 0;
    this.end = 0;
    this.handedOver = 0;
    this.isClosed = false;
    freeBlocks.push(this);
  }
}

const freeBlocks: Piece[] = [];

function takeBlock(): Piece {
  return freeBlocks.pop() ?? new Piece(Buffer.allocUnsafeSlow(BLOCK_BYTES), 0, true);
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
    const piece = new Piece(chunk, chunk.length, false);
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
      if (piece.isBlock) output.report(piece, count);
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
    const wanted = Math.max(length, this.bytes);
    const piece = wanted < SMALL_BYTES ? new Piece(Buffer.allocUnsafeSlow(wanted), 0, false) : takeBlock();
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
