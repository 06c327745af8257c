// Two Duplexes in this process, each the other end of the other. A write is confirmed when the other end has asked for
// more, so the pair pushes back like a connection with small buffers.

import { Duplex } from 'node:stream';

type WriteCallback = (error?: Error | null) => void;

export class PairEnd extends Duplex {
  /** Bytes that this end has written. */
  bytesWritten = 0;
  private other: PairEnd | undefined;
  private waiting: WriteCallback | undefined;

  constructor() {
    super({ allowHalfOpen: true });
  }

  join(other: PairEnd): void {
    this.other = other;
  }

  /** Both ends are gone at once, with what was on its way: this one fails with `error` if there is one. */
  cut(error?: Error): void {
    this.destroy(error);
  }

  override _read(): void {
    const confirm = this.other?.waiting;
    if (confirm === undefined || this.other === undefined) return;
    this.other.waiting = undefined;
    confirm();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.bytesWritten += chunk.length;
    this.waiting = callback;
    // As a copy, for the kernel would have copied it too.
    this.other?.push(Buffer.from(chunk));
  }

  override _final(callback: WriteCallback): void {
    this.other?.push(null);
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    callback(error);
    const { other } = this;
    if (other !== undefined) setImmediate(() => other.destroy());
  }
}

export function duplexPair(): [PairEnd, PairEnd] {
  const [left, right] = [new PairEnd(), new PairEnd()];
  left.join(right);
  right.join(left);
  return [left, right];
}
