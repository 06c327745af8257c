// Two Duplexes like the ends of a connection with buffers of a few bytes: what is written crosses in pieces of that size,
// each in a separate turn of the event loop, and is confirmed when the last piece has crossed.

import { Duplex } from 'node:stream';

type WriteCallback = (error?: Error | null) => void;

export interface SlowOptions {
  /** The high-water mark of both ends, and the size of the pieces, in bytes. */
  bufferBytes: number;
  /** Pieces that cross in one turn of the event loop. Default 1. */
  piecesPerTurn?: number;
}

export class SlowEnd extends Duplex {
  private other: SlowEnd | undefined;
  private crossing: Buffer | undefined;
  private confirm: WriteCallback | undefined;
  private wanted = true;
  private moving = false;
  private readonly pieceBytes: number;
  private readonly piecesPerTurn: number;

  constructor({ bufferBytes, piecesPerTurn = 1 }: SlowOptions) {
    super({ allowHalfOpen: true, readableHighWaterMark: bufferBytes, writableHighWaterMark: bufferBytes });
    this.pieceBytes = bufferBytes;
    this.piecesPerTurn = piecesPerTurn;
  }

  join(other: SlowEnd): void {
    this.other = other;
  }

  override _read(): void {
    this.wanted = true;
    this.other?.move();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.crossing = Buffer.from(chunk);
    this.confirm = callback;
    this.move();
  }

  override _final(callback: WriteCallback): void {
    setImmediate(() => {
      this.other?.push(null);
      callback();
    });
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    callback(error);
    const { other } = this;
    if (other !== undefined) setImmediate(() => other.destroy());
  }

  private move(): void {
    if (this.moving || this.crossing === undefined) return;
    this.moving = true;
    setImmediate(() => {
      this.moving = false;
      this.cross();
    });
  }

  private cross(): void {
    const { other } = this;
    for (let piece = 0; piece < this.piecesPerTurn && this.crossing !== undefined; piece++) {
      // Goes on when the other end asks for more.
      if (this.destroyed || other === undefined || other.destroyed || !other.wanted) return;
      const next = this.crossing.subarray(0, this.pieceBytes);
      this.crossing = this.crossing.length > next.length ? this.crossing.subarray(next.length) : undefined;
      other.wanted = false;
      if (other.push(next)) other.wanted = true;
    }
    if (this.crossing !== undefined) {
      this.move();
      return;
    }
    const { confirm } = this;
    this.confirm = undefined;
    confirm?.();
  }
}

export function slowPair(options: SlowOptions): [SlowEnd, SlowEnd] {
  const [left, right] = [new SlowEnd(options), new SlowEnd(options)];
  left.join(right);
  right.join(left);
  return [left, right];
}
