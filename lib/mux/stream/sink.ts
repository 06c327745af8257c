// The two sides of a lean stream: the session that it belongs to, and the sink that is told what happens to it.
// Generic in the stream, so that these can be said without knowing it.

import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../hidden.js';
import type { Output } from '../send/output.js';
import type { Schedulable, Scheduler } from '../send/scheduler.js';
import type { ReceiveBudget } from './window.js';

/** Who is told what happens to a stream. One sink may serve many streams. */
export interface SinkOf<Stream> {
  /** Nothing of a chunk is used any more when `onData` has returned. Others are given memory of their own. */
  readonly keepsNothing?: boolean;
  /** The next bytes, in order. They are to be given back by `consumed` once the reader has them. */
  [kOnData](stream: Stream, chunk: Buffer): void;
  /** The peer will send no more; everything it sent was delivered before. */
  [kOnEnd](stream: Stream): void;
  /** `bytes` of writes that returned false are now with the transport; their memory is free again. */
  [kOnSent](stream: Stream, bytes: number): void;
  /**
   * The stream is gone (reset by the peer, link lost, deadline); nothing follows. Not called after an own reset.
   * `reason`: one of ResetReason and how far away it arose, to be passed on.
   */
  [kOnReset](stream: Stream, error: Error, reason: number): void;
  /**
   * The stream is lost after the peer's end. True: what was delivered is still read, and stays counted as unread until it is
   * consumed or the stream is reset; `onReset` is not called. Without it, false.
   */
  [kReadOn]?(stream: Stream, error: Error): boolean;

  // Only told of hops of relayed circuits:

  /** Both halves have ended, the own one last: what it had queued is with the session. Nothing but onSent follows. */
  onClosed?(stream: Stream): void;
  /** Credit for about `bytes` goes to the peer, or has come from it: as much has been read at this end, or at the other. */
  onCredit?(stream: Stream, bytes: number): void;
  /** How far the receive window may grow now, in bytes. Without it, as far as that of any stream. */
  growthLimit?(stream: Stream): number;
}

/** Takes everything and does nothing with it: until there is another, and when there is none any more. */
export const NO_SINK: SinkOf<{ consumed(bytes: number): void }> = {
  keepsNothing: true,
  [kOnData](stream, chunk) {
    stream.consumed(chunk.length);
  },
  [kOnEnd]() {},
  [kOnSent]() {},
  [kOnReset]() {},
};

/** What a stream needs of its session. */
export interface HostOf<Stream extends Schedulable> {
  readonly output: Output;
  readonly scheduler: Scheduler<Stream>;
  readonly budget: ReceiveBudget;
  /** The round trip of the link in microseconds by which windows grow; 0 while they should not. */
  readonly growthRoundTripUs: number;
  /** How far a receive window may grow, in bytes. */
  readonly maxWindowBytes: number;
  /** The peer is Starlane: it takes a FIN on a frame with payload as coming after it, and a reset with a reason. */
  readonly starlanePeer: boolean;
  /** The memory of what arrives is used again when it has been delivered. */
  readonly lendsReads: boolean;
  /** Streams of the session are forwarded: what arrives need not be kept. */
  onForwarding(): void;
  /** A clock in microseconds that wraps at 2^31. */
  nowUs(): number;
  /** A SYN or ACK is owed; it is written at the end of the turn unless a frame has carried it before. */
  owe(stream: Stream): void;
  /** The stream left the accept backlog. */
  onAccepted(): void;
  /** The stream is closed and leaves the table. */
  forget(stream: Stream): void;
  /** The user has abandoned the stream; it must end within the close deadline. */
  expectEnd(stream: Stream): void;
  /** More is unread than the session may hold. */
  onOverBudget(stream: Stream): void;
}

// A stream as those see it who read and write bytes at its end. Nearly always it is a MuxStream itself, with nothing in
// between; where bytes are encrypted on their way, it is what does that.

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
