// One stream of a session: a small object without timer, emitter or Duplex of its own, since there may be millions.
// What arrives goes to a sink of callbacks; sockets and relays are such sinks.

import { ChunkQueue } from '../util/chunk-queue.js';
import { throwLater } from '../util/throw-later.js';
import { Flag, FrameType, INITIAL_WINDOW_BYTES, MAX_UINT32 } from '../wire/header.js';
import { COPY_BYTES, type Output } from './output.js';
import { NO_TURN, type Schedulable, type Scheduler, SOLE_QUANTUM_BYTES } from './scheduler.js';
import { afterFinSent, mayReceive, mayWrite, StreamState } from './stream-state.js';
import { grantDue, grownWindow, type ReceiveBudget } from './window.js';

/** Who is told what happens to a stream. One sink may serve many streams. */
export interface StreamSink {
  /** The next bytes, in order. They are to be given back by {@link MuxStream.consumed} once the reader has them. */
  onData(stream: MuxStream, chunk: Buffer): void;
  /** The peer will send no more; everything it sent was delivered before. */
  onEnd(stream: MuxStream): void;
  /** `bytes` of writes that returned false are now with the transport; their memory is free again. */
  onSent(stream: MuxStream, bytes: number): void;
  /** The stream is gone (reset by the peer, link lost, deadline); nothing follows. Not called after an own reset. */
  onReset(stream: MuxStream, error: Error): void;
}

/** What a stream needs of its session. */
export interface StreamHost {
  readonly output: Output;
  readonly scheduler: Scheduler<MuxStream>;
  readonly budget: ReceiveBudget;
  /** The round trip of the link in microseconds by which windows grow; 0 while they should not. */
  readonly growthRoundTripUs: number;
  /** How far a receive window may grow, in bytes. */
  readonly maxWindowBytes: number;
  /** Whether the peer takes a FIN on a frame with payload as coming after it. */
  readonly finWithData: boolean;
  /** A clock in microseconds that wraps at 2^31. */
  nowUs(): number;
  /** A SYN or ACK is owed; it is written at the end of the turn unless a frame has carried it before. */
  owe(stream: MuxStream): void;
  /** The stream left the accept backlog. */
  onAccepted(): void;
  /** The stream is closed and leaves the table. */
  forget(stream: MuxStream): void;
  /** The user has abandoned the stream; it must end within the close deadline. */
  expectEnd(stream: MuxStream): void;
  /** More is unread than the session may hold. */
  onOverBudget(stream: MuxStream): void;
}

/** States in which nothing can be sent at once. */
const NO_DIRECT_WRITE = StreamState.HELD | StreamState.WRITE_ENDED | StreamState.CLOSED;

const NO_SINK: StreamSink = {
  onData(stream, chunk) {
    stream.consumed(chunk.length);
  },
  onEnd() {},
  onSent() {},
  onReset() {},
};

// A Sender of the output and a Schedulable, but those members are not for users.
export class MuxStream {
  /** Where everything that happens to the stream goes. */
  sink: StreamSink;
  /** @internal Bits of {@link StreamState}. */
  state: number;
  /** For the scheduler alone. */
  nextScheduled: Schedulable | null = null;
  /** For the scheduler alone. */
  lastTurn = NO_TURN;
  /** @internal Bytes that the peer may still send. */
  receiveCredit = INITIAL_WINDOW_BYTES;
  private windowBytes = INITIAL_WINDOW_BYTES;
  /** Delivered to the sink, not yet consumed. */
  private unread = 0;
  /** When credit was last granted, by the clock of the host. */
  private grantedAtUs = 0;
  private sendCredit = INITIAL_WINDOW_BYTES;
  private queue: ChunkQueue | null = null;

  /** @internal */
  constructor(
    readonly id: number,
    private readonly host: StreamHost,
    sink: StreamSink | null,
    state: number,
  ) {
    this.sink = sink ?? NO_SINK;
    this.state = state;
  }

  /** Takes a stream that the peer opened. The ACK leaves with the first frame of this turn. */
  accept(): void {
    if ((this.state & (StreamState.UNACCEPTED | StreamState.CLOSED)) !== StreamState.UNACCEPTED) return;
    this.state = (this.state & ~StreamState.UNACCEPTED) | StreamState.ACK_OWED;
    this.host.onAccepted();
    this.host.owe(this);
  }

  /**
   * Sends bytes in order. True: they were copied and the caller may reuse the chunk. False: the chunk is referenced until
   * the sink's `onSent` has counted all of its bytes. Bytes written after {@link end} or on a closed stream are dropped.
   */
  write(chunk: Buffer): boolean {
    const length = chunk.length;
    if (length === 0 || this.tryWrite(chunk)) return true;
    if (!mayWrite(this.state)) return false;
    const { output, scheduler } = this.host;
    if (length > COPY_BYTES && length <= SOLE_QUANTUM_BYTES && scheduler.isEmpty && length <= output.room) {
      if (this.queue === null && length <= this.sendCredit && (this.state & StreamState.HELD) === 0) {
        this.sendCredit -= length;
        output.dataHeader(this.takeOwedFlags(), this.id, length);
        output.payload(chunk);
        output.report(this, length);
        return false;
      }
    }
    this.queue ??= new ChunkQueue();
    this.queue.push(chunk);
    this.schedule();
    return false;
  }

  /** Sends a small chunk if that can be done at once, by copying it. False: nothing was done. */
  tryWrite(chunk: Buffer): boolean {
    const length = chunk.length;
    if (length > COPY_BYTES || length > this.sendCredit || this.queue !== null) return false;
    const { output, scheduler } = this.host;
    if (this.state & NO_DIRECT_WRITE || length > output.smallRoom(!scheduler.isEmpty)) return false;
    this.sendCredit -= length;
    output.copiedData(this.takeOwedFlags(), this.id, chunk);
    return true;
  }

  /** Ends the writing half, after everything written before. */
  end(): void {
    if (!mayWrite(this.state)) return;
    this.state |= StreamState.WRITE_ENDED;
    if (this.queue === null && (this.state & StreamState.HELD) === 0) this.sendFin();
  }

  /** Gives the stream up at once: what is queued is dropped, the peer is told by RST, the sink hears no more. */
  reset(): void {
    this.sink = NO_SINK;
    if (this.state & StreamState.CLOSED) {
      this.releaseUnread();
      return;
    }
    this.sendReset();
    this.close();
    this.releaseUnread();
  }

  /**
   * For a user who has gone without an error: the writing half ends, and the stream waits for the peer's end up to the
   * session's close deadline; data that still comes is answered with RST, as TCP does. Queued bytes are sent before when
   * `flush`; else they are dropped, which turns the end into a reset, since an orderly one would be a lie.
   */
  abandon(flush = false): void {
    this.sink = NO_SINK;
    this.releaseUnread();
    if (this.state & StreamState.CLOSED) return;
    const nothingSent = this.state & (StreamState.SYN_OWED | StreamState.UNACCEPTED);
    if (!flush && (nothingSent || this.queue !== null)) {
      this.reset();
      return;
    }
    this.state |= StreamState.ABANDONED;
    this.end();
    if ((this.state & StreamState.CLOSED) === 0) this.host.expectEnd(this);
  }

  /** The reader has consumed `bytes` of what was delivered: their credit may go back to the peer. */
  consumed(bytes: number): void {
    const { host } = this;
    // After a reset nothing counts as unread any more, whatever the reader still holds.
    const counted = Math.min(bytes, this.unread);
    this.unread -= counted;
    host.budget.consume(counted);
    if (!mayReceive(this.state)) return;
    let due = grantDue(this.windowBytes, this.receiveCredit, this.unread);
    if (due === 0) return;
    const now = host.nowUs();
    const grown = grownWindow(
      this.windowBytes,
      host.maxWindowBytes,
      (now - this.grantedAtUs) & 0x7fff_ffff,
      host.growthRoundTripUs,
    );
    this.grantedAtUs = now;
    const growth = grown - this.windowBytes;
    if (growth > 0 && host.budget.tryGrow(growth)) {
      this.windowBytes = grown;
      due += growth;
    }
    this.receiveCredit += due;
    host.output.credit(this.takeOwedFlags(), this.id, due);
  }

  /** False while an open of this side is unanswered. */
  get isAcknowledged(): boolean {
    return (this.state & StreamState.UNACKED) === 0;
  }

  /** Both halves have ended, or the stream was reset. */
  get isClosed(): boolean {
    return (this.state & StreamState.CLOSED) !== 0;
  }

  /** The peer has ended its half. */
  get readEnded(): boolean {
    return (this.state & StreamState.READ_ENDED) !== 0;
  }

  /** Bytes written here that have not been given to the transport. */
  get queuedBytes(): number {
    return this.queue === null ? 0 : this.queue.byteLength;
  }

  /** Bytes delivered to the sink and not consumed. */
  get unreadBytes(): number {
    return this.unread;
  }

  /** The size of the receive window, in bytes. */
  get receiveWindowBytes(): number {
    return this.windowBytes;
  }

  // What follows is called by the session and the output.

  /** @internal The next part of a payload; the session has checked it against the window. */
  deliver(chunk: Buffer): void {
    if (this.state & StreamState.CLOSED) return;
    if (this.state & StreamState.ABANDONED) {
      this.reset();
      return;
    }
    // Only as the bytes arrive: credit for the rest of a frame must not count as read.
    this.receiveCredit -= chunk.length;
    this.unread += chunk.length;
    const inBudget = this.host.budget.deliver(chunk.length);
    try {
      this.sink.onData(this, chunk);
    } catch (error) {
      throwLater(error);
    }
    if (!inBudget) this.host.onOverBudget(this);
  }

  /** @internal The peer has ended its half. */
  deliverEnd(): void {
    try {
      this.sink.onEnd(this);
    } catch (error) {
      throwLater(error);
    }
  }

  /** @internal Credit from the peer. False when it exceeds what a window can hold. */
  addSendCredit(bytes: number): boolean {
    this.sendCredit += bytes;
    if (this.queue !== null) this.schedule();
    return this.sendCredit <= MAX_UINT32;
  }

  /** @internal Its turn: writes at most `quantumBytes` of the queue as one frame. */
  sendQueued(quantumBytes: number): void {
    const { queue, host } = this;
    if (queue === null) return;
    const { output } = host;
    const length = Math.min(queue.byteLength, this.sendCredit, quantumBytes);
    if (length === 0) return;
    this.sendCredit -= length;
    const drained = length === queue.byteLength;
    if (drained) this.queue = null;
    output.dataHeader(this.takeOwedFlags(), this.id, length);
    for (let left = length; left > 0; ) {
      const piece = queue.take(left);
      left -= piece.length;
      output.payload(piece);
    }
    output.report(this, length);
    host.scheduler.spend(this, length);
    if (!drained) {
      if (this.sendCredit > 0) host.scheduler.requeue(this);
    } else if (this.state & StreamState.WRITE_ENDED) this.sendFin();
  }

  /** @internal The session lets a held-back open go. */
  release(): void {
    this.state &= ~StreamState.HELD;
    this.host.owe(this);
    if (this.queue !== null) this.schedule();
    else if (this.state & StreamState.WRITE_ENDED) this.sendFin();
  }

  /** @internal SYN and ACK that the next frame must carry; whoever calls writes that frame. */
  takeOwedFlags(): number {
    const owed = this.state & (StreamState.SYN_OWED | StreamState.ACK_OWED);
    if (owed === 0) return 0;
    this.state &= ~owed;
    return owed & StreamState.SYN_OWED ? Flag.SYN : Flag.ACK;
  }

  /** Gives the stream up for `error`: the peer is told by RST, the sink by `onReset`. */
  kill(error: Error): void {
    if (this.state & StreamState.CLOSED) return;
    this.sendReset();
    this.fail(error);
  }

  /** @internal The stream is over by the peer's or the session's doing. */
  fail(error: Error): void {
    const { sink } = this;
    this.sink = NO_SINK;
    this.close();
    this.releaseUnread();
    try {
      sink.onReset(this, error);
    } catch (fault) {
      throwLater(fault);
    }
  }

  /** @internal */
  onHandedOver(bytes: number): void {
    try {
      this.sink.onSent(this, bytes);
    } catch (error) {
      throwLater(error);
    }
  }

  /** @internal Growth of the window beyond the initial one, to be given back to the budget. */
  get grownBytes(): number {
    return this.windowBytes - INITIAL_WINDOW_BYTES;
  }

  private schedule(): void {
    if (this.sendCredit <= 0 || this.state & StreamState.HELD) return;
    this.host.scheduler.add(this);
    this.host.output.scheduleFlush();
  }

  private sendFin(): void {
    const { output, finWithData } = this.host;
    const owed = this.takeOwedFlags();
    if (owed !== 0 || !output.tryAddFlags(this.id, Flag.FIN, finWithData)) {
      output.frame(FrameType.WINDOW_UPDATE, owed | Flag.FIN, this.id, 0);
    }
    this.state = afterFinSent(this.state);
    if (this.state & StreamState.CLOSED) this.host.forget(this);
  }

  private sendReset(): void {
    // A peer that has not seen the SYN need not hear of the end.
    if (this.state & StreamState.SYN_OWED) return;
    this.host.output.frame(FrameType.WINDOW_UPDATE, Flag.RST, this.id, 0);
  }

  private close(): void {
    this.queue = null;
    this.state |= StreamState.CLOSED;
    this.host.forget(this);
  }

  private releaseUnread(): void {
    if (this.unread === 0) return;
    this.host.budget.consume(this.unread);
    this.unread = 0;
  }
}
