// Two Duplexes between which bytes move only when a spec says so, and as few at a time as it says.

import { Duplex } from 'node:stream';

type WriteCallback = (error?: Error | null) => void;

/** Bytes that an end takes before it keeps the writer waiting, as the buffers of a kernel do. */
const BUFFER_BYTES = 32 * 1024;

export class ManualEnd extends Duplex {
  private other: ManualEnd | undefined;
  private chunks: Buffer[] = [];
  private waiting: WriteCallback | undefined;
  private ended = false;
  /** Bytes written here that have not been delivered. */
  underway = 0;

  constructor() {
    super({ allowHalfOpen: true });
  }

  join(other: ManualEnd): void {
    this.other = other;
  }

  /** Moves up to `bytes` to the other end, as one chunk. */
  deliver(bytes: number): void {
    const { other } = this;
    if (other === undefined || other.destroyed) return;
    if (this.underway > 0) {
      const all = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks);
      const part = all.subarray(0, bytes);
      const rest = all.subarray(part.length);
      this.chunks = rest.length > 0 ? [rest] : [];
      this.underway -= part.length;
      // A copy each time, so that a use of what is not there is seen at once.
      other.push(Buffer.from(part));
    }
    if (this.underway > BUFFER_BYTES) return;
    if (this.ended && this.underway === 0) {
      this.ended = false;
      other.push(null);
    }
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.chunks.push(Buffer.from(chunk));
    this.underway += chunk.length;
    if (this.underway > BUFFER_BYTES) this.waiting = callback;
    else callback();
  }

  override _final(callback: WriteCallback): void {
    this.ended = true;
    callback();
  }
}

export function manualPair(): [ManualEnd, ManualEnd] {
  const [left, right] = [new ManualEnd(), new ManualEnd()];
  left.join(right);
  right.join(left);
  return [left, right];
}
