// What a user holds: a Duplex with the life of net.Socket. It knows neither links nor routes; a dialler or a server
// gives it its stream.

import { AsyncResource } from 'node:async_hooks';
import type { DuplexOptions } from 'node:stream';
import { resetByPeer } from '../errors.js';
import type { ByteStream } from '../mux/byte-stream.js';
import { StreamDuplex } from '../mux/stream-duplex.js';
import { closedBeforeConnection, socketClosed } from '../util/node-errors.js';
import { nextTick } from '../util/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/shown.js';
import { closeLater } from './close-queue.js';
import { type FarEnd, type KeepsAlive, type PeerInfo, peerInfo } from './far-end.js';
import { HELD, HeldInput } from './held-input.js';
import { checkTimeout, IdleTimeout } from './idle-timeout.js';
import { duplexOptions, type SocketOptions } from './socket-options.js';
import { answerWraps, IS_SOCKET } from './stream-wrap.js';

export type { SocketOptions };

type WriteCallback = (error?: Error | null) => void;

/** The kind of addresses of sockets and servers, where net has IPv4 and IPv6. */
export const FAMILY = 'Starlane';

const Bit = {
  /** Dialled, not answered yet. */
  CONNECTING: 0x1,
  /** Has been connected once. */
  CONNECTED: 0x2,
  /** Holds the process open. */
  HOLDING: 0x4,
  /** unref() was called. */
  UNREF: 0x8,
  /** The peer is to be told of a destruction by a reset. */
  RESET: 0x10,
  /** Somebody wants to read. */
  ASKED: 0x20,
} as const;

// As net.Socket's, the getters of addresses and counts answer undefined where there is no socket: tools that mock or inspect
// classes read them on the prototype.
export class Socket extends StreamDuplex {
  /** The server that accepted this socket, as of net.Socket: a net.Server if that was bound. Null for dialled sockets. */
  server: unknown = null;
  private received = 0;
  private nearPort = 0;
  private farPort = 0;
  /** The idle timeout in ms as set by setTimeout; undefined before that. */
  timeout: number | undefined = undefined;
  private far: FarEnd | null = null;
  private service = '';
  private bits = 0;
  /**
   * What was written before the connection stands. It is sent with the open, and kept to be sent again if another
   * instance has to be tried.
   */
  private early: readonly Buffer[] | null = null;
  private idle: IdleTimeout | null = null;
  /** What has arrived while nobody has wanted to read yet: paused from the start. */
  protected [HELD]: HeldInput | null = null;
  private keepsAlive: KeepsAlive | null;
  /** Called once when the socket is over, by whoever counts sockets. */
  private onOver: (() => void) | null = null;

  /**
   * @internal Sockets come from dial and from servers. `keepsAlive` null: it holds nothing until it {@link use}s some. `scope`: that of
   * the server that accepts it.
   */
  constructor(
    options: SocketOptions | undefined,
    keepsAlive: KeepsAlive | null,
    streamOptions?: DuplexOptions,
    scope?: AsyncResource,
  ) {
    super(duplexOptions(options, streamOptions), scope);
    this.keepsAlive = keepsAlive;
    this.updateHold();
  }

  /** @internal */
  get [IS_SOCKET](): boolean {
    return true;
  }

  /** Connected and not closed for either direction, or on the way there. As net.Socket's. */
  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.bits & Bit.CONNECTING) return 'opening';
    if (this.readable && this.writable) return 'open';
    if (this.readable) return 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  /** Dialled and not answered yet. */
  get connecting(): boolean {
    return (this.bits & Bit.CONNECTING) !== 0;
  }

  /** Not connected: not yet, or not any more. */
  get pending(): boolean {
    return (this.bits & Bit.CONNECTED) === 0 || this.destroyed;
  }

  /** Bytes received. */
  get bytesRead(): number {
    return this.received;
  }

  /** Bytes written, those in buffers included. */
  get bytesWritten(): number {
    const { totalWritten } = this;
    return Number.isNaN(totalWritten) ? (undefined as unknown as number) : totalWritten;
  }

  /** An old name of `connecting` that libraries read. */
  get _connecting(): boolean {
    return this.connecting;
  }

  /** Bytes written that have left the buffer of the socket. Libraries read it of net.Socket. */
  get _bytesDispatched(): number {
    return this.connecting ? 0 : this.totalDispatched;
  }

  /** Bytes that wait in the socket for the link; undefined when it is neither connected nor connecting. */
  get bufferSize(): number | undefined {
    return this.pending && !this.connecting ? undefined : this.writableLength;
  }

  /** The virtual port of this end; undefined while not connected. */
  get localPort(): number | undefined {
    return this.near?.port;
  }

  /** The virtual port of the other end; undefined before the connection stands. */
  get remotePort(): number | undefined {
    return this.far ? this.farPort : undefined;
  }

  /** `@` and the id of this node; undefined while not connected. */
  get localAddress(): string | undefined {
    return this.near?.address;
  }

  /** `@` and the id of the node at the other end; undefined before the connection stands. */
  get remoteAddress(): string | undefined {
    return this.far ? `@${this.far.peerId}` : undefined;
  }

  /** The kind of addresses: 'Starlane'; undefined while not connected. */
  get localFamily(): string | undefined {
    return this.near?.family;
  }

  /** The kind of addresses: 'Starlane'; undefined before the connection stands. */
  get remoteFamily(): string | undefined {
    return this.far ? FAMILY : undefined;
  }

  /** Who is at the other end and through whom; undefined before the connection stands. */
  get peer(): PeerInfo | undefined {
    return this.far ? peerInfo(this.far, this.service) : undefined;
  }

  /** Whether the node at the other end has proved to be {@link peer}; false while not connected. */
  get verified(): boolean {
    return this.far?.isVerified === true;
  }

  /**
   * Whether what goes between the two nodes is encrypted from end to end, so that relays can neither read nor alter it;
   * false while not connected.
   */
  get secure(): boolean {
    return this.far?.isSecure === true;
  }

  /** This end's address as net.Socket gives it; empty while not connected. */
  address(): { address: string; family: string; port: number } | Record<string, never> {
    return this.near ?? {};
  }

  /**
   * Emits 'timeout' after `timeoutMs` without a byte in or out; the socket stays open. 0 turns it off. What is longer than
   * a timer of Node can be (2147483647 ms) is cut to that.
   * @throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE as net.Socket
   */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (this.destroyed) return this;
    checkTimeout(timeoutMs, callback);
    this.timeout = timeoutMs;
    this.idle?.stop();
    // As that of a timer, the context is that of the call.
    const scope = new AsyncResource('STARLANETIMEOUT');
    const onIdle = (): void => scope.runInAsyncScope(this.onIdle, this);
    this.idle = timeoutMs === 0 ? null : new IdleTimeout(timeoutMs, onIdle);
    if (callback !== undefined) {
      if (timeoutMs === 0) this.removeListener('timeout', callback);
      else this.once('timeout', callback);
    }
    return this;
  }

  /** No effect: a stream has no Nagle algorithm; what is written in one turn of the event loop leaves together. */
  setNoDelay(_noDelay?: boolean): this {
    return this;
  }

  /** No effect: the link watches over its peer for all of its streams. */
  setKeepAlive(_enable?: boolean, _initialDelayMs?: number): this {
    return this;
  }

  override pause(): this {
    // The first that node:tls and node:http2 do with a socket.
    answerWraps();
    return super.pause();
  }

  /** Holds the process open again while something can happen to it, as a socket does unless told otherwise. */
  ref(): this {
    this.bits &= ~Bit.UNREF;
    this.updateHold();
    return this;
  }

  /** Lets the process end while this socket is open. */
  unref(): this {
    this.bits |= Bit.UNREF;
    this.updateHold();
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
    this.bits |= Bit.RESET;
    if (this.connecting) this.once('connect', () => this.destroy());
    else this.destroy();
    return this;
  }

  // --- for diallers and servers ---

  /** @internal Dialled: nothing is connected yet, writes are welcome. */
  startConnecting(): void {
    this.bits |= Bit.CONNECTING;
    this.updateHold();
  }

  /** @internal A stream has been opened for this socket; its answer still belongs to the dialler. */
  attachStream(stream: ByteStream): void {
    this.stream = stream;
    this.sendEarly();
  }

  /** @internal The attempt failed: what was written is kept for the next one. */
  detachStream(): void {
    this.stream = null;
    this.forgetSent();
  }

  /** @internal The stream of {@link attachStream} is connected: the socket is its sink from now on. */
  establish(far: FarEnd, service: string, localPort: number, remotePort: number): void {
    this.start(far, service, localPort, remotePort);
    this.early = null;
    this.scope.runInAsyncScope(this.tellConnect, this);
  }

  /** @internal Around a stream that a peer opened. */
  accept(stream: ByteStream, far: FarEnd, service: string, localPort: number, remotePort: number): void {
    this.stream = stream;
    this.start(far, service, localPort, remotePort);
    // 'connection'.
    this.hasTold();
  }

  /** @internal A node is asked for the service, or was no good. */
  onAttempt(_nodeId: string, _port: number): void {}
  onAttemptFailed(_error: NodeJS.ErrnoException): void {}

  private tellConnect(): void {
    this.hasTold();
    this.emit('connect');
    this.emit('ready');
    if (!this.hasUnsent) this.finishWrite(null);
  }

  /** @internal The dial has failed. */
  failConnect(error: Error): void {
    this.scope.runInAsyncScope(this.destroy, this, error);
  }

  /** @internal `callback` is called once, when the socket is destroyed. */
  whenOver(callback: () => void): void {
    this.onOver = callback;
  }

  /** @internal */
  tellClose(hadError: boolean): void {
    this.scope.runInAsyncScope(this.emit as (...args: unknown[]) => boolean, this, 'close', hadError);
  }

  protected countRead(bytes: number): void {
    this.received += bytes;
    if (this.idle !== null) this.idle.touch();
  }

  protected onIdle(): void {
    this.emit('timeout');
  }

  // --- the Duplex ---

  protected override tellData(stream: ByteStream, chunk: Buffer): void {
    const held = this[HELD];
    if (held !== null) {
      held.push(chunk);
      return;
    }
    this.countRead(chunk.length);
    super.tellData(stream, chunk);
    if (this.readableLength > 0) this.updateHold();
  }

  protected override tellEnd(stream: ByteStream): void {
    const held = this[HELD];
    if (held === null) super.tellEnd(stream);
    else held.isEnded = true;
  }

  /** @internal */
  override onEnd(stream: ByteStream): void {
    super.onEnd(stream);
    this.updateHold();
  }

  override read(size?: number): unknown {
    const chunk = super.read(size);
    if ((this.bits & Bit.HOLDING) === 0) this.updateHold();
    return chunk;
  }

  override resume(): this {
    super.resume();
    this.updateHold();
    return this;
  }

  protected override dispatch(bytes: number, callback: WriteCallback): void {
    super.dispatch(bytes, callback);
    this.updateHold();
  }

  protected override finishWrite(error: Error | null): void {
    super.finishWrite(error);
    if (this.isInputWhole) this.updateHold();
  }

  override _read(): void {
    this.bits |= Bit.ASKED;
    const { stream } = this;
    const held = this[HELD];
    if (held === null) return;
    this[HELD] = null;
    if (stream === null) return;
    for (const chunk of held.chunks) this.tellData(stream, chunk);
    if (held.isEnded) this.tellEnd(stream);
    this.updateHold();
  }

  override onSent(stream: ByteStream, bytes: number): void {
    if (this.idle !== null) this.idle.touch();
    // While connecting, the callback waits for the connection, as net.Socket's does.
    if (this.bits & Bit.CONNECTING) this.countSent(bytes);
    else super.onSent(stream, bytes);
  }

  override onReset(stream: ByteStream, cause: Error): void {
    super.onReset(stream, resetByPeer(cause));
  }

  override readOn(stream: ByteStream, cause: Error): boolean {
    if (!super.readOn(stream, resetByPeer(cause))) return false;
    return true;
  }

  protected override get canSendDirectly(): boolean {
    return (this.bits & Bit.CONNECTING) === 0 && this.idle === null;
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: WriteCallback): void {
    if (this.idle !== null) this.idle.touch();
    if (this.bits & Bit.CONNECTING) this.writeEarly([chunk], callback);
    else if (this.stream === null) callback(socketClosed());
    else super._write(chunk, encoding, callback);
  }

  override _writev(items: Array<{ chunk: Buffer; encoding: BufferEncoding }>, callback: WriteCallback): void {
    if (this.idle !== null) this.idle.touch();
    if (this.bits & Bit.CONNECTING) {
      const chunks = items.map(({ chunk }) => chunk);
      this.writeEarly(chunks, callback);
    } else if (this.stream === null) callback(socketClosed());
    else super._writev(items, callback);
  }

  override _final(callback: WriteCallback): void {
    if (this.pending) this.once('connect', () => super._final(callback));
    else super._final(callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.bits & Bit.CONNECTING) {
      this.bits &= ~Bit.CONNECTING;
      this.finishWrite(closedBeforeConnection());
    }
    this.idle?.stop();
    this.idle = null;
    this.letGo();
    const { onOver } = this;
    this.onOver = null;
    this.early = null;
    // Held bytes are lost as others that nobody will read.
    if (this.bits & Bit.RESET || (this[HELD] !== null && this[HELD].chunks.length > 0)) this.stream?.reset();
    this[HELD] = null;
    super._destroy(error, callback);
    onOver?.();
    // After 'error', which Node emits in the tick that is queued by now.
    if (this.stream === null) nextTick(() => this.tellClose(error !== null));
    else closeLater(this, error !== null);
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    const { readyState, destroyed, peer, localPort, remotePort, verified, secure, bytesRead, bytesWritten } = this;
    const values = { readyState, destroyed, peer, localPort, remotePort, verified, secure, bytesRead, bytesWritten };
    return shown('Socket', values, depth, options, inspect);
  }

  /** A new life after 'close', as net.Socket has with every connect. */
  protected renew(): void {
    this.bits &= Bit.UNREF;
    this.received = 0;
    this.far = null;
    this.service = '';
    this.early = null;
    this.revive();
  }

  /** The socket is in use from now on, and holds the process open unless told otherwise. */
  protected use(keepsAlive: KeepsAlive): void {
    this.keepsAlive = keepsAlive;
    this.updateHold();
  }

  private get near(): { address: string; family: string; port: number } | undefined {
    const { far } = this;
    if (!far || this.destroyed) return undefined;
    return { address: `@${far.localId}`, family: FAMILY, port: this.nearPort };
  }

  private start(far: FarEnd, service: string, localPort: number, remotePort: number): void {
    this.bits = (this.bits & ~Bit.CONNECTING) | Bit.CONNECTED;
    this.far = far;
    this.service = service;
    this.nearPort = localPort;
    this.farPort = remotePort;
    if (this.stream !== null) this.stream.sink = this;
    // As net.Socket, which reads nothing then, so that nothing counts as read.
    if ((this.bits & Bit.ASKED) === 0 && this.isPaused()) this[HELD] = new HeldInput();
    else this.startReading();
    this.updateHold();
    if (this.idle !== null) this.idle.touch();
  }

  private writeEarly(chunks: readonly Buffer[], callback: WriteCallback): void {
    this.early = chunks;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    this.dispatch(bytes, callback);
    if (this.stream !== null) this.sendEarly();
  }

  private sendEarly(): void {
    if (this.early === null) return;
    for (const chunk of this.early) this.sendChunk(chunk);
  }

  /**
   * A socket holds the process while something can happen to it, as a handle of the system does: while it connects, while a write is
   * going on, and while it reads: until the end of the peer, and not while what has come is not taken.
   */
  private updateHold(): void {
    if (this.keepsAlive === null) return;
    const mayRead = (this.bits & Bit.CONNECTED) !== 0 && this[HELD] === null && !this.isInputWhole;
    const isReading = mayRead && this.readableLength < this.readableHighWaterMark;
    const isActive = (this.bits & Bit.CONNECTING) !== 0 || isReading || this.isWriting;
    if (!isActive || this.bits & Bit.UNREF || this.destroyed) this.letGo();
    else if ((this.bits & Bit.HOLDING) === 0) {
      this.bits |= Bit.HOLDING;
      this.keepsAlive.hold();
    }
  }

  private letGo(): void {
    if ((this.bits & Bit.HOLDING) === 0) return;
    this.bits &= ~Bit.HOLDING;
    this.keepsAlive?.release();
  }
}
