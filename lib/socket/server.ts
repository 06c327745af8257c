// What bind returns: a server with the life of net.Server, over virtual ports instead of addresses.

import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import {
  kAccept,
  kAdmit,
  kAnnounce,
  kBinding,
  kCloseIfDrained,
  kCreateSocket,
  kHasRef,
  kIsFull,
  kIsUnref,
  kOnSocketClosed,
  kOpenCount,
  kOpenSockets,
  kProcessRefs,
  kRef,
  kRefuse,
  kScope,
  kSetOnClosed,
  kSocketClosedCallback,
  kSocketOptions,
  kSocketOwner,
  kStart,
  kUnref,
} from '../mux/hidden.js';
import type { ByteStream } from '../mux/stream/sink.js';
import { notRunning } from '../util/runtime/node-errors.js';
import type { ProcessRefs } from '../util/runtime/process-refs.js';
import { nextTick } from '../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/runtime/shown.js';
import type { RemoteEndpoint } from './endpoints.js';
import { Socket, type SocketOptions } from './socket.js';

export interface ServerOptions extends SocketOptions {
  /**
   * Sockets open at once; further ones are refused with ECONNREFUSED, so that a dial goes on to another instance, and
   * reported by 'drop'. Default no limit.
   */
  maxConnections?: number | undefined;
  /** Whether sockets are paused from the start, as of net.Server: nothing is read before they are resumed. Default false. */
  pauseOnConnect?: boolean | undefined;
}

/** The place where a server is bound. */
export interface Binding {
  /** The service name; empty for a bare port. */
  readonly service: string;
  readonly port: number;
  /** What sockets and servers call the node. */
  readonly address: string;
  readonly family: string;
  /** Gives the name and the port free again. */
  unbind(): void;
}

/** Where a bound server answers. `address` is `@` and the id of the node, or what stands for it (option `socketAddresses`). */
export interface ServerAddress {
  address: string;
  family: string;
  port: number;
  service: string;
}

/** What 'drop' tells about a socket that was refused. */
export interface DropInfo {
  localAddress: string;
  localPort: number;
  localFamily: string;
  remotePort: number;
  remoteAddress: string;
  remoteFamily: string;
}

/** Whatever a server of Node closes with itself. */
export interface Closable {
  close(): unknown;
}

/** Who takes the sockets of a bound server and counts them as its own: a server of Node, which may be bound to several names. */
export interface SocketOwner {
  /** What the `server` of the sockets is. */
  readonly server: unknown;
  /** Whether it has as many sockets as it may have. */
  readonly isFull: boolean;
  /** The server is bound. */
  onBound(server: Closable): void;
  /** The server is closed, and its last socket too. */
  onClosed(server: Closable): void;
  /** One more socket of the server is open. */
  onSocket(): void;
  /** One is open no longer. Not told by an event of the socket: whoever gets a socket may remove all of its listeners. */
  onSocketClosed(): void;
}

/** Any server, whatever it says of where it is bound. */
export type AnyServer = Server<ServerAddress | string>;

export interface ServerEvents {
  connection: [socket: Socket];
  listening: [];
  drop: [info?: DropInfo];
  close: [];
  error: [error: NodeJS.ErrnoException];
}

/** `Address`: what it says of where it is bound. */
export class Server<Address = ServerAddress> extends EventEmitter<ServerEvents> {
  /** Sockets open at once, at most; undefined for no limit. */
  maxConnections: number | undefined;
  /** @internal */
  [kSocketOwner]: SocketOwner | null = null;
  protected readonly [kProcessRefs]: ProcessRefs;
  protected [kBinding]: Binding | null = null;
  private readonly [kSocketOptions]: SocketOptions | undefined;
  readonly #isPausing: boolean;
  private [kOpenCount] = 0;
  private [kHasRef] = false;
  private [kIsUnref] = false;
  private readonly [kSocketClosedCallback] = (): void => this[kOnSocketClosed]();
  /** Whom its events and those of its sockets belong to: whoever has bound it. */
  protected [kScope] = new AsyncResource('STARLANESERVER');

  /** @internal Servers come from bind. */
  constructor(options: ServerOptions | undefined, processRefs: ProcessRefs) {
    super();
    this[kProcessRefs] = processRefs;
    this.maxConnections = options?.maxConnections;
    this[kSocketOptions] =
      options?.allowHalfOpen === undefined && options?.highWaterMark === undefined
        ? undefined
        : { allowHalfOpen: options.allowHalfOpen, highWaterMark: options.highWaterMark };
    this.#isPausing = options?.pauseOnConnect === true;
  }

  /** @internal Bound: 'listening' follows in the next tick. */
  [kStart](binding: Binding): void {
    this[kBinding] = binding;
    this[kRef]();
    this[kSocketOwner]?.onBound(this);
    nextTick(() => {
      if (this[kBinding] === binding) this.emit('listening');
    });
  }

  /** @internal A circuit for this server. Null when it is refused; else the socket, not yet told to the user. */
  [kAdmit](
    stream: ByteStream,
    remote: RemoteEndpoint,
    service: string,
    localPort: number,
    remotePort: number,
  ): Socket | null {
    if (this[kBinding] === null) return null;
    if (this[kIsFull]) {
      const { addresses } = remote;
      const excess = this[kScope].runInAsyncScope(this[kRefuse], this, {
        localAddress: addresses.of(remote.localId),
        localPort,
        localFamily: addresses.family,
        remoteAddress: addresses.of(remote.peerId),
        remotePort,
        remoteFamily: addresses.family,
      });
      excess?.[kAccept](stream, remote, service, localPort, remotePort);
      return excess;
    }
    const socket = this[kScope].runInAsyncScope(this[kCreateSocket], this);
    socket[kAccept](stream, remote, service, localPort, remotePort);
    socket[kSetOnClosed](this[kSocketClosedCallback]);
    this[kOpenCount]++;
    this[kSocketOwner]?.onSocket();
    return socket;
  }

  /** @internal The circuit of an admitted socket stands. */
  [kAnnounce](socket: Socket): void {
    this[kScope].runInAsyncScope(this.emit as (...args: unknown[]) => boolean, this, 'connection', socket);
  }

  /** Whether it is bound. */
  get listening(): boolean {
    // Undefined on the prototype, which tools that mock or inspect classes read.
    return Boolean(this[kBinding]);
  }

  /** Where it is bound; null before and after. */
  address(): Address | ServerAddress | null {
    const { [kBinding]: binding } = this;
    if (binding === null) return null;
    const { address, family, port, service } = binding;
    return { address, family, port, service };
  }

  /** The number of open sockets. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    const count = this[kOpenCount];
    nextTick(() => callback(null, count));
    return this;
  }

  /** @internal Open sockets, for statistics. */
  get [kOpenSockets](): number {
    return this[kOpenCount];
  }

  /**
   * Stops answering. 'close' follows when the last socket has closed. `callback` is called then, with
   * ERR_SERVER_NOT_RUNNING when it was not bound.
   */
  close(callback?: (error?: Error) => void): this {
    const { [kBinding]: binding } = this;
    if (typeof callback === 'function') {
      this.once('close', () => {
        if (binding === null) callback(notRunning());
        else callback();
      });
    }
    this[kBinding] = null;
    binding?.unbind();
    this[kUnref]();
    this[kCloseIfDrained]();
    return this;
  }

  /** Closes and waits until it has closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this[kBinding] === null) return;
    await new Promise<void>((resolve) => this.close(() => resolve()));
  }

  /** The promise of a listener was rejected, in an emitter with `captureRejections`: as net.Server, it costs that socket. */
  [Symbol.for('nodejs.rejection')](error: Error, event: string, socket?: Socket): void {
    if (event === 'connection') socket?.destroy(error);
    else this.emit('error', error);
  }

  /** Holds the process open again, as a listening server does unless told otherwise. */
  ref(): this {
    this[kIsUnref] = false;
    this[kRef]();
    return this;
  }

  /** Lets the process end while this server listens. */
  unref(): this {
    this[kIsUnref] = true;
    this[kUnref]();
    return this;
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    const { listening, [kOpenSockets]: openSockets, maxConnections } = this;
    const values = { listening, address: this.address() ?? undefined, openSockets, maxConnections };
    return shown('Server', values, depth, options, inspect);
  }

  /** A circuit beyond maxConnections: null refuses it; a socket is announced, but does not count. */
  protected [kRefuse](info: DropInfo): Socket | null {
    this.emit('drop', info);
    return null;
  }

  /** The socket for a circuit that is admitted. */
  protected [kCreateSocket](): Socket {
    const socket = new Socket(this[kSocketOptions], this[kProcessRefs], undefined, this[kScope]);
    socket.server = this[kSocketOwner] === null ? this : this[kSocketOwner].server;
    if (this.#isPausing) socket.pause();
    return socket;
  }

  private get [kIsFull](): boolean {
    const { maxConnections, [kOpenCount]: openCount, [kSocketOwner]: owner } = this;
    // Null is no limit either, for net.Server.
    return (maxConnections != null && openCount >= maxConnections) || owner?.isFull === true;
  }

  private [kOnSocketClosed](): void {
    this[kOpenCount]--;
    this[kSocketOwner]?.onSocketClosed();
    this[kCloseIfDrained]();
  }

  private [kCloseIfDrained](): void {
    if (this[kBinding] !== null || this[kOpenCount] > 0) return;
    nextTick(() => {
      this[kSocketOwner]?.onClosed(this);
      this.emit('close');
    });
  }

  private [kRef](): void {
    // A server that is closing is held by its sockets.
    if (this[kHasRef] || this[kIsUnref] || this[kBinding] === null) return;
    this[kHasRef] = true;
    this[kProcessRefs].ref();
  }

  private [kUnref](): void {
    if (!this[kHasRef]) return;
    this[kHasRef] = false;
    this[kProcessRefs].unref();
  }
}
