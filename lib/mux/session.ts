// One yamux session over one Duplex: dispatches the peer's frames, keeps the table of streams, and ends it all in order.
// It knows no nodes, names or routes, and never stops reading the Duplex because of one stream.

import type { Duplex } from 'node:stream';
import { type StarlaneErrorCode, starlaneError } from '../errors.js';
import { debug } from '../util/runtime/debug.js';
import { nextTick, setImmediate } from '../util/runtime/real-timers.js';
import { guard } from '../util/runtime/throw-later.js';
import type { Timer } from '../util/timers.js';
import { FrameDecoder, type FrameHandlers } from '../wire/frame-decoder.js';
import { Flag, FrameType, GoAwayCode, SESSION_STREAM_ID } from '../wire/header.js';
import { Carrier, type CarrierHandlers, copiesWrites, isEncrypted } from './duplex-transport.js';
import { Liveness, type LivenessHost } from './liveness/liveness.js';
import { Output, type OutputHost } from './send/output.js';
import { Pacer } from './send/pacer.js';
import { Scheduler } from './send/scheduler.js';
import { resolveSessionOptions, type SessionOptions } from './session-options.js';
import { inputReads } from './stream/own-ticks.js';
import { ResetReason, Resets, readResetReason } from './stream/resets.js';
import type { MuxStream, StreamHost, StreamSink } from './stream/stream.js';
import { afterFlags, INVALID_STATE, mayReceive, StreamState } from './stream/stream-state.js';
import { StreamTable } from './stream/stream-table.js';
import { InputBacklog, ReceiveBudget } from './stream/window.js';

// Who is told of what concerns a session as a whole.

/** Who a session belongs to. */
export interface SessionOwner {
  /** The peer opened a stream: set its sink, then accept() or reset() it, now or later. */
  onStream(stream: MuxStream): void;
  /** The peer accepts no more opens. */
  onGoAway?(): void;
  /** The session is over, told once; `error` is undefined when both sides ended it in order. */
  onClose(error: Error | undefined): void;
}

const log = debug('mux');

const Phase = { OPEN: 0, CLOSING: 1, ENDING: 2, CLOSED: 3 } as const;

export class MuxSession implements CarrierHandlers, FrameHandlers, OutputHost, StreamHost, LivenessHost {
  readonly options: SessionOptions;
  readonly output: Output;
  readonly scheduler = new Scheduler<MuxStream>();
  readonly budget: ReceiveBudget;
  readonly maxWindowBytes: number;
  readonly starlanePeer: boolean;
  lendsReads = false;
  /** Bytes that have arrived, headers included. */
  bytesIn = 0;

  private readonly streams: StreamTable;
  private readonly carrier: Carrier;
  readonly decoder = new FrameDecoder(this);
  private readonly backlog = new InputBacklog();
  private readonly pacer: Pacer;
  readonly liveness: Liveness;
  private readonly owed = new OwedFlags();
  private readonly resets = new Resets();
  /** The stream whose payload is being read; null while it is discarded. */
  private reading: MuxStream | null = null;
  private finAfterPayload = false;
  private phase: number = Phase.OPEN;
  private goAwaySent = false;
  private goAwayReceived = false;
  private closeTimer: Timer | null = null;

  /** @throws ERR_STARLANE_OPTION */
  constructor(
    duplex: Duplex,
    options: Partial<SessionOptions> & { client: boolean },
    private readonly owner: SessionOwner,
  ) {
    this.options = resolveSessionOptions(options);
    const { timers, keepAliveMs, keepAliveTimeoutMs, controlQueueBytes } = this.options;
    this.maxWindowBytes = this.options.maxWindowBytes;
    this.starlanePeer = this.options.starlanePeer;
    this.budget = new ReceiveBudget(this.options.receiveBudgetBytes);
    this.streams = new StreamTable(this.options, this);
    this.pacer = new Pacer(
      timers,
      () => this.output.scheduleFlush(),
      this.starlanePeer,
      () => this.liveness.lastHeardMs,
    );
    this.output = new Output(duplex, this, copiesWrites(duplex), this.pacer, controlQueueBytes);
    this.liveness = new Liveness(timers, this, keepAliveMs, keepAliveTimeoutMs, isEncrypted(duplex));
    this.carrier = new Carrier(duplex, timers, this);
    if (!this.carrier.isGone) this.liveness.start();
  }

  /**
   * Opens a stream. The SYN goes out at the end of this turn, together with `first` and what else is written by then.
   * @throws ERR_STARLANE_CLOSED, ERR_STARLANE_GO_AWAY, ERR_STARLANE_STREAMS_EXHAUSTED
   */
  open(sink: StreamSink, first?: Buffer): MuxStream {
    if (this.phase !== Phase.OPEN) throw starlaneError('ERR_STARLANE_CLOSED');
    if (this.goAwayReceived) throw starlaneError('ERR_STARLANE_GO_AWAY');
    const stream = this.streams.open(sink);
    if (first !== undefined) stream.write(first);
    if ((stream.state & (StreamState.SYN_OWED | StreamState.HELD)) === StreamState.SYN_OWED) this.owe(stream);
    return stream;
  }

  /** The time that the peer takes to answer, in ms. Rejects when the session ends first. */
  ping(): Promise<number> {
    if (this.phase >= Phase.ENDING) return Promise.reject(starlaneError('ERR_STARLANE_CLOSED'));
    return this.liveness.ping();
  }

  /** Tells the peer to open no more streams; those it opens all the same are reset. Open streams go on. */
  goAway(code: number = GoAwayCode.NORMAL): void {
    if (this.goAwaySent || this.phase >= Phase.ENDING) return;
    this.goAwaySent = true;
    this.output.frame(FrameType.GO_AWAY, 0, SESSION_STREAM_ID, code);
  }

  /** Ends the session in order: no new streams, open ones may finish within `timeoutMs`, then the Duplex ends. */
  close(timeoutMs = this.options.closeTimeoutMs): void {
    if (this.phase !== Phase.OPEN) return;
    this.goAway();
    this.phase = Phase.CLOSING;
    this.closeTimer = this.options.timers.schedule(timeoutMs, {
      onDeadline: () => this.destroy(starlaneError('ERR_STARLANE_CLOSE_TIMEOUT', 'streams were still open')),
    });
    this.endIfDrained();
  }

  /** Ends the session at once: all streams are reset and the Duplex is destroyed. */
  destroy(error?: Error): void {
    if (this.phase === Phase.CLOSED) return;
    this.finish(error ?? starlaneError('ERR_STARLANE_CLOSED'), error === undefined);
    this.carrier.destroy();
  }

  /** Bytes given to the Duplex, headers included. */
  get bytesOut(): number {
    return this.output.bytesOut;
  }

  /** Streams that are open, in either direction. */
  get streamCount(): number {
    return this.streams.size;
  }

  /** The smallest recent round trip of the link in ms, 0 before the first was measured. */
  get rttMs(): number {
    return this.liveness.rttMs;
  }

  /** Bytes that the user's readers have not consumed, over all streams. */
  get unreadBytes(): number {
    return this.budget.unreadBytes;
  }

  get isClosed(): boolean {
    return this.phase >= Phase.ENDING;
  }

  /** Whether the peer takes opens. */
  get canOpen(): boolean {
    return this.phase === Phase.OPEN && !this.goAwayReceived;
  }

  // --- the Duplex ---

  onBytes(chunk: Buffer): void {
    this.bytesIn += chunk.length;
    inputReads.count++;
    this.backlog.onRead(chunk.length, this.carrier.mostBytes);
    // Answers leave as soon as the chunk has been read, ahead of all bookkeeping: that is what a round trip waits for.
    this.output.gather();
    this.decoder.push(chunk);
    this.output.release();
    this.liveness.heard();
  }

  onInputEnd(): void {
    inputReads.count++;
    if (this.phase === Phase.ENDING || this.phase === Phase.CLOSED) return;
    this.resets.tellAll();
    if (!this.decoder.betweenFrames || this.reading !== null) {
      return this.protocolError('the input ends inside a frame');
    }
    const inOrder = this.streams.size === 0 && (this.goAwayReceived || this.phase === Phase.CLOSING);
    this.finish(inOrder ? undefined : starlaneError('ERR_STARLANE_LINK_LOST', 'the peer ended it'));
    this.carrier.end();
  }

  onFailure(error: Error): void {
    this.lose(starlaneError('ERR_STARLANE_TRANSPORT', error.message, error));
  }

  onGone(): void {
    this.lose(starlaneError('ERR_STARLANE_LINK_LOST'));
  }

  private lose(error: Error): void {
    inputReads.count++;
    this.resets.tellAll();
    // Whatever fails after the last stream has ended and all was said takes nothing away.
    this.finish(this.phase === Phase.ENDING ? undefined : error);
  }

  // --- frames ---

  onPayload(chunk: Buffer, last: boolean): void {
    const stream = this.reading;
    if (stream === null) return;
    if (last) this.reading = null;
    stream.deliver(chunk);
    if (!last || !this.finAfterPayload) return;
    this.finAfterPayload = false;
    if (!stream.isClosed) this.onFin(stream);
  }

  onFrame(type: number, flags: number, streamId: number, length: number): void {
    if (type > FrameType.WINDOW_UPDATE) {
      if (type === FrameType.GO_AWAY) this.onGoAway(length);
      else if ((flags & Flag.SYN) === 0) this.onPong(length);
      else this.output.frame(FrameType.PING, Flag.ACK, SESSION_STREAM_ID, length);
      return;
    }
    if (type === FrameType.DATA && length > this.options.maxFrameBytes)
      return this.protocolError(`a frame of ${length} bytes`);
    let stream = this.streams.get(streamId);
    if (stream !== null && this.resets.size > 0 && this.resets.tellNow(stream)) stream = null;
    if (flags & Flag.SYN) {
      if (stream !== null) return this.protocolError(`SYN for stream ${streamId}, which is open`);
      if (!this.streams.isPeers(streamId)) return this.protocolError(`SYN for stream ${streamId}, an id of this side`);
      stream = this.incoming(streamId);
    }
    this.reading = null;
    // Frames for streams that are gone may still be on their way when a reset crosses them: ignored (as hashicorp/yamux).
    if (stream === null) return;
    if (type === FrameType.DATA) {
      if (length > 0) {
        if (!mayReceive(stream.state)) return this.protocolError(`data after the end of stream ${streamId}`);
        if (length > stream.receiveCredit) {
          const detail = `${length} bytes for stream ${streamId}, which may send ${stream.receiveCredit}`;
          return this.protocolError(detail, 'ERR_STARLANE_WINDOW_OVERRUN');
        }
        this.reading = stream;
      }
    } else if ((flags & Flag.RST) === 0 && length > 0 && !stream.addSendCredit(length)) {
      return this.protocolError(`stream ${streamId} was granted more than a window can hold`);
    }
    if (flags !== 0 || stream.state & StreamState.UNACKED) this.onFlags(stream, flags, length);
  }

  onMalformed(reason: string): void {
    this.protocolError(reason);
  }

  private onFlags(stream: MuxStream, flags: number, length: number): void {
    if (flags & Flag.RST) {
      const reason = this.starlanePeer && this.reading === null ? readResetReason(length) : ResetReason.NONE;
      this.reading = null;
      return this.resets.take(stream, reason, this.streams.isPeers(stream.id));
    }
    this.streams.acknowledged(stream);
    if ((flags & Flag.FIN) === 0) return;
    if (this.reading !== null) this.finAfterPayload = true;
    else this.onFin(stream);
  }

  private onFin(stream: MuxStream): void {
    const next = afterFlags(stream.state, Flag.FIN);
    if (next === INVALID_STATE) return this.protocolError(`second FIN on stream ${stream.id}`);
    stream.state = next;
    if (next & StreamState.CLOSED) this.forget(stream);
    stream.deliverEnd();
  }

  private incoming(id: number): MuxStream | null {
    this.resets.onOpen();
    const stream = this.phase === Phase.OPEN && !this.goAwaySent ? this.streams.admit(id) : null;
    if (stream === null) {
      log('refused stream %d, %d are open', id, this.streams.size);
      this.output.frame(FrameType.WINDOW_UPDATE, Flag.RST, id, 0);
      return null;
    }
    guard(() => this.owner.onStream(stream));
    return stream.isClosed ? null : stream;
  }

  private onPong(opaque: number): void {
    const tookMs = this.pacer.onPong(opaque, this.output.bytesOut, this.bytesIn);
    if (tookMs >= 0) return this.liveness.onSample(tookMs);
    const idleMs = this.liveness.onPong(opaque);
    if (idleMs >= 0) this.pacer.onIdlePong(idleMs);
  }

  private onGoAway(code: number): void {
    if (code === GoAwayCode.NORMAL) {
      if (this.goAwayReceived) return;
      this.goAwayReceived = true;
      guard(() => this.owner.onGoAway?.());
      return;
    }
    this.finish(starlaneError('ERR_STARLANE_GO_AWAY', `the peer reports error ${code}`));
    this.carrier.end();
  }

  // --- what streams ask for ---

  get growthRoundTripUs(): number {
    return this.backlog.isStanding ? 0 : this.liveness.workingRttUs;
  }

  nowUs(): number {
    return (this.options.timers.now() * 1000) & 0x7fff_ffff;
  }

  owe(stream: MuxStream): void {
    this.owed.add(stream);
    this.output.scheduleFlush();
  }

  onAccepted(): void {
    this.streams.accepted();
  }

  onForwarding(): void {
    if (!this.lendsReads) this.lendsReads = this.carrier.lend();
  }

  forget(stream: MuxStream): void {
    if (!this.streams.remove(stream)) return;
    if (this.reading === stream) {
      this.reading = null;
      this.finAfterPayload = false;
    }
    if (stream.grownBytes > 0) this.budget.release(stream.grownBytes);
    if (this.phase === Phase.CLOSING) this.endIfDrained();
  }

  expectEnd(stream: MuxStream): void {
    this.streams.expectEnd(stream);
  }

  onOverBudget(stream: MuxStream): void {
    // What the peer has reset already is over, and only waits to be told.
    this.resets.tellWhile(() => this.budget.isExceeded);
    if (!this.budget.isExceeded) return;
    const largest = this.streams.largestReader(stream);
    log('over the receive budget: stream %d with %d unread bytes is reset', largest.id, largest.unreadBytes);
    largest.kill(starlaneError('ERR_STARLANE_RECEIVE_BUDGET', `${largest.unreadBytes} bytes unread`));
  }

  // --- what the output and the liveness ask for ---

  fillBatch(): void {
    const { scheduler, output } = this;
    if (scheduler.isEmpty) return this.pacer.ranDry();
    if (output.room <= 0 && !this.hasRoomForQuiet && !this.pacer.takeTurn()) return;
    const frameBytes = this.pacer.frameBytes;
    do {
      const stream = scheduler.next();
      if (stream === null) break;
      stream.sendQueued(Math.min(scheduler.quantumBytes, frameBytes));
      // Between the frames, not once a batch: a batch whose end alone is answered comes back as one burst.
      output.probeIfDue();
    } while (output.room > 0 || this.hasRoomForQuiet);
    if (scheduler.isEmpty) this.pacer.ranDry();
  }

  /** Streams that were quiet go beyond the limit for bulk, as small messages do that leave at once. */
  private get hasRoomForQuiet(): boolean {
    if (!this.scheduler.hasQuiet || this.output.smallRoom(false) <= 0) return false;
    this.pacer.sentSmall();
    return true;
  }

  beforeFlush(): void {
    this.owed.writeTo(this.output);
  }

  onControlFlood(): void {
    // Whoever called is in the middle of a frame: the end comes after it.
    nextTick(() => this.protocolError('more answers than it reads', 'ERR_STARLANE_CONTROL_FLOOD'));
  }

  sendPing(opaque: number): void {
    this.output.frame(FrameType.PING, Flag.SYN, SESSION_STREAM_ID, opaque);
  }

  onSilent(silentMs: number): void {
    this.destroy(starlaneError('ERR_STARLANE_KEEPALIVE', `nothing for ${Math.round(silentMs)} ms`));
  }

  // --- the end ---

  /** Ends the session for a fault of the peer: it gets a GoAway with the reason, every stream is reset. */
  private protocolError(detail: string, code: StarlaneErrorCode = 'ERR_STARLANE_PROTOCOL'): void {
    if (this.phase === Phase.CLOSED) return;
    this.goAwaySent = true;
    this.output.frame(FrameType.GO_AWAY, 0, SESSION_STREAM_ID, GoAwayCode.PROTOCOL_ERROR);
    this.output.finish();
    this.finish(starlaneError(code, detail));
    this.carrier.end();
  }

  private endIfDrained(): void {
    if (this.streams.size > 0 || this.phase !== Phase.CLOSING) return;
    // The frames that ended the last stream leave first.
    this.phase = Phase.ENDING;
    nextTick(() => {
      if (this.phase !== Phase.ENDING) return;
      this.output.finish();
      this.carrier.end(this.options.closeTimeoutMs);
    });
  }

  /** `isOwn`: the user of this session ends it at once, and wants nothing more of it. */
  private finish(error: Error | undefined, isOwn = false): void {
    if (this.phase === Phase.CLOSED) return;
    this.phase = Phase.CLOSED;
    log('closed, %d streams open: %s', this.streams.size, error?.message ?? 'in order');
    const reason = error ?? starlaneError('ERR_STARLANE_CLOSED');
    this.decoder.stop();
    this.output.stop();
    this.liveness.stop(reason);
    this.streams.stop();
    this.owed.clear();
    this.reading = null;
    this.pacer.stop();
    this.resets.stop();
    if (this.closeTimer !== null) this.options.timers.cancel(this.closeTimer);
    guard(() => this.owner.onClose(error));
    failStreams(this.streams.values(), reason, isOwn);
  }
}

// SYNs and ACKs that no frame has carried yet: each leaves alone at the end of the turn unless data has taken it along.

class OwedFlags {
  private streams: MuxStream[] = [];

  add(stream: MuxStream): void {
    this.streams.push(stream);
  }

  clear(): void {
    this.streams = [];
  }

  /** Writes those that are still owed. */
  writeTo(output: Output): void {
    if (this.streams.length === 0) return;
    const owing = this.streams;
    this.streams = [];
    for (const stream of owing) {
      // Queued data will carry it. Alone, the SYNs of a burst would fill the peer's backlog ahead of what they open for.
      if (stream.isClosed || stream.queuedBytes > 0) continue;
      const flags = stream.takeOwedFlags();
      if (flags !== 0) output.frame(FrameType.WINDOW_UPDATE, flags, stream.id, 0);
    }
  }
}

// The end of a session for its streams. A million of them are told over many turns of the event loop, so that the
// process goes on meanwhile.

/** Streams that are told in one turn. */
const STREAMS_PER_TURN = 1000;

/** The first ones are told before this returns. `isOwn`: of MuxStream.fail. */
function failStreams(streams: IterableIterator<MuxStream>, reason: Error, isOwn: boolean): void {
  for (let told = 0; told < STREAMS_PER_TURN; told++) {
    const next = streams.next();
    if (next.done) return;
    next.value.fail(reason, ResetReason.LINK_LOST, isOwn);
  }
  setImmediate(failStreams, streams, reason, isOwn);
}
