// The Socket class of `node.net`: a dialled socket with all features of net.Socket. It can be created first and connected later, any number
// of times, can read into a buffer of the user (`onread`), and its events keep the async context in which it was connected, as those of
// handles of the system do (see Node's documentation of net and async_hooks).

import { AsyncResource } from 'node:async_hooks';
import { isIP, type OnReadOpts, type SocketConnectOpts } from 'node:net';
import { addAbortSignal, type DuplexOptions } from 'node:stream';
import { lookupError, type NetErrorCode, netError } from '../../errors.js';
import {
  kAsNet,
  kAttempted,
  kCountRead,
  kEmitData,
  kEmitEnd,
  kFailConnect,
  kHost,
  kIsAborted,
  kIsLookedUp,
  kOnAttempt,
  kOnAttemptFailed,
  kPausedInput,
  kReader,
  kRenew,
  kScope,
  kStartConnecting,
  kTarget,
  kUse,
  kUseFor,
} from '../../mux/hidden.js';
import type { ByteStream } from '../../mux/stream/sink.js';
import { invalidArgValue } from '../../util/runtime/node-errors.js';
import { nextTick, setImmediate } from '../../util/runtime/real-timers.js';
import { Socket, type SocketOptions } from '../socket.js';
import { type ConnectTarget, checkNumbers, connectArguments, connectTarget, noDescriptors } from './arguments.js';
import type { NetHost } from './module.js';
import { OnRead } from './on-read.js';

type WriteCallback = (error?: Error | null) => void;

/** The options of net.Socket and net.connect that have a meaning here; all others are accepted and have no effect. */
export interface NetSocketOptions extends SocketOptions {
  readableHighWaterMark?: number | undefined;
  writableHighWaterMark?: number | undefined;
  /** Destroys the socket with an AbortError. */
  signal?: AbortSignal | undefined;
  /** Data is copied into this buffer and passed to this callback instead of 'data' events. */
  onread?: OnReadOpts | undefined;
  captureRejections?: boolean | undefined;
}

export class NetSocket extends Socket {
  private readonly [kHost]: NetHost;
  private [kReader]: OnRead | null = null;
  private [kTarget]: ConnectTarget | null = null;
  /** The signal was aborted before the socket was created. */
  private readonly [kIsAborted]: boolean;
  private [kIsLookedUp] = false;
  /** Address, port and family of the last attempt. */
  private [kAttempted]: [string, number, string] | null = null;

  /** @throws ERR_INVALID_ARG_VALUE for object modes, ERR_INVALID_ARG_TYPE, ERR_STARLANE_ARGUMENT for a file descriptor */
  constructor(host: NetHost, options?: NetSocketOptions) {
    checkOptions(options);
    super(options ?? {}, null, streamOptions(options));
    this[kHost] = host;
    if (OnRead.isWanted(options?.onread)) this[kReader] = new OnRead(options.onread);
    if (options?.signal != null) addAbortSignal(options.signal, this);
    this[kIsAborted] = options?.signal?.aborted === true;
  }

  /**
   * Connects, or connects again after 'close'. Takes all forms of net.Socket.connect; arguments.ts explains the meaning of hosts, ports
   * and paths.
   * @throws ERR_MISSING_ARGS, ERR_INVALID_ARG_TYPE, ERR_SOCKET_BAD_PORT, ERR_INVALID_IP_ADDRESS
   */
  connect(options: SocketConnectOpts, connectionListener?: () => void): this;
  connect(port: number, host: string, connectionListener?: () => void): this;
  connect(port: number, connectionListener?: () => void): this;
  connect(path: string, connectionListener?: () => void): this;
  connect(...args: unknown[]): this {
    const { options, callback } = connectArguments(args);
    if (callback !== undefined) this.once('connect', callback);
    const target = connectTarget(options);
    if (this[kIsAborted]) return this;
    if (this.destroyed) this[kRenew]();
    else if (this.connecting || !this.pending) {
      const code = this.connecting ? 'EALREADY' : 'EISCONN';
      nextTick(() => this.destroy(netError(code, 'connect', where(target))));
      return this;
    }
    this[kTarget] = target;
    this[kIsLookedUp] = false;
    this[kAttempted] = null;
    this[kScope] = new AsyncResource('STARLANESOCKET');
    this[kStartConnecting]();
    this[kUse](this[kHost].processRefs);
    // Later: a server in this process would answer before the caller has added its listeners.
    setImmediate(() => {
      if (this[kTarget] === target && this.connecting) this[kHost].connect(this, target, target.localPort);
    });
    return this;
  }

  /** @internal Called when a server has accepted the socket. */
  [kUseFor](isPaused: boolean): void {
    this[kUse](this[kHost].processRefs);
    if (isPaused) this.pause();
  }

  /** Writes as any Writable does; the callback keeps the async context of the call, as for a handle of the system. */
  override write(chunk: unknown, callback?: WriteCallback): boolean;
  override write(chunk: unknown, encoding: BufferEncoding, callback?: WriteCallback): boolean;
  override write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    if (typeof encoding === 'function') return super.write(chunk, AsyncResource.bind(encoding as WriteCallback));
    const bound = typeof callback === 'function' ? AsyncResource.bind(callback as WriteCallback) : undefined;
    return super.write(chunk, encoding as BufferEncoding, bound);
  }

  override pause(): this {
    this[kReader]?.pause();
    return super.pause();
  }

  override resume(): this {
    super.resume();
    this[kReader]?.resume();
    return this;
  }

  override read(size?: number): unknown {
    this[kReader]?.resume();
    return super.read(size);
  }

  // --- for the node; all events are emitted in the async context of the user ---

  /** @internal Emits 'lookup' and 'connectionAttempt', as Node does; a path is not looked up. */
  override [kOnAttempt](nodeId: string, port: number): void {
    const { [kTarget]: target } = this;
    if (target === null || target.given.isPath) return;
    this[kScope].runInAsyncScope(() => {
      const { addresses } = this[kHost];
      const address = target.host === '' ? where(target).address : addresses.of(nodeId);
      this[kAttempted] = [address, port, addresses.family];
      if (isIP(target.given.host) === 0 && !this[kIsLookedUp]) {
        this[kIsLookedUp] = true;
        this.emit('lookup', null, address, isIP(address) || null, target.given.host);
      }
      if (this.connecting) this.emit('connectionAttempt', ...this[kAttempted]);
    });
  }

  /** @internal */
  override [kOnAttemptFailed](error: NodeJS.ErrnoException): void {
    const { [kAttempted]: attempted } = this;
    if (attempted === null || !this.connecting) return;
    this[kScope].runInAsyncScope(() => this.emit('connectionAttemptFailed', ...attempted, this[kAsNet](error)));
  }

  /** @internal */
  override [kFailConnect](error: NodeJS.ErrnoException): void {
    this[kScope].runInAsyncScope(() => {
      const failure = this[kAsNet](error);
      if (failure.syscall === 'getaddrinfo')
        this.emit('lookup', failure, undefined, undefined, this[kTarget]?.given.host);
      this.destroy(failure);
    });
  }

  protected override [kEmitEnd](stream: ByteStream): void {
    if (this[kPausedInput] === null && this[kReader]?.delayEnd(() => super[kEmitEnd](stream))) return;
    super[kEmitEnd](stream);
  }

  protected override [kEmitData](stream: ByteStream, chunk: Buffer): void {
    if (this[kReader] === null || this[kPausedInput] !== null) super[kEmitData](stream, chunk);
    else {
      this[kCountRead](chunk.length);
      this[kReader].push(this, stream, chunk);
    }
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this[kReader]?.dispose();
    super._destroy(error, callback);
  }

  /** Returns the error of a dial in the form of net: with the host as the user has written it, and failed lookups as such. */
  private [kAsNet](error: NodeJS.ErrnoException): NodeJS.ErrnoException {
    const { [kTarget]: target } = this;
    if (target === null || error.syscall !== 'connect') return error;
    const { code, cause } = error;
    if (code === 'ENOTFOUND' && !target.given.isPath) return lookupError(target.given.host, undefined, cause);
    // For a path, net reports what the file system does for a missing file.
    if (code === 'ENOTFOUND') return netError('ENOENT', 'connect', where(target), cause);
    return netError(code as NetErrorCode, 'connect', where(target), cause);
  }
}

function where(target: ConnectTarget): { address: string; port: number | undefined } {
  // Node has looked up `localhost` by then.
  const { host, port } = target.given;
  return { address: host === 'localhost' ? '127.0.0.1' : host, port };
}

function checkOptions(options: unknown): void {
  if (options === undefined || options === null) return;
  if (typeof options === 'number') throw noDescriptors();
  const record = options as Record<string, unknown>;
  for (const name of ['objectMode', 'readableObjectMode', 'writableObjectMode']) {
    if (record[name]) throw invalidArgValue(`options.${name}`, record[name], 'is not supported');
  }
  if (record.fd !== undefined || record.handle) throw noDescriptors();
  checkNumbers(record, 'keepAliveInitialDelay');
}

/** Returns the options that Node's Duplex takes. */
function streamOptions(options: NetSocketOptions | undefined): DuplexOptions {
  const { highWaterMark, readableHighWaterMark, writableHighWaterMark, captureRejections } = options ?? {};
  return { highWaterMark, readableHighWaterMark, writableHighWaterMark, captureRejections } as DuplexOptions;
}
