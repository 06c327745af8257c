// Two Duplexes like the ends of a connection on which every chunk takes its time, and on which either direction can be cut without notice to
// either end.

import { Duplex } from 'node:stream';

type WriteCallback = (error?: Error | null) => void;

export class DelayedEnd extends Duplex {
  /** What is written here does not arrive any more. */
  isCut = false;
  private other: DelayedEnd | undefined;

  constructor(private readonly delayMs: number) {
    super({ allowHalfOpen: true });
  }

  join(other: DelayedEnd): void {
    this.other = other;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    const bytes = Buffer.from(chunk);
    // Timeouts of the same delay run in the order in which they were set.
    this.later(() => this.other?.push(bytes));
    callback();
  }

  override _final(callback: WriteCallback): void {
    this.later(() => this.other?.push(null));
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    callback(error);
    this.later(() => this.other?.destroy());
  }

  private later(run: () => void): void {
    if (this.isCut) return;
    setTimeout(() => {
      if (this.other?.destroyed === false) run();
    }, this.delayMs);
  }
}

/** @param delayMs in each direction */
export function delayedPair(delayMs: number): [DelayedEnd, DelayedEnd] {
  const near = new DelayedEnd(delayMs);
  const far = new DelayedEnd(delayMs);
  near.join(far);
  far.join(near);
  return [near, far];
}
