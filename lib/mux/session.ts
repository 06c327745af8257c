// One yamux session over one Duplex: dispatches the frames of the peer, keeps the table of streams, decides what leaves when, and
// ends everything in order. It knows no nodes, names or routes, and never stops reading the Duplex because of one stream.

import type { Duplex } from 'node:stream';
import { type StarlaneErrorCode, starlaneError } from '../errors.js';
import { debug } from '../util/runtime/debug.js';
import { nextTick, setImmediate } from '../util/runtime/real-timers.js';
import { guard } from '../util/runtime/throw-later.js';
import type { Timer } from '../util/timers.js';
import { FrameDecoder, type FrameHandlers } from '../wire/frame-decoder.js';
import { Flag, FrameType, GoAwayCode, SESSION_STREAM_ID } from '../wire/header.js';
import { copiesWrites, DuplexTransport, isEncrypted } from './duplex-transport.js';
import { Liveness } from './liveness/liveness.js';
import { Output } from './send/output.js';
import { Pacer } from './send/pacer.js';
import { Scheduler, SHARED_QUANTUM_BYTES } from './send/scheduler.js';
import { resolveSessionOptions, type SessionOptions } from './session-options.js';
import { inputReads } from './stream/deferred-events.js';
import { ResetReason, Resets, readResetReason, reasonOfLoss } from './stream/resets.js';
import type { MuxStream, StreamSink } from './stream/stream.js';
import { afterFlags, INVALID_STATE, mayReceive, StreamState } from './stream/stream-state.js';
import { StreamTable } from './stream/stream-table.js';
import { ReceiveBudget, ReceiverLoad } from './stream/window.js';

/** Called with what concerns a session as a whole. */
export interface SessionOwner {
  /** The peer opened a stream: set its sink, then accept() or reset() it, now or later. */
  onStream(stream: MuxStream): void;
  /** The peer accepts no more opens. */
  onGoAway?(): void;
  /** The session has ended. Called once; `error` is undefined when both sides ended it in order. */
  onClose(error: Error | undefined): void;
}

const log = debug('mux');

const Phase = { OPEN: 0, CLOSING: 1, ENDING: 2, CLOSED: 3 } as const;

/** Streams that fail in one turn of the event loop when the session ends. */
const FAILURES_PER_TURN = 1000;

export class MuxSession implements FrameHandlers {
  readonly options: SessionOptions;
  readonly output: Output;
  readonly scheduler = new Scheduler<MuxStream>();
  readonly budget: ReceiveBudget;
  readonly streams: StreamTable;
  readonly liveness: Liveness;
  readonly decoder = new FrameDecoder(this);
  /** How far the receive window of a stream may grow, in bytes. */
  readonly maxWindowBytes: number;
  /** Whether the peer is Starlane: it takes a FIN on a frame with payload as coming after it, and a reset with a reason. */
  readonly starlanePeer: boolean;
  /** Whether the memory of a chunk is reused as soon as the chunk has been delivered. */
  lendsReads = false;
  /** Bytes received, headers included. */
  bytesIn = 0;
  /** Called whenever a stream has left the table, and when the session has ended. */
  onStreamGone: (() => void) | null = null;

  private readonly transport: DuplexTransport;
  private readonly load = new ReceiverLoad();
  private readonly pacer: Pacer;
  private readonly resets = new Resets();
  /** Streams whose SYN or ACK no frame has carried yet. */
  private owing: MuxStream[] = [];
  /** The stream whose payload is being read; null while the payload is discarded. */
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
      () => this.liveness.lastReceivedMs,
    );
    this.output = new Output(duplex, this, copiesWrites(duplex), this.pacer, controlQueueBytes);
    this.liveness = new Liveness(timers, this, keepAliveMs, keepAliveTimeoutMs, isEncrypted(duplex));
    this.transport = new DuplexTransport(duplex, timers, this);
    if (!this.transport.isClosed) this.liveness.start();
  }

  /**
   * Opens a stream. The SYN leaves at the end of this turn, together with `first` and whatever else is written until then.
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

  /** Resolves with the time that the peer takes to answer, in ms. Rejects when the session ends first. */
  ping(): Promise<number> {
    if (this.phase >= Phase.ENDING) return Promise.reject(starlaneError('ERR_STARLANE_CLOSED'));
    return this.liveness.ping();
  }

  /** Asks the peer to open no more streams; any that it still opens are reset. Open streams continue. */
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

  /**
   * Ends the session at once, as {@link destroy}, but first hands over what waits on this stream, as far as the peer has given credit. No
   * other stream sends anything more.
   */
  abort(error: Error, last: MuxStream | undefined): void {
    if (this.phase === Phase.CLOSED) return;
    if (this.output.beginFlush(true)) {
      last?.sendLast(SHARED_QUANTUM_BYTES);
      this.output.write();
    }
    this.finish(error);
    this.transport.end(this.options.closeTimeoutMs);
  }

  /** Ends the session at once: resets all streams and destroys the Duplex. */
  destroy(error?: Error): void {
    if (this.phase === Phase.CLOSED) return;
    this.finish(error ?? starlaneError('ERR_STARLANE_CLOSED'), error === undefined);
    this.transport.destroy();
  }

  /** Bytes written to the Duplex, headers included. */
  get bytesOut(): number {
    return this.output.bytesOut;
  }

  /** The number of open streams, in either direction. */
  get streamCount(): number {
    return this.streams.size;
  }

  /** The smallest recent round trip of the link in ms, 0 before the first one is measured. */
  get rttMs(): number {
    return this.liveness.rttMs;
  }

  /** Bytes that the readers of all streams have not consumed. */
  get unreadBytes(): number {
    return this.budget.unreadBytes;
  }

  get isClosed(): boolean {
    return this.phase >= Phase.ENDING;
  }

  /** Whether the peer accepts opens. */
  get canOpen(): boolean {
    return this.phase === Phase.OPEN && !this.goAwayReceived;
  }

  // --- called by the transport ---

  /** @internal */
  onBytes(chunk: Buffer): void {
    this.bytesIn += chunk.length;
    inputReads.count++;
    this.load.onRead(chunk.length, this.transport.maxReadBytes);
    // Answers leave as soon as the chunk has been read, ahead of all bookkeeping: that is what a round trip waits for.
    this.output.gather();
    this.decoder.push(chunk);
    this.output.release();
    this.liveness.onReceived();
  }

  /** @internal The peer sends no more. */
  onInputEnd(): void {
    inputReads.count++;
    if (this.phase === Phase.ENDING || this.phase === Phase.CLOSED) return;
    this.resets.deliverAll();
    if (!this.decoder.betweenFrames || this.reading !== null) {
      return this.protocolError('the input ends inside a frame');
    }
    const inOrder = this.streams.size === 0 && (this.goAwayReceived || this.phase === Phase.CLOSING);
    this.finish(inOrder ? undefined : starlaneError('ERR_STARLANE_LINK_LOST', 'the peer ended it'));
    this.transport.end();
  }

  /** @internal The Duplex has closed, because of `error` if there is one. */
  onTransportLost(error?: Error): void {
    inputReads.count++;
    this.resets.deliverAll();
    const reason =
      error === undefined
        ? starlaneError('ERR_STARLANE_LINK_LOST')
        : starlaneError('ERR_STARLANE_TRANSPORT', error.message, error);
    // A failure after the last stream has ended and everything has been sent costs nothing.
    this.finish(this.phase === Phase.ENDING ? undefined : reason);
  }

  // --- called by the decoder ---

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
    if (stream !== null && this.resets.size > 0 && this.resets.deliver(stream)) stream = null;
    if (flags & Flag.SYN) {
      if (stream !== null) return this.protocolError(`SYN for stream ${streamId}, which is open`);
      if (!this.streams.isPeers(streamId)) return this.protocolError(`SYN for stream ${streamId}, an id of this side`);
      stream = this.incoming(streamId);
    }
    this.reading = null;
    // A reset may cross frames that are already on their way: frames for closed streams are ignored, as in hashicorp/yamux.
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
      return this.resets.add(stream, reason, this.streams.isPeers(stream.id));
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
    this.transport.end();
  }

  // --- called by streams ---

  /**
   * @internal Returns the round trip by which windows grow, in microseconds; 0 while they must not grow. May send a ping to
   * measure it again.
   */
  measureGrowthRttUs(): number {
    return this.load.isBehind ? 0 : this.liveness.measureWorkingRttUs();
  }

  /** @internal A clock in microseconds that wraps at 2^31. */
  nowUs(): number {
    return (this.options.timers.now() * 1000) & 0x7fff_ffff;
  }

  /** @internal Returns tenths of a second by the clock of the timers; they wrap after seven years. */
  nowTenths(): number {
    return (this.options.timers.now() / 100) | 0;
  }

  /** @internal The stream owes a SYN or ACK, which leaves at the end of the turn unless a frame has carried it by then. */
  owe(stream: MuxStream): void {
    this.owing.push(stream);
    this.output.scheduleFlush();
  }

  /** @internal Streams are forwarded from now on: the memory of what arrives can be reused. */
  lendReads(): void {
    if (!this.lendsReads) this.lendsReads = this.transport.lendReads();
  }

  /** @internal The stream is closed and leaves the table. */
  forget(stream: MuxStream): void {
    if (!this.streams.remove(stream)) return;
    if (this.reading === stream) {
      this.reading = null;
      this.finAfterPayload = false;
    }
    if (stream.grownBytes > 0) this.budget.release(stream.grownBytes);
    if (this.phase === Phase.CLOSING) this.endIfDrained();
    if (this.onStreamGone !== null) this.onStreamGone();
  }

  /** @internal More is unread than the session may hold, because of `stream`. */
  onOverBudget(stream: MuxStream): void {
    // Streams that the peer has reset only wait for their notification: they go first.
    this.resets.deliverWhile(() => this.budget.isExceeded);
    if (!this.budget.isExceeded) return;
    const largest = this.streams.largestReader(stream);
    log('over the receive budget: stream %d with %d unread bytes is reset', largest.id, largest.unreadBytes);
    largest.destroy(starlaneError('ERR_STARLANE_RECEIVE_BUDGET', `${largest.unreadBytes} bytes unread`));
  }

  // --- sending ---

  /**
   * Hands the batch to the Duplex, after streams have filled it. Does nothing while the Duplex is blocked, unless `force` is set.
   */
  flush(force = false): void {
    const { output } = this;
    if (!output.beginFlush(force)) return;
    this.serveStreams();
    if (this.owing.length > 0) this.writeOwedFlags();
    output.probeIfDue();
    output.write();
  }

  /** Lets streams with queued data write a frame each in turn, as long as there is room. */
  private serveStreams(): void {
    const { scheduler, output, pacer } = this;
    if (scheduler.isEmpty) return pacer.ranDry();
    if (output.room <= 0 && !this.takeRoomForQuiet() && !pacer.takeTurn()) return;
    const { frameBytes } = pacer;
    do {
      const stream = scheduler.next();
      if (stream === null) break;
      stream.sendQueued(Math.min(scheduler.quantumBytes, frameBytes));
      // Between the frames, not once a batch: if only the end of a batch is answered, its data comes back as one burst.
      output.probeIfDue();
    } while (output.room > 0 || this.takeRoomForQuiet());
    if (scheduler.isEmpty) pacer.ranDry();
  }

  /** Takes room for a stream that was quiet. Such streams may exceed the limit for bulk, as small messages that leave at once do. */
  private takeRoomForQuiet(): boolean {
    if (!this.scheduler.hasQuiet || this.output.smallRoom(false) <= 0) return false;
    this.pacer.sentSmall();
    return true;
  }

  /** Writes the SYNs and ACKs that no data has carried. */
  private writeOwedFlags(): void {
    const { owing, output } = this;
    this.owing = [];
    for (const stream of owing) {
      // Queued data will carry the flag. Alone, the SYNs of a burst would fill the peer's backlog ahead of the data that belongs to them.
      if (stream.isClosed || stream.queuedBytes > 0) continue;
      const flags = stream.takeOwedFlags();
      if (flags !== 0) output.frame(FrameType.WINDOW_UPDATE, flags, stream.id, 0);
    }
  }

  /** Too many control frames wait: the peer sends what causes them and does not read. */
  onControlFlood(): void {
    // The caller is in the middle of a frame.
    nextTick(() => this.protocolError('more answers than it reads', 'ERR_STARLANE_CONTROL_FLOOD'));
  }

  // --- called by the liveness ---

  sendPing(opaque: number): void {
    this.output.frame(FrameType.PING, Flag.SYN, SESSION_STREAM_ID, opaque);
  }

  /** The peer was silent for longer than the keepalive timeout. */
  onSilent(silentMs: number): void {
    this.destroy(starlaneError('ERR_STARLANE_KEEPALIVE', `nothing for ${Math.round(silentMs)} ms`));
  }

  // --- the end ---

  /** Ends the session for a fault of the peer: sends a GoAway with the reason and resets every stream. */
  private protocolError(detail: string, code: StarlaneErrorCode = 'ERR_STARLANE_PROTOCOL'): void {
    if (this.phase === Phase.CLOSED) return;
    this.goAwaySent = true;
    this.output.frame(FrameType.GO_AWAY, 0, SESSION_STREAM_ID, GoAwayCode.PROTOCOL_ERROR);
    this.flushLast();
    this.finish(starlaneError(code, detail));
    this.transport.end();
  }

  private endIfDrained(): void {
    if (this.streams.size > 0 || this.phase !== Phase.CLOSING) return;
    // The frames that ended the last stream leave first.
    this.phase = Phase.ENDING;
    nextTick(() => {
      if (this.phase !== Phase.ENDING) return;
      this.flushLast();
      this.transport.end(this.options.closeTimeoutMs);
    });
  }

  /** Hands over all frames that wait, without the bound on bytes in flight, and takes no more. */
  private flushLast(): void {
    this.flush(true);
    this.output.seal();
  }

  /** `isLocal`: the user of this session has destroyed it and wants nothing more from it. */
  private finish(error: Error | undefined, isLocal = false): void {
    if (this.phase === Phase.CLOSED) return;
    this.phase = Phase.CLOSED;
    log('closed, %d streams open: %s', this.streams.size, error?.message ?? 'in order');
    const reason = error ?? starlaneError('ERR_STARLANE_CLOSED');
    this.decoder.stop();
    this.output.stop();
    this.liveness.stop(reason);
    this.streams.dispose();
    this.owing = [];
    this.reading = null;
    this.pacer.dispose();
    this.resets.clear();
    if (this.closeTimer !== null) this.options.timers.cancel(this.closeTimer);
    guard(() => this.owner.onClose(error));
    this.onStreamGone?.();
    failStreams(this.streams.values(), reason, reasonOfLoss(reason), isLocal);
  }
}

/** Fails the streams of a session that has ended, over many turns of the event loop: there may be a million of them. */
function failStreams(streams: IterableIterator<MuxStream>, error: Error, reason: number, isLocal: boolean): void {
  for (let failed = 0; failed < FAILURES_PER_TURN; failed++) {
    const next = streams.next();
    if (next.done) return;
    next.value.fail(error, reason, isLocal);
  }
  setImmediate(failStreams, streams, error, reason, isLocal);
}
