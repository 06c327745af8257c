// A stream as those see it who read and write bytes at its end. Nearly always it is a MuxStream itself, with nothing in
// between; where bytes are encrypted on their way, it is what does that.

import type { SinkOf } from './stream-host.js';

/** Who is told what happens to it. */
export type ByteSink = SinkOf<ByteStream>;

/** Its members do what those of MuxStream do. */
export interface ByteStream {
  sink: ByteSink;
  /** True: the chunk may be reused. False: it is referenced until `onSent` of the sink has counted all of its bytes. */
  write(chunk: Buffer): boolean;
  /** Sends a small chunk if that can be done at once. False: nothing was done. */
  tryWrite(chunk: Buffer): boolean;
  /** Ends the writing half, after everything written before. */
  end(): void;
  /** Gives it up at once; the sink hears no more. */
  reset(reason?: number): void;
  /** The user has gone without an error. */
  abandon(flush?: boolean): void;
  /** The reader has consumed `bytes` of what was delivered. */
  consumed(bytes: number): void;
}
