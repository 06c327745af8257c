// One stream of a session: a small object without timer, emitter or Duplex of its own, since there may be millions.
// What arrives goes to a sink of callbacks; sockets and relays are such sinks.

import { starlaneError } from '../../errors.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { Flag, FrameType, INITIAL_WINDOW_BYTES, MAX_UINT32 } from '../../wire/header.js';
import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../hidden.js';
import { COPY_BYTES } from '../send/output.js';
import { NO_TURN, type Schedulable } from '../send/scheduler.js';
import { Backlog } from '../send/send-queue.js';
import { ResetReason } from './resets.js';
import { type HostOf, NO_SINK, type SinkOf } from './sink.js';
import { afterFinSent, mayReceive, mayWrite, StreamState } from './stream-state.js';
import { grantDue, grownRelayedWindow, grownWindow, RELAYED_WINDOW_BYTES } from './window.js';

/** Who is told what happens to a stream. */
export type StreamSink = SinkOf<MuxStream>;
/** What a stream needs of its session. */
export type StreamHost = HostOf<MuxStream>;

/** States in which nothing can be sent at once. */
const NO_DIRECT_WRITE = StreamState.HELD | StreamState.WRITE_ENDED | StreamState.CLOSED;

/** What a user who has gone still has sent: a small answer. A kernel takes as much at least, however busy the connection is. */
export const FLUSH_BYTES = 64 * 1024;

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
  private queue: Backlog | null = null;

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

  /**
   * The stream is a hop of a circuit through relays, which begins with less credit in both directions, so that relays need
   * not keep what the default promises. Both ends say so, each ahead of all but OPEN.
   */
  narrow(): void {
    if (this.state & StreamState.NARROW) return;
    const less = INITIAL_WINDOW_BYTES - RELAYED_WINDOW_BYTES;
    this.state |= StreamState.NARROW;
    this.windowBytes -= less;
    this.receiveCredit -= less;
    this.sendCredit -= less;
  }

  /** What arrives will be forwarded, by a sink that keeps nothing. */
  expectForwarding(): void {
    this.host.onForwarding();
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
    if (length > COPY_BYTES && length <= output.frameBytes && scheduler.isEmpty && length <= output.room) {
      if (this.queue === null && length <= this.sendCredit && (this.state & StreamState.HELD) === 0) {
        this.sendCredit -= length;
        output.dataHeader(this.takeOwedFlags(), this.id, length);
        output.payload(chunk);
        output.report(this, length);
        return false;
      }
    }
    this.queue ??= new Backlog();
    this.queue.push(chunk);
    this.schedule();
    return false;
  }

  /**
   * As {@link write}, but the chunk is copied in any case. True: its bytes are with the session. False: they wait here, until
   * the sink's `onSent` has counted them.
   */
  forward(chunk: Buffer): boolean {
    if (chunk.length === 0 || this.tryWrite(chunk)) return true;
    if (!mayWrite(this.state)) return false;
    this.queue ??= new Backlog();
    this.queue.pack(chunk);
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

  /**
   * Gives the stream up at once: what is queued is dropped, the peer is told by RST with one of ResetReason, the sink hears
   * no more.
   */
  reset(reason: number = ResetReason.NONE): void {
    this.sink = NO_SINK;
    if (this.state & StreamState.CLOSED) {
      this.releaseUnread();
      return;
    }
    this.sendReset(reason);
    this.close();
    this.releaseUnread();
  }

  /**
   * For a user who has gone without an error: the writing half ends, and the stream waits for the peer's end up to the
   * session's close deadline; data that still comes is answered with RST, as TCP does. Queued bytes are sent before, up to
   * {@link FLUSH_BYTES}, or all of them when `flush`; else they are dropped, which turns the end into a reset, since an orderly one
   * would be a lie.
   */
  abandon(flush = false): void {
    this.sink = NO_SINK;
    this.releaseUnread();
    if (this.state & StreamState.CLOSED) return;
    const nothingSent = this.state & (StreamState.SYN_OWED | StreamState.UNACCEPTED);
    if (!flush && (nothingSent || this.queuedBytes > FLUSH_BYTES)) {
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
    const elapsedUs = (now - this.grantedAtUs) & 0x7fff_ffff;
    const grown =
      this.state & StreamState.NARROW
        ? grownRelayedWindow(this.windowBytes, this.growthLimit(due), elapsedUs, host.growthRoundTripUs)
        : grownWindow(this.windowBytes, host.maxWindowBytes, elapsedUs, host.growthRoundTripUs);
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

  /** How far the receive window of any stream of the session may grow, in bytes. */
  get maxWindowBytes(): number {
    return this.host.maxWindowBytes;
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
    // Only after a frame inside which the stream was narrowed.
    if (this.receiveCredit < 0) {
      this.kill(starlaneError('ERR_STARLANE_WINDOW_OVERRUN', `stream ${this.id}`));
      return;
    }
    this.unread += chunk.length;
    const inBudget = this.host.budget.deliver(chunk.length);
    const { sink } = this;
    try {
      sink[kOnData](this, this.host.lendsReads && sink.keepsNothing !== true ? Buffer.from(chunk) : chunk);
    } catch (error) {
      throwLater(error);
    }
    if (!inBudget) this.host.onOverBudget(this);
  }

  /** @internal The peer has ended its half. */
  deliverEnd(): void {
    try {
      this.sink[kOnEnd](this);
    } catch (error) {
      throwLater(error);
    }
  }

  /** @internal Credit from the peer. False when it exceeds what a window can hold. */
  addSendCredit(bytes: number): boolean {
    this.sendCredit += bytes;
    if (this.queue !== null) this.schedule();
    if (this.state & StreamState.NARROW) this.sink.onCredit?.(this, bytes);
    return this.sendCredit <= MAX_UINT32;
  }

  /** @internal Its turn: writes at most `quantumBytes` of the queue as one frame. */
  sendQueued(quantumBytes: number): void {
    const { queue, host } = this;
    if (queue === null) return;
    const { output } = host;
    const length = Math.min(queue.byteLength, this.sendCredit, quantumBytes);
    if (length <= 0) return;
    this.sendCredit -= length;
    const drained = length === queue.byteLength;
    if (drained) this.queue = null;
    output.dataHeader(this.takeOwedFlags(), this.id, length);
    queue.writeTo(output, length);
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
  kill(error: Error, reason: number = ResetReason.NONE): void {
    if (this.state & StreamState.CLOSED) return;
    this.sendReset(reason);
    this.fail(error, reason, true);
  }

  /** @internal The stream is over, by the doing of the peer or of the link; `isOwn`: of this side, which drops what is unread. */
  fail(error: Error, reason: number, isOwn: boolean): void {
    const { sink } = this;
    this.sink = NO_SINK;
    this.close();
    try {
      if (!isOwn && this.readEnded && sink[kReadOn]?.(this, error) === true) return;
      this.releaseUnread();
      sink[kOnReset](this, error, reason);
    } catch (fault) {
      throwLater(fault);
    }
  }

  /** @internal */
  onHandedOver(bytes: number): void {
    try {
      this.sink[kOnSent](this, bytes);
    } catch (error) {
      throwLater(error);
    }
  }

  /** @internal Growth of the window beyond the initial one, to be given back to the budget. */
  get grownBytes(): number {
    return this.windowBytes - (this.state & StreamState.NARROW ? RELAYED_WINDOW_BYTES : INITIAL_WINDOW_BYTES);
  }

  /** How far the window of a narrow stream may grow, now that `due` bytes of it were read. */
  private growthLimit(due: number): number {
    const { sink } = this;
    sink.onCredit?.(this, due);
    return sink.growthLimit === undefined ? this.host.maxWindowBytes : sink.growthLimit(this);
  }

  private schedule(): void {
    if (this.sendCredit <= 0 || this.state & StreamState.HELD) return;
    this.host.scheduler.add(this);
    this.host.output.scheduleFlush();
  }

  private sendFin(): void {
    const { output, starlanePeer } = this.host;
    const owed = this.takeOwedFlags();
    if (owed !== 0 || !output.tryAddFlags(this.id, Flag.FIN, starlanePeer)) {
      output.frame(FrameType.WINDOW_UPDATE, owed | Flag.FIN, this.id, 0);
    }
    this.state = afterFinSent(this.state);
    if ((this.state & StreamState.CLOSED) === 0) return;
    this.host.forget(this);
    if (this.state & StreamState.NARROW) this.sink.onClosed?.(this);
  }

  private sendReset(reason: number): void {
    // A peer that has not seen the SYN need not hear of the end.
    if (this.state & StreamState.SYN_OWED) return;
    const { output, starlanePeer } = this.host;
    output.frame(FrameType.WINDOW_UPDATE, Flag.RST, this.id, starlanePeer ? reason : ResetReason.NONE);
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
