// The classes of `starlane/mux`: a session as an EventEmitter, and its streams as Duplexes.

import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { starlaneError } from '../errors.js';
import { nextTick } from '../util/runtime/real-timers.js';
import { guard } from '../util/runtime/throw-later.js';
import { GoAwayCode } from '../wire/header.js';
import { kAccept, kStartReading, kStream } from './hidden.js';
import { MuxSession } from './session.js';
import type { SessionOptions as AllSessionOptions } from './session-options.js';
import type { MuxStream } from './stream/stream.js';
import { StreamDuplex } from './stream-duplex.js';

/** Options of a {@link Session}. Only `client` is required; each option names its default. */
export type SessionOptions = {
  [Option in keyof Omit<AllSessionOptions, 'client' | 'timers' | 'starlanePeer' | 'firstStreamId'>]?:
    | AllSessionOptions[Option]
    | undefined;
} & {
  /** One end of a link is the client, which opens odd stream ids; the other end is the server. */
  client: boolean;
};

/** Both halves are independent: a stream may be ended and still be read. */
const STREAM_OPTIONS = Object.freeze({ allowHalfOpen: true, autoDestroy: true });

/**
 * One yamux stream as a Duplex. `end()` half-closes; `destroy()` without an error ends the stream as TCP does (a peer that
 * continues to send is reset); `destroy(error)` and {@link reset} reset it. A reset by the peer, or the end of the session,
 * emits 'error' with a code `ERR_STARLANE_*`.
 */
export class Stream extends StreamDuplex {
  /** The id of the stream in its session: odd when the client opened it. */
  readonly id: number;
  declare protected [kStream]: MuxStream | null;

  /** @internal */
  constructor(session: MuxSession, incoming?: MuxStream) {
    super(STREAM_OPTIONS);
    const stream = incoming ?? session.open(this);
    stream.sink = this;
    this[kStream] = stream;
    this.id = stream.id;
    this[kStartReading]();
  }

  /** @internal */
  [kAccept](): void {
    this[kStream]?.accept();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // A socket behaves like one of node:net, but a yamux stream reports an error to its peer by a reset.
    if (error !== null) this[kStream]?.reset();
    super._destroy(error, callback);
  }

  /** Gives the stream up at once: the peer gets a reset, this end emits only 'close'. */
  reset(): void {
    this[kStream]?.reset();
    this.destroy();
  }
}

export interface SessionEvents {
  /** The peer opened a stream. Without a listener, streams wait in the accept backlog. */
  stream: [stream: Stream];
  /** The peer accepts no more streams. */
  goaway: [];
  /** The session has failed; 'close' follows. Not thrown when there is no listener. */
  error: [error: NodeJS.ErrnoException];
  /** The session and its streams have ended. */
  close: [];
}

/** One yamux session over one reliable Duplex, which it owns from its construction on. */
export class Session extends EventEmitter<SessionEvents> {
  private readonly session: MuxSession;
  /** Streams in the accept backlog. What the peer sends meanwhile stays in their buffers. */
  private readonly waiting = new Set<Stream>();
  private closeError: Error | undefined;
  private isClosed = false;

  /** @throws ERR_STARLANE_OPTION */
  constructor(duplex: Duplex, options: SessionOptions) {
    super();
    if (!(duplex instanceof Duplex)) throw starlaneError('ERR_STARLANE_ARGUMENT', 'a session needs a Duplex');
    this.session = new MuxSession(duplex, options, {
      onStream: (stream) => this.onStream(stream),
      onGoAway: () => this.emit('goaway'),
      onClose: (error) => this.onClose(error),
    });
    (this as EventEmitter).on('newListener', (event) => {
      if (event === 'stream') nextTick(() => this.emitWaiting());
    });
  }

  /**
   * Opens a stream; it can be written at once.
   * @throws ERR_STARLANE_CLOSED, ERR_STARLANE_GO_AWAY (the peer accepts no more), ERR_STARLANE_STREAMS_EXHAUSTED
   */
  open(): Stream {
    return new Stream(this.session);
  }

  /** Resolves with the time that the peer takes to answer, in ms. Rejects with ERR_STARLANE_CLOSED when the session ends first. */
  ping(): Promise<number> {
    return this.session.ping();
  }

  /** Asks the peer to open no more streams (yamux spec, "Session termination"); open streams continue. */
  goAway(code: GoAwayCode = GoAwayCode.NORMAL): void {
    this.session.goAway(code);
  }

  /** Ends the session in order: open streams may finish within `closeTimeoutMs`. Resolves when it has ended, with or without an error. */
  close(): Promise<void> {
    if (this.isClosed) return Promise.resolve();
    this.session.close();
    return new Promise((resolve) => this.once('close', resolve));
  }

  /** Ends the session at once: resets all streams and destroys the Duplex. */
  destroy(error?: Error): void {
    this.session.destroy(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The number of open streams, in either direction. */
  get streamCount(): number {
    return this.session.streamCount;
  }

  /** The smallest recent round trip in ms, 0 before the first one is measured. */
  get rttMs(): number {
    return this.session.rttMs;
  }

  /** Bytes received, frame headers included. */
  get bytesIn(): number {
    return this.session.bytesIn;
  }

  /** Bytes sent, frame headers included. */
  get bytesOut(): number {
    return this.session.bytesOut;
  }

  /** Why the session ended; undefined while it is open, and after an end in order. */
  get error(): NodeJS.ErrnoException | undefined {
    return this.closeError;
  }

  private onStream(incoming: MuxStream): void {
    const stream = new Stream(this.session, incoming);
    if (this.listenerCount('stream') > 0 && this.waiting.size === 0) {
      stream[kAccept]();
      this.emit('stream', stream);
      return;
    }
    this.waiting.add(stream);
    stream.once('close', () => this.waiting.delete(stream));
    this.emitWaiting();
  }

  private emitWaiting(): void {
    for (const stream of this.waiting) {
      // A listener may be added with once(), for one stream only.
      if (this.listenerCount('stream') === 0) return;
      this.waiting.delete(stream);
      stream[kAccept]();
      guard(() => this.emit('stream', stream));
    }
  }

  private onClose(error: Error | undefined): void {
    this.isClosed = true;
    this.closeError = error;
    this.waiting.clear();
    nextTick(() => {
      if (error !== undefined && this.listenerCount('error') > 0) this.emit('error', error);
      this.emit('close');
    });
  }
}
