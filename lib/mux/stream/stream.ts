// One stream of a session: a small object without a timer, emitter or Duplex of its own, since there may be millions.
// What arrives goes to a sink of callbacks; sockets and relays are such sinks.

import { starlaneError } from '../../errors.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { Flag, FrameType, INITIAL_WINDOW_BYTES, MAX_UINT32 } from '../../wire/header.js';
import { kOnData, kOnEnd, kOnReset, kOnSent, kReadOn } from '../hidden.js';
import { COPY_BYTES } from '../send/output.js';
import { NO_TURN, type Schedulable } from '../send/scheduler.js';
import { SendQueue } from '../send/send-queue.js';
import type { MuxSession } from '../session.js';
import { ResetReason } from './resets.js';
import { NO_SINK, type Sink } from './sink.js';
import { afterFinSent, mayReceive, mayWrite, StreamState } from './stream-state.js';
import { grantDue, grownRelayedWindow, grownWindow, RELAYED_WINDOW_BYTES } from './window.js';

export type StreamSink = Sink<MuxStream>;

/** States in which a write has to wait or is dropped. */
const NO_DIRECT_WRITE = StreamState.HELD | StreamState.WRITE_ENDED | StreamState.CLOSED;

/** How many queued bytes are still sent after the user has destroyed the stream: a small answer. The send buffer of a TCP socket holds at least as much. */
export const FLUSH_BYTES = 64 * 1024;

// It is also a Sender of the output and a Schedulable, but those members are not for users.
export class MuxStream {
  /** Called with everything that happens to the stream. */
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
  /** Bytes delivered to the sink and not consumed. */
  private unread = 0;
  /** When credit was last granted, by the clock of the session. */
  private grantedAtUs = 0;
  private sendCredit = INITIAL_WINDOW_BYTES;
  private queue: SendQueue | null = null;
  /** When it was opened, in tenths of a second by the clock of the session: a small integer, which takes no memory of its own. */
  private readonly openedAt: number;

  /** @internal */
  constructor(
    readonly id: number,
    private readonly session: MuxSession,
    sink: StreamSink | null,
    state: number,
  ) {
    this.sink = sink ?? NO_SINK;
    this.state = state;
    this.openedAt = session.nowTenths();
  }

  /**
   * Makes the stream a hop of a circuit through relays. It begins with less credit in both directions, so that relays need not
   * hold what the default promises. Both ends call this, each before it sends anything but OPEN.
   */
  useRelayWindow(): void {
    if (this.state & StreamState.RELAYED) return;
    const less = INITIAL_WINDOW_BYTES - RELAYED_WINDOW_BYTES;
    this.state |= StreamState.RELAYED;
    this.windowBytes -= less;
    this.receiveCredit -= less;
    this.sendCredit -= less;
  }

  /** The sink forwards what arrives, and keeps nothing. */
  expectForwarding(): void {
    this.session.lendReads();
  }

  /** Accepts a stream that the peer opened. The ACK leaves with the first frame of this turn. */
  accept(): void {
    if ((this.state & (StreamState.UNACCEPTED | StreamState.CLOSED)) !== StreamState.UNACCEPTED) return;
    this.state = (this.state & ~StreamState.UNACCEPTED) | StreamState.ACK_OWED;
    this.session.streams.accepted();
    this.session.owe(this);
  }

  /**
   * Sends bytes in order. True: they were copied and the caller may reuse the chunk. False: the chunk is referenced until
   * the sink's `onSent` has counted all of its bytes. Bytes written after {@link end} or on a closed stream are dropped.
   */
  write(chunk: Buffer): boolean {
    const length = chunk.length;
    if (length === 0 || this.tryWrite(chunk)) return true;
    if (!mayWrite(this.state)) return false;
    const { output, scheduler } = this.session;
    if (length > COPY_BYTES && length <= output.frameBytes && scheduler.isEmpty && length <= output.room) {
      if (this.queue === null && length <= this.sendCredit && (this.state & StreamState.HELD) === 0) {
        this.sendCredit -= length;
        output.dataHeader(this.takeOwedFlags(), this.id, length);
        output.payload(chunk);
        output.notifyFlushed(this, length);
        return false;
      }
    }
    this.queue ??= new SendQueue();
    this.queue.push(chunk);
    this.schedule();
    return false;
  }

  /**
   * Sends bytes as {@link write} does, but copies the chunk in any case. True: the session has its bytes. False: they wait here,
   * until the sink's `onSent` has counted them.
   */
  forward(chunk: Buffer): boolean {
    if (chunk.length === 0 || this.tryWrite(chunk)) return true;
    if (!mayWrite(this.state)) return false;
    this.queue ??= new SendQueue();
    this.queue.pack(chunk);
    this.schedule();
    return false;
  }

  /** Sends a small chunk if that can be done at once, by copying it. False: nothing was done. */
  tryWrite(chunk: Buffer): boolean {
    const length = chunk.length;
    if (length > COPY_BYTES || length > this.sendCredit || this.queue !== null) return false;
    const { output, scheduler } = this.session;
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
   * Gives the stream up at once: drops what is queued and sends an RST with one of ResetReason. The sink is not called any more.
   */
  reset(reason: number = ResetReason.NONE): void {
    this.sink = NO_SINK;
    if (this.state & StreamState.CLOSED) {
      this.releaseUnread();
      return;
    }
    this.sendReset(reason);
    this.leave();
    this.releaseUnread();
  }

  /**
   * Closes the stream in order, for a user that has gone without an error: ends the writing half and waits for the peer's end
   * up to the close timeout of the session; data that still comes is answered with RST, as in TCP. Queued bytes are sent before,
   * up to {@link FLUSH_BYTES}, or all of them when `flush`. Beyond that they are dropped and the stream is reset, since an
   * orderly end would claim that they had been sent.
   */
  close(flush = false): void {
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
    if ((this.state & StreamState.CLOSED) === 0) this.session.streams.expectEnd(this);
  }

  /** The reader has consumed `bytes` of what was delivered; their credit may go back to the peer. */
  consumed(bytes: number): void {
    const { session } = this;
    // After a reset nothing counts as unread any more, whatever the reader still holds.
    const counted = Math.min(bytes, this.unread);
    this.unread -= counted;
    session.budget.consume(counted);
    if (!mayReceive(this.state)) return;
    let due = grantDue(this.windowBytes, this.receiveCredit, this.unread);
    if (due === 0) return;
    const now = session.nowUs();
    const elapsedUs = (now - this.grantedAtUs) & 0x7fff_ffff;
    const grown =
      this.state & StreamState.RELAYED
        ? grownRelayedWindow(this.windowBytes, this.growthLimit(due), elapsedUs, session.measureGrowthRttUs())
        : grownWindow(this.windowBytes, session.maxWindowBytes, elapsedUs, session.measureGrowthRttUs());
    this.grantedAtUs = now;
    const growth = grown - this.windowBytes;
    if (growth > 0 && session.budget.tryGrow(growth)) {
      this.windowBytes = grown;
      due += growth;
    }
    this.receiveCredit += due;
    session.output.credit(this.takeOwedFlags(), this.id, due);
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

  /** Bytes written here that the session has not sent. */
  get queuedBytes(): number {
    return this.queue === null ? 0 : this.queue.byteLength;
  }

  /** Bytes delivered to the sink and not consumed. */
  get unreadBytes(): number {
    return this.unread;
  }

  /** How long it has been open, in ms, to a tenth of a second. */
  get ageMs(): number {
    return (this.session.nowTenths() - this.openedAt) * 100;
  }

  /** What changes whenever a byte goes either way: equal texts at two moments mean that nothing has moved. */
  get progress(): string {
    return `${this.receiveCredit} ${this.sendCredit} ${this.unread} ${this.queuedBytes}`;
  }

  /** The size of the receive window, in bytes. */
  get receiveWindowBytes(): number {
    return this.windowBytes;
  }

  /** How far the receive window of any stream of the session may grow, in bytes. */
  get maxWindowBytes(): number {
    return this.session.maxWindowBytes;
  }

  // What follows is called by the session and the output.

  /** @internal Delivers the next part of a payload; the session has checked it against the window. */
  deliver(chunk: Buffer): void {
    if (this.state & StreamState.CLOSED) return;
    if (this.state & StreamState.ABANDONED) {
      this.reset();
      return;
    }
    // Only as the bytes arrive: the credit for the rest of a frame must not count as read.
    this.receiveCredit -= chunk.length;
    // Possible only in a frame inside which useRelayWindow() was called.
    if (this.receiveCredit < 0) {
      this.destroy(starlaneError('ERR_STARLANE_WINDOW_OVERRUN', `stream ${this.id}`));
      return;
    }
    this.unread += chunk.length;
    const inBudget = this.session.budget.deliver(chunk.length);
    const { sink } = this;
    try {
      sink[kOnData](this, this.session.lendsReads && sink.keepsNothing !== true ? Buffer.from(chunk) : chunk);
    } catch (error) {
      throwLater(error);
    }
    if (!inBudget) this.session.onOverBudget(this);
  }

  /** @internal The peer has ended its half. */
  deliverEnd(): void {
    try {
      this.sink[kOnEnd](this);
    } catch (error) {
      throwLater(error);
    }
  }

  /** @internal Adds credit from the peer. False when it exceeds what a window can hold. */
  addSendCredit(bytes: number): boolean {
    this.sendCredit += bytes;
    if (this.queue !== null) this.schedule();
    if (this.state & StreamState.RELAYED) this.sink.onCredit?.(this, bytes);
    return this.sendCredit <= MAX_UINT32;
  }

  /** @internal Takes its turn: writes at most `quantumBytes` of the queue as one frame. */
  sendQueued(quantumBytes: number): void {
    const { queue, session } = this;
    if (queue === null) return;
    const { output } = session;
    const length = Math.min(queue.byteLength, this.sendCredit, quantumBytes);
    if (length <= 0) return;
    this.sendCredit -= length;
    const drained = length === queue.byteLength;
    if (drained) this.queue = null;
    output.dataHeader(this.takeOwedFlags(), this.id, length);
    queue.writeTo(output, length);
    output.notifyFlushed(this, length);
    session.scheduler.spend(this, length);
    if (!drained) {
      if (this.sendCredit > 0) session.scheduler.requeue(this);
    } else if (this.state & StreamState.WRITE_ENDED) this.sendFin();
  }

  /** @internal Writes what is queued, as far as the credit goes, out of turn: the session ends with it. */
  sendLast(frameBytes: number): void {
    const { queue, session } = this;
    for (let left = Math.min(queue?.byteLength ?? 0, this.sendCredit); left > 0; left -= frameBytes) {
      const length = Math.min(left, frameBytes);
      this.sendCredit -= length;
      session.output.dataHeader(this.takeOwedFlags(), this.id, length);
      queue?.writeTo(session.output, length);
    }
  }

  /** @internal Sends an open that had to wait for others. */
  release(): void {
    this.state &= ~StreamState.HELD;
    this.session.owe(this);
    if (this.queue !== null) this.schedule();
    else if (this.state & StreamState.WRITE_ENDED) this.sendFin();
  }

  /** @internal Returns the SYN or ACK that the next frame must carry; the caller writes that frame. */
  takeOwedFlags(): number {
    const owed = this.state & (StreamState.SYN_OWED | StreamState.ACK_OWED);
    if (owed === 0) return 0;
    this.state &= ~owed;
    return owed & StreamState.SYN_OWED ? Flag.SYN : Flag.ACK;
  }

  /** Gives the stream up because of `error`: sends an RST and calls `onReset` of the sink. */
  destroy(error: Error, reason: number = ResetReason.NONE): void {
    if (this.state & StreamState.CLOSED) return;
    this.sendReset(reason);
    this.fail(error, reason, true);
  }

  /** @internal Ends the stream without a frame, and notifies the sink. `isLocal`: this side has caused it, and drops what is unread. */
  fail(error: Error, reason: number, isLocal: boolean): void {
    const { sink } = this;
    this.sink = NO_SINK;
    this.leave();
    try {
      if (!isLocal && this.readEnded && sink[kReadOn]?.(this, error) === true) return;
      this.releaseUnread();
      sink[kOnReset](this, error, reason);
    } catch (fault) {
      throwLater(fault);
    }
  }

  /** @internal */
  onFlushed(bytes: number): void {
    try {
      this.sink[kOnSent](this, bytes);
    } catch (error) {
      throwLater(error);
    }
  }

  /** @internal The growth of the window since the start, which goes back to the budget. */
  get grownBytes(): number {
    return this.windowBytes - (this.state & StreamState.RELAYED ? RELAYED_WINDOW_BYTES : INITIAL_WINDOW_BYTES);
  }

  /** Returns how far the window of a relayed stream may grow, now that `due` bytes of it were read. */
  private growthLimit(due: number): number {
    const { sink } = this;
    sink.onCredit?.(this, due);
    return sink.growthLimit === undefined ? this.session.maxWindowBytes : sink.growthLimit(this);
  }

  private schedule(): void {
    if (this.sendCredit <= 0 || this.state & StreamState.HELD) return;
    this.session.scheduler.add(this);
    this.session.output.scheduleFlush();
  }

  private sendFin(): void {
    const { output, starlanePeer } = this.session;
    const owed = this.takeOwedFlags();
    if (owed !== 0 || !output.tryAddFlags(this.id, Flag.FIN, starlanePeer)) {
      output.frame(FrameType.WINDOW_UPDATE, owed | Flag.FIN, this.id, 0);
    }
    this.state = afterFinSent(this.state);
    if ((this.state & StreamState.CLOSED) === 0) return;
    this.session.forget(this);
    if (this.state & StreamState.RELAYED) this.sink.onClosed?.(this);
  }

  private sendReset(reason: number): void {
    // A peer that has not seen the SYN need not learn of the end.
    if (this.state & StreamState.SYN_OWED) return;
    const { output, starlanePeer } = this.session;
    output.frame(FrameType.WINDOW_UPDATE, Flag.RST, this.id, starlanePeer ? reason : ResetReason.NONE);
  }

  private leave(): void {
    this.queue = null;
    this.state |= StreamState.CLOSED;
    this.session.forget(this);
  }

  private releaseUnread(): void {
    if (this.unread === 0) return;
    this.session.budget.consume(this.unread);
    this.unread = 0;
  }
}
