// What bind returns: a server that behaves like net.Server, on virtual ports instead of addresses.

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
  kRescope,
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
   * The number of open sockets at most. Further ones are refused with ECONNREFUSED, so that a dial tries another instance, and
   * reported by 'drop'. Default no limit.
   */
  maxConnections?: number | undefined;
  /** Whether sockets are paused from the start, as those of net.Server: nothing is read before they are resumed. Default false. */
  pauseOnConnect?: boolean | undefined;
}

/** The place where a server is bound. */
export interface Binding {
  /** The service name; empty for a bare port. */
  readonly service: string;
  readonly port: number;
  /** The address of the node, as sockets and servers give it. */
  readonly address: string;
  readonly family: string;
  /** Frees the name and the port. */
  unbind(): void;
}

/** Where a server is bound. `address` is `@` and the id of the node, or an IPv4 address for it (option `socketAddresses`). */
export interface ServerAddress {
  address: string;
  family: string;
  port: number;
  service: string;
}

/** What the event 'drop' says about a socket that was refused. */
export interface DropInfo {
  localAddress: string;
  localPort: number;
  localFamily: string;
  remotePort: number;
  remoteAddress: string;
  remoteFamily: string;
}

/** A bound server, which a server of Node closes with itself. */
export interface Closable {
  close(): unknown;
}

/** Receives the sockets of a bound server and counts them as its own: a server of Node, which may be bound to several names. */
export interface SocketOwner {
  /** The property `server` of the sockets. */
  readonly server: unknown;
  /** Whether it has reached its maxConnections. */
  readonly isFull: boolean;
  /** Called when the server is bound. */
  onBound(server: Closable): void;
  /** Called when the server and its last socket have closed. */
  onClosed(server: Closable): void;
  /** Called when a socket of the server opens. */
  onSocket(): void;
  /** Called when a socket has closed. Not by an event of the socket: its user may remove all of its listeners. */
  onSocketClosed(): void;
}

/** Any server, whatever its `address()` returns. */
export type AnyServer = Server<ServerAddress | string>;

export interface ServerEvents {
  connection: [socket: Socket, prepared?: unknown];
  listening: [];
  drop: [info?: DropInfo];
  close: [];
  error: [error: NodeJS.ErrnoException];
}

/** A bound server. `Address`: what its `address()` can return, besides a {@link ServerAddress}. */
export class Server<Address = ServerAddress> extends EventEmitter<ServerEvents> {
  /** The number of open sockets at most; undefined for no limit. */
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
  /** The async context of its events and those of its sockets: that of the code that has bound it. */
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

  /** @internal Called when it is bound: 'listening' follows in the next tick. */
  [kStart](binding: Binding): void {
    this[kBinding] = binding;
    this[kRef]();
    this[kSocketOwner]?.onBound(this);
    nextTick(() => {
      if (this[kBinding] === binding) this.emit('listening');
    });
  }

  /** @internal Accepts a circuit. Returns its socket, for which 'connection' is not emitted yet; null when the circuit is refused. */
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

  /**
   * @internal Emits 'connection' when the circuit of an accepted socket is complete.
   * @param prepared the value of `prepare`
   * @param enter calls its argument in another async context, which becomes that of the socket
   */
  [kAnnounce](socket: Socket, prepared?: unknown, enter?: (emit: () => void) => void): void {
    const args = prepared === undefined ? [socket] : [socket, prepared];
    if (enter !== undefined) {
      this[kScope].runInAsyncScope(enter, undefined, () => {
        socket[kRescope]();
        (this.emit as (...args: unknown[]) => boolean).call(this, 'connection', ...args);
      });
      return;
    }
    this[kScope].runInAsyncScope(this.emit as (...args: unknown[]) => boolean, this, 'connection', ...args);
  }

  /** Whether it is bound. */
  get listening(): boolean {
    // On the prototype it is undefined: tools that mock or inspect classes read it there.
    return Boolean(this[kBinding]);
  }

  /** Returns where it is bound; null while it is not bound. */
  address(): Address | ServerAddress | null {
    const { [kBinding]: binding } = this;
    if (binding === null) return null;
    const { address, family, port, service } = binding;
    return { address, family, port, service };
  }

  /** Calls back in the next tick with the number of open sockets. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    const count = this[kOpenCount];
    nextTick(() => callback(null, count));
    return this;
  }

  /** @internal Returns the number of open sockets, for statistics. */
  get [kOpenSockets](): number {
    return this[kOpenCount];
  }

  /**
   * Stops accepting sockets. 'close' follows when the last socket has closed. `callback` is called then, with
   * ERR_SERVER_NOT_RUNNING when the server was not bound.
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

  /** Closes the server and waits until it has closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this[kBinding] === null) return;
    await new Promise<void>((resolve) => this.close(() => resolve()));
  }

  /** Called when the promise of a listener was rejected, with `captureRejections`: destroys the socket, as net.Server does. */
  [Symbol.for('nodejs.rejection')](error: Error, event: string, socket?: Socket): void {
    if (event === 'connection') socket?.destroy(error);
    else this.emit('error', error);
  }

  /** Keeps the process running again while the server listens, which is the default. */
  ref(): this {
    this[kIsUnref] = false;
    this[kRef]();
    return this;
  }

  /** Lets the process end while the server listens. */
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

  /** Called for a circuit beyond maxConnections. Null refuses it; a socket is announced, but not counted. */
  protected [kRefuse](info: DropInfo): Socket | null {
    this.emit('drop', info);
    return null;
  }

  /** Creates the socket for a circuit that is accepted. */
  protected [kCreateSocket](): Socket {
    const socket = new Socket(this[kSocketOptions], this[kProcessRefs], undefined, this[kScope]);
    socket.server = this[kSocketOwner] === null ? this : this[kSocketOwner].server;
    if (this.#isPausing) socket.pause();
    return socket;
  }

  private get [kIsFull](): boolean {
    const { maxConnections, [kOpenCount]: openCount, [kSocketOwner]: owner } = this;
    // For net.Server, null means no limit too.
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
    // While a server closes, its sockets keep the process running.
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
