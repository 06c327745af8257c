// What a stream shows to its user: a sink, where everything that happens to the stream goes, and the calls of a byte stream.
// Nearly always the byte stream is a MuxStream itself; where bytes are encrypted on their way, the encrypting layer is one.

import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../hidden.js';

/** Called with what happens to a stream. One sink may serve many streams. */
export interface Sink<Stream> {
  /** True when nothing of a chunk is used after `onData` has returned. Other sinks are given memory of their own. */
  readonly keepsNothing?: boolean;
  /** The next bytes, in order. Call `consumed` once the reader has them. */
  [kOnData](stream: Stream, chunk: Buffer): void;
  /** The peer sends no more; everything it sent was delivered before. */
  [kOnEnd](stream: Stream): void;
  /** `bytes` of writes that returned false are now with the transport; their memory is free again. */
  [kOnSent](stream: Stream, bytes: number): void;
  /**
   * The stream is gone (reset by the peer, link lost, deadline); nothing follows. Not called after a reset by this side.
   * `reason`: a ResetReason and the number of hops to its origin, for relays to pass on.
   */
  [kOnReset](stream: Stream, error: Error, reason: number): void;
  /**
   * The stream was lost after the peer's end. Return true to read on what was delivered: it stays counted as unread until it is
   * consumed or the stream is reset, and `onReset` is not called. Missing: false.
   */
  [kReadOn]?(stream: Stream, error: Error): boolean;

  // Called for hops of relayed circuits only:

  /** Both halves have ended, this side's last: the session has taken everything that was queued. Only `onSent` follows. */
  onClosed?(stream: Stream): void;
  /** Credit for about `bytes` goes to the peer, or has come from it: as much was read at this end, or at the other end. */
  onCredit?(stream: Stream, bytes: number): void;
  /** Returns how far the receive window may grow now, in bytes. Missing: as far as the window of any stream. */
  growthLimit?(stream: Stream): number;
}

/** Takes everything and does nothing with it: the sink of a stream before it has one, and after its end. */
export const NO_SINK: Sink<{ consumed(bytes: number): void }> = {
  keepsNothing: true,
  [kOnData](stream, chunk) {
    stream.consumed(chunk.length);
  },
  [kOnEnd]() {},
  [kOnSent]() {},
  [kOnReset]() {},
};

export type ByteSink = Sink<ByteStream>;

/** A stream for those who read and write bytes at its end. The members do what those of MuxStream do. */
export interface ByteStream {
  sink: ByteSink;
  /** True: the chunk may be reused. False: it is referenced until `onSent` of the sink has counted all of its bytes. */
  write(chunk: Buffer): boolean;
  /** Sends a small chunk if that can be done at once. False: nothing was done. */
  tryWrite(chunk: Buffer): boolean;
  /** Ends the writing half, after everything written before. */
  end(): void;
  /** Gives the stream up at once; the sink is not called any more. */
  reset(reason?: number): void;
  /** Closes the stream in order, for a user that has gone without an error; `flush`: everything queued is sent before. */
  close(flush?: boolean): void;
  /** The reader has consumed `bytes` of what was delivered. */
  consumed(bytes: number): void;
}
