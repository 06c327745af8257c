// What a user gets: a Duplex that behaves like net.Socket. It knows neither links nor routes; a dialer or a server gives it its stream.

import { AsyncResource } from 'node:async_hooks';
import type { DuplexOptions } from 'node:stream';
import { resetByPeer } from '../errors.js';
import {
  kAccept,
  kAddOnClosed,
  kAttachStream,
  kBits,
  kCanSendDirectly,
  kCountRead,
  kCountSent,
  kDetachStream,
  kDispatch,
  kEarly,
  kEmitClose,
  kEmitConnect,
  kEmitData,
  kEmitEnd,
  kEstablish,
  kFailConnect,
  kFinishWrite,
  kForgetSent,
  kHasUnsent,
  kIdle,
  kIsInputWhole,
  kIsWriting,
  kLocalAddress,
  kLocalPort,
  kMarkEmitted,
  kOnAttempt,
  kOnAttemptFailed,
  kOnClosed,
  kOnEnd,
  kOnIdle,
  kOnReset,
  kOnSent,
  kPausedInput,
  kProcessRefs,
  kReadOn,
  kReceived,
  kRemote,
  kRemotePort,
  kRenew,
  kRescope,
  kRevive,
  kScope,
  kSendChunk,
  kSendEarly,
  kService,
  kSetOnClosed,
  kStart,
  kStartConnecting,
  kStartReading,
  kStream,
  kTotalDispatched,
  kTotalWritten,
  kUnref,
  kUpdateRef,
  kUse,
  kWriteEarly,
} from '../mux/hidden.js';
import type { ByteStream } from '../mux/stream/sink.js';
import { StreamDuplex, unpinned } from '../mux/stream-duplex.js';
import { withoutContext } from '../util/runtime/no-context.js';
import { closedBeforeConnection, socketClosed } from '../util/runtime/node-errors.js';
import type { ProcessRefs } from '../util/runtime/process-refs.js';
import { nextTick, setImmediate } from '../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/runtime/shown.js';
import { throwLater } from '../util/runtime/throw-later.js';
import { type PeerInfo, peerInfo, type RemoteEndpoint } from './endpoints.js';
import { checkTimeout, IdleTimeout } from './idle-timeout.js';
import { extendWraps, IS_SOCKET, keepWrapListeners } from './stream-wrap.js';

export interface SocketOptions {
  /** Whether the writing half stays open when the peer has ended its own. Default false, as net.Socket. */
  allowHalfOpen?: boolean | undefined;
  /** Bytes buffered in each direction before `write` returns false and reading pauses. Default that of Node's streams. */
  highWaterMark?: number | undefined;
}

/** Shared by all sockets with defaults, which saves an object for each. */
const DEFAULTS: DuplexOptions = Object.freeze({ allowHalfOpen: false, autoDestroy: true, emitClose: false });
const HALF_OPEN: DuplexOptions = Object.freeze({ ...DEFAULTS, allowHalfOpen: true });

function duplexOptions(options: SocketOptions | undefined, streamOptions: DuplexOptions | undefined): DuplexOptions {
  if (options === undefined) return DEFAULTS;
  const base = options.allowHalfOpen ? HALF_OPEN : DEFAULTS;
  if (streamOptions !== undefined) return { ...streamOptions, ...base };
  return options.highWaterMark === undefined ? base : { ...base, highWaterMark: options.highWaterMark };
}

type WriteCallback = (error?: Error | null) => void;

const Bit = {
  /** Dialled, and not answered yet. */
  CONNECTING: 0x1,
  /** Has been connected once. */
  CONNECTED: 0x2,
  /** Keeps the process running. */
  HAS_REF: 0x4,
  /** unref() was called. */
  UNREF: 0x8,
  /** The peer gets a reset when the socket is destroyed. */
  RESET: 0x10,
  /** The user has begun to read. */
  ASKED: 0x20,
} as const;

/**
 * What arrives on a socket that was paused before it was connected, as by pauseOnConnect, until the user reads. A kernel keeps it outside
 * net.Socket: it does not count as read, and 'end' waits behind it. Its credit waits too, so that there is never more of it than
 * the window of the stream.
 */
class PausedInput {
  readonly chunks: Buffer[] = [];
  /** The peer has ended after these chunks. */
  isEnded = false;

  push(chunk: Buffer): void {
    this.chunks.push(unpinned(chunk));
  }
}

// The getters of addresses and counts return undefined on the prototype, as those of net.Socket do: tools that mock or inspect classes
// read them there.
export class Socket extends StreamDuplex {
  /** The server that accepted this socket, as for net.Socket: a net.Server if that was bound. Null for dialled sockets. */
  server: unknown = null;
  private [kReceived] = 0;
  private [kLocalPort] = 0;
  private [kRemotePort] = 0;
  /** The idle timeout in milliseconds, as set by setTimeout; undefined before that. */
  timeout: number | undefined = undefined;
  /** @internal */
  [kRemote]: RemoteEndpoint | null = null;
  /** @internal */
  [kService] = '';
  private [kBits] = 0;
  /**
   * What was written before the socket is connected. It is sent with the open, and kept to be sent again if another
   * instance has to be tried.
   */
  private [kEarly]: readonly Buffer[] | null = null;
  private [kIdle]: IdleTimeout | null = null;
  /** What has arrived while the socket was paused from the start. */
  protected [kPausedInput]: PausedInput | null = null;
  private [kProcessRefs]: ProcessRefs | null;
  /** Called once when the socket has closed. */
  private [kOnClosed]: (() => void) | null = null;

  /**
   * @internal Sockets come from dial and from servers. `processRefs` null: it does not keep the process running until kUse is called.
   * `scope`: the async context of the server that accepts it.
   */
  constructor(
    options: SocketOptions | undefined,
    processRefs: ProcessRefs | null,
    streamOptions?: DuplexOptions,
    scope?: AsyncResource,
  ) {
    super(duplexOptions(options, streamOptions), scope);
    this[kProcessRefs] = processRefs;
    this[kUpdateRef]();
  }

  /** @internal */
  get [IS_SOCKET](): boolean {
    return true;
  }

  /** The state of the connection, as that of net.Socket. */
  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this[kBits] & Bit.CONNECTING) return 'opening';
    if (this.readable && this.writable) return 'open';
    if (this.readable) return 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  /** Dialled and not answered yet. */
  get connecting(): boolean {
    return (this[kBits] & Bit.CONNECTING) !== 0;
  }

  /** Not connected: not yet, or no longer. */
  get pending(): boolean {
    return (this[kBits] & Bit.CONNECTED) === 0 || this.destroyed;
  }

  /** The number of bytes received. */
  get bytesRead(): number {
    return this[kReceived];
  }

  /** The number of bytes written, including those in buffers. */
  get bytesWritten(): number {
    const { [kTotalWritten]: totalWritten } = this;
    return Number.isNaN(totalWritten) ? (undefined as unknown as number) : totalWritten;
  }

  /** An old name of `connecting` that libraries read. */
  get _connecting(): boolean {
    return this.connecting;
  }

  /** The number of written bytes that have left the buffer of the socket. Libraries read it on net.Socket. */
  get _bytesDispatched(): number {
    return this.connecting ? 0 : this[kTotalDispatched];
  }

  /** The number of bytes in the buffer of the socket; undefined when it is neither connected nor connecting. */
  get bufferSize(): number | undefined {
    return this.pending && !this.connecting ? undefined : this.writableLength;
  }

  /** The virtual port of this end; undefined while not connected. */
  get localPort(): number | undefined {
    return this[kLocalAddress]?.port;
  }

  /** The virtual port of the other end; undefined before the socket is connected. */
  get remotePort(): number | undefined {
    return this[kRemote] ? this[kRemotePort] : undefined;
  }

  /** `@` and the id of this node, or an IPv4 address for it (option `socketAddresses`); undefined while not connected. */
  get localAddress(): string | undefined {
    return this[kLocalAddress]?.address;
  }

  /** `@` and the id of the node at the other end, or an IPv4 address for it; undefined before the socket is connected. */
  get remoteAddress(): string | undefined {
    const { [kRemote]: remote } = this;
    return remote ? remote.addresses.of(remote.peerId) : undefined;
  }

  /** The kind of addresses: 'Starlane' or 'IPv4'; undefined while not connected. */
  get localFamily(): string | undefined {
    return this[kLocalAddress]?.family;
  }

  /** The kind of addresses: 'Starlane' or 'IPv4'; undefined before the socket is connected. */
  get remoteFamily(): string | undefined {
    return this[kRemote] ? this[kRemote].addresses.family : undefined;
  }

  /** The node at the other end and the relays in between; undefined before the socket is connected. */
  get peer(): PeerInfo | undefined {
    return this[kRemote] ? peerInfo(this[kRemote], this[kService]) : undefined;
  }

  /** Whether the node at the other end has proved to be {@link peer}; false while not connected. */
  get verified(): boolean {
    return this[kRemote]?.isVerified === true;
  }

  /**
   * Whether the data between the two nodes is encrypted from end to end, so that relays can neither read nor alter it; false while not
   * connected.
   */
  get secure(): boolean {
    return this[kRemote]?.isSecure === true;
  }

  /** Returns the address of this end, as net.Socket does; an empty object while not connected. */
  address(): { address: string; family: string; port: number } | Record<string, never> {
    return this[kLocalAddress] ?? {};
  }

  /**
   * Emits 'timeout' after `timeoutMs` milliseconds without a byte received or sent; the socket stays open. 0 turns it off. More than
   * 2147483647, the longest timer of Node, is cut to that.
   * @throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE as net.Socket does
   */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (this.destroyed) return this;
    checkTimeout(timeoutMs, callback);
    this.timeout = timeoutMs;
    this[kIdle]?.dispose();
    // The context of the event is that of the call, as for a timer.
    const scope = new AsyncResource('STARLANETIMEOUT');
    const onIdle = (): void => scope.runInAsyncScope(this[kOnIdle], this);
    this[kIdle] = timeoutMs === 0 ? null : new IdleTimeout(timeoutMs, onIdle);
    if (callback !== undefined) {
      if (timeoutMs === 0) this.removeListener('timeout', callback);
      else this.once('timeout', callback);
    }
    return this;
  }

  /** Has no effect: streams have no Nagle algorithm; what is written in one turn of the event loop leaves together. */
  setNoDelay(_noDelay?: boolean): this {
    return this;
  }

  /** Has no effect: the link detects a dead peer for all of its streams. */
  setKeepAlive(_enable?: boolean, _initialDelayMs?: number): this {
    return this;
  }

  override removeAllListeners(event?: string | symbol): this {
    keepWrapListeners(this, () => super.removeAllListeners(event));
    return this;
  }

  override pause(): this {
    // node:tls and node:http2 call this first when they wrap a socket.
    extendWraps();
    return super.pause();
  }

  /** Keeps the process running again while the socket is active, which is the default. */
  ref(): this {
    this[kBits] &= ~Bit.UNREF;
    this[kUpdateRef]();
    return this;
  }

  /** Lets the process end while the socket is open. */
  unref(): this {
    this[kBits] |= Bit.UNREF;
    this[kUpdateRef]();
    return this;
  }

  /** Destroys the socket once everything written has left. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  /**
   * Closes at once; the other end sees ECONNRESET. While connecting, the connection is waited for, as net.Socket does. On
   * a socket that is not connected the error is ERR_SOCKET_CLOSED.
   */
  resetAndDestroy(): this {
    if (this.pending && !this.connecting) return this.destroy(socketClosed());
    this[kBits] |= Bit.RESET;
    if (this.connecting) this.once('connect', () => this.destroy());
    else this.destroy();
    return this;
  }

  // --- for diallers and servers ---

  /** @internal Dialled: nothing is connected yet, writes are welcome. */
  [kStartConnecting](): void {
    this[kBits] |= Bit.CONNECTING;
    this[kUpdateRef]();
  }

  /** @internal A stream has been opened for this socket; its answer still belongs to the dialler. */
  [kAttachStream](stream: ByteStream): void {
    this[kStream] = stream;
    this[kSendEarly]();
  }

  /** @internal The attempt failed: what was written is kept for the next one. */
  [kDetachStream](): void {
    this[kStream] = null;
    this[kForgetSent]();
  }

  /** @internal The stream of {@link attachStream} is connected: the socket is its sink from now on. */
  [kEstablish](remote: RemoteEndpoint, service: string, localPort: number, remotePort: number): void {
    this[kStart](remote, service, localPort, remotePort);
    this[kEarly] = null;
    this[kScope].runInAsyncScope(this[kEmitConnect], this);
  }

  /** @internal Around a stream that a peer opened. */
  [kAccept](stream: ByteStream, remote: RemoteEndpoint, service: string, localPort: number, remotePort: number): void {
    this[kStream] = stream;
    this[kStart](remote, service, localPort, remotePort);
    // 'connection'.
    this[kMarkEmitted]();
  }

  /** @internal Makes the current async context that of all events from now on. */
  [kRescope](): void {
    this[kScope] = new AsyncResource('STARLANESOCKET');
  }

  /** @internal A node is asked for the service, or was no good. */
  [kOnAttempt](_nodeId: string, _port: number): void {}
  [kOnAttemptFailed](_error: NodeJS.ErrnoException): void {}

  private [kEmitConnect](): void {
    this[kMarkEmitted]();
    this.emit('connect');
    this.emit('ready');
    if (!this[kHasUnsent]) this[kFinishWrite](null);
  }

  /** @internal Called when the dial has failed. */
  [kFailConnect](error: Error): void {
    this[kScope].runInAsyncScope(this.destroy, this, error);
  }

  /** @internal Sets the function that is called once when the socket is destroyed. */
  [kSetOnClosed](callback: () => void): void {
    this[kOnClosed] = callback;
  }

  /** @internal Adds a function to be called with that of {@link kSetOnClosed}. */
  [kAddOnClosed](callback: () => void): void {
    const { [kOnClosed]: first } = this;
    this[kOnClosed] = (): void => {
      first?.();
      callback();
    };
  }

  /** @internal */
  [kEmitClose](hadError: boolean): void {
    this[kScope].runInAsyncScope(this.emit as (...args: unknown[]) => boolean, this, 'close', hadError);
  }

  protected [kCountRead](bytes: number): void {
    this[kReceived] += bytes;
    if (this[kIdle] !== null) this[kIdle].touch();
  }

  protected [kOnIdle](): void {
    this.emit('timeout');
  }

  // --- the Duplex ---

  protected override [kEmitData](stream: ByteStream, chunk: Buffer): void {
    const pausedInput = this[kPausedInput];
    if (pausedInput !== null) {
      pausedInput.push(chunk);
      return;
    }
    this[kCountRead](chunk.length);
    super[kEmitData](stream, chunk);
    if (this.readableLength > 0) this[kUpdateRef]();
  }

  protected override [kEmitEnd](stream: ByteStream): void {
    const pausedInput = this[kPausedInput];
    if (pausedInput === null) super[kEmitEnd](stream);
    else pausedInput.isEnded = true;
  }

  /** @internal */
  override [kOnEnd](stream: ByteStream): void {
    super[kOnEnd](stream);
    this[kUpdateRef]();
  }

  override read(size?: number): unknown {
    const chunk = super.read(size);
    if ((this[kBits] & Bit.HAS_REF) === 0) this[kUpdateRef]();
    return chunk;
  }

  override resume(): this {
    super.resume();
    this[kUpdateRef]();
    return this;
  }

  protected override [kDispatch](bytes: number, callback: WriteCallback): void {
    super[kDispatch](bytes, callback);
    this[kUpdateRef]();
  }

  protected override [kFinishWrite](error: Error | null): void {
    super[kFinishWrite](error);
    if (this[kIsInputWhole]) this[kUpdateRef]();
  }

  override _read(): void {
    this[kBits] |= Bit.ASKED;
    const { [kStream]: stream } = this;
    const pausedInput = this[kPausedInput];
    if (pausedInput === null) return;
    this[kPausedInput] = null;
    if (stream === null) return;
    for (const chunk of pausedInput.chunks) this[kEmitData](stream, chunk);
    if (pausedInput.isEnded) this[kEmitEnd](stream);
    this[kUpdateRef]();
  }

  override [kOnSent](stream: ByteStream, bytes: number): void {
    if (this[kIdle] !== null) this[kIdle].touch();
    // While connecting, the callback waits for the connection, as that of net.Socket does.
    if (this[kBits] & Bit.CONNECTING) this[kCountSent](bytes);
    else super[kOnSent](stream, bytes);
  }

  override [kOnReset](stream: ByteStream, cause: Error): void {
    super[kOnReset](stream, resetByPeer(cause));
  }

  override [kReadOn](stream: ByteStream, cause: Error): boolean {
    if (!super[kReadOn](stream, resetByPeer(cause))) return false;
    return true;
  }

  protected override get [kCanSendDirectly](): boolean {
    return (this[kBits] & Bit.CONNECTING) === 0 && this[kIdle] === null;
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: WriteCallback): void {
    if (this[kIdle] !== null) this[kIdle].touch();
    if (this[kBits] & Bit.CONNECTING) this[kWriteEarly]([chunk], callback);
    else if (this[kStream] === null) callback(socketClosed());
    else super._write(chunk, encoding, callback);
  }

  override _writev(items: Array<{ chunk: Buffer; encoding: BufferEncoding }>, callback: WriteCallback): void {
    if (this[kIdle] !== null) this[kIdle].touch();
    if (this[kBits] & Bit.CONNECTING) {
      const chunks = items.map(({ chunk }) => chunk);
      this[kWriteEarly](chunks, callback);
    } else if (this[kStream] === null) callback(socketClosed());
    else super._writev(items, callback);
  }

  override _final(callback: WriteCallback): void {
    if (this.pending) this.once('connect', () => super._final(callback));
    else super._final(callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this[kBits] & Bit.CONNECTING) {
      this[kBits] &= ~Bit.CONNECTING;
      this[kFinishWrite](closedBeforeConnection());
    }
    this[kIdle]?.dispose();
    this[kIdle] = null;
    this[kUnref]();
    const { [kOnClosed]: onOver } = this;
    this[kOnClosed] = null;
    this[kEarly] = null;
    // Paused input is lost, as other bytes that will not be read.
    if (this[kBits] & Bit.RESET || (this[kPausedInput] !== null && this[kPausedInput].chunks.length > 0))
      this[kStream]?.reset();
    this[kPausedInput] = null;
    super._destroy(error, callback);
    onOver?.();
    // After 'error', which Node emits in a tick that is queued already.
    if (this[kStream] === null) nextTick(() => this[kEmitClose](error !== null));
    else emitCloseLater(this, error !== null);
  }

  /** @internal Returns what console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    const { readyState, destroyed, peer, localPort, remotePort, verified, secure, bytesRead, bytesWritten } = this;
    const values = { readyState, destroyed, peer, localPort, remotePort, verified, secure, bytesRead, bytesWritten };
    return shown('Socket', values, depth, options, inspect);
  }

  /** Resets the state after 'close' for another connect, as net.Socket does. */
  protected [kRenew](): void {
    this[kBits] &= Bit.UNREF;
    this[kReceived] = 0;
    this[kRemote] = null;
    this[kService] = '';
    this[kEarly] = null;
    this[kRevive]();
  }

  /** Makes the socket keep the process running from now on, unless unref() was called. */
  protected [kUse](processRefs: ProcessRefs): void {
    this[kProcessRefs] = processRefs;
    this[kUpdateRef]();
  }

  private get [kLocalAddress](): { address: string; family: string; port: number } | undefined {
    const { [kRemote]: remote } = this;
    if (!remote || this.destroyed) return undefined;
    const { addresses, localId } = remote;
    return { address: addresses.of(localId), family: addresses.family, port: this[kLocalPort] };
  }

  private [kStart](remote: RemoteEndpoint, service: string, localPort: number, remotePort: number): void {
    this[kBits] = (this[kBits] & ~Bit.CONNECTING) | Bit.CONNECTED;
    this[kRemote] = remote;
    this[kService] = service;
    this[kLocalPort] = localPort;
    this[kRemotePort] = remotePort;
    if (this[kStream] !== null) this[kStream].sink = this;
    // net.Socket reads nothing while it is paused, so that nothing counts as read.
    if ((this[kBits] & Bit.ASKED) === 0 && this.isPaused()) this[kPausedInput] = new PausedInput();
    else this[kStartReading]();
    this[kUpdateRef]();
    if (this[kIdle] !== null) this[kIdle].touch();
  }

  private [kWriteEarly](chunks: readonly Buffer[], callback: WriteCallback): void {
    this[kEarly] = chunks;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    this[kDispatch](bytes, callback);
    if (this[kStream] !== null) this[kSendEarly]();
  }

  private [kSendEarly](): void {
    if (this[kEarly] === null) return;
    for (const chunk of this[kEarly]) this[kSendChunk](chunk);
  }

  /**
   * Keeps the process running while the socket is active, as a handle of the system does: while it connects, while it writes, and while it
   * reads, which is until the end of the peer, except while its read buffer is full.
   */
  private [kUpdateRef](): void {
    if (this[kProcessRefs] === null) return;
    const mayRead = (this[kBits] & Bit.CONNECTED) !== 0 && this[kPausedInput] === null && !this[kIsInputWhole];
    const isReading = mayRead && this.readableLength < this.readableHighWaterMark;
    const isActive = (this[kBits] & Bit.CONNECTING) !== 0 || isReading || this[kIsWriting];
    if (!isActive || this[kBits] & Bit.UNREF || this.destroyed) this[kUnref]();
    else if ((this[kBits] & Bit.HAS_REF) === 0) {
      this[kBits] |= Bit.HAS_REF;
      this[kProcessRefs].ref();
    }
  }

  private [kUnref](): void {
    if ((this[kBits] & Bit.HAS_REF) === 0) return;
    this[kBits] &= ~Bit.HAS_REF;
    this[kProcessRefs]?.unref();
  }
}

// 'close' comes one turn after the end of a socket, as for a handle of the system, so that code that awaits 'end' can still add a
// listener. All sockets that end in one turn emit it in one later turn, so that what their listeners send leaves together. Promises run in
// between: code that awaits the 'close' of one socket can then listen for that of the next.

/** How many promises may follow from each other between two sockets: awaiting events.once in a Promise.race takes about five. */
const PROMISE_HOPS = 8;

let closedSockets: Socket[] = [];
let hadErrors: boolean[] = [];

function emitCloseLater(socket: Socket, hadError: boolean): void {
  if (closedSockets.length === 0) withoutContext(setImmediate, emitAllClosed);
  closedSockets.push(socket);
  hadErrors.push(hadError);
}

async function emitAllClosed(): Promise<void> {
  const sockets = closedSockets;
  const errors = hadErrors;
  closedSockets = [];
  hadErrors = [];
  for (let index = 0; index < sockets.length; index++) {
    try {
      sockets[index][kEmitClose](errors[index]);
    } catch (error) {
      throwLater(error);
    }
    if (index + 1 < sockets.length) for (let hop = 0; hop < PROMISE_HOPS; hop++) await undefined;
  }
}
