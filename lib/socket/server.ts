// What bind returns: a server with the life of net.Server, over virtual ports instead of addresses.

import { EventEmitter } from 'node:events';
import type { ByteStream } from '../mux/byte-stream.js';
import { notRunning } from '../util/node-errors.js';
import type { FarEnd, KeepsAlive } from './far-end.js';
import { FAMILY, Socket, type SocketOptions } from './socket.js';

export interface ServerOptions extends SocketOptions {
  /** Sockets open at once; further ones are refused with ECONNREFUSED and reported by 'drop'. Default no limit. */
  maxConnections?: number | undefined;
}

/** The place where a server is bound. */
export interface Binding {
  /** The service name; empty for a bare port. */
  readonly service: string;
  readonly port: number;
  /** The id of the node. */
  readonly nodeId: string;
  /** Gives the name and the port free again. */
  unbind(): void;
}

/** Where a bound server answers. `address` is `@` and the id of the node. */
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
  /** @internal Whose limit counts where none is set here: the server of Node that takes the sockets. */
  limits: { maxConnections?: number } | null = null;
  protected binding: Binding | null = null;
  private readonly socketOptions: SocketOptions | undefined;
  private openCount = 0;
  private holding = false;
  private unrefed = false;
  private readonly forget = (): void => this.onSocketOver();

  /** @internal Servers come from bind. */
  constructor(
    options: ServerOptions | undefined,
    protected readonly keepsAlive: KeepsAlive,
  ) {
    super();
    this.maxConnections = options?.maxConnections;
    this.socketOptions =
      options?.allowHalfOpen === undefined && options?.highWaterMark === undefined
        ? undefined
        : { allowHalfOpen: options.allowHalfOpen, highWaterMark: options.highWaterMark };
  }

  /** @internal Bound: 'listening' follows in the next tick. */
  start(binding: Binding): void {
    this.binding = binding;
    this.hold();
    process.nextTick(() => {
      if (this.binding === binding) this.emit('listening');
    });
  }

  /** @internal A circuit for this server. Null when it is refused; else the socket, not yet told to the user. */
  admit(stream: ByteStream, far: FarEnd, service: string, localPort: number, remotePort: number): Socket | null {
    if (this.binding === null) return null;
    const most = this.maxConnections ?? this.limits?.maxConnections;
    if (most !== undefined && this.openCount >= most) {
      this.tellDrop({
        localAddress: `@${far.localId}`,
        localPort,
        localFamily: FAMILY,
        remoteAddress: `@${far.peerId}`,
        remotePort,
        remoteFamily: FAMILY,
      });
      return null;
    }
    const socket = this.createSocket();
    socket.accept(stream, far, service, localPort, remotePort);
    socket.whenOver(this.forget);
    this.openCount++;
    return socket;
  }

  /** @internal The circuit of an admitted socket stands. */
  announce(socket: Socket): void {
    this.emit('connection', socket);
  }

  /** Whether it is bound. */
  get listening(): boolean {
    return this.binding !== null;
  }

  /** Where it is bound; null before and after. */
  address(): Address | ServerAddress | null {
    const { binding } = this;
    if (binding === null) return null;
    return { address: `@${binding.nodeId}`, family: FAMILY, port: binding.port, service: binding.service };
  }

  /** The number of open sockets. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    const count = this.openCount;
    process.nextTick(() => callback(null, count));
    return this;
  }

  /** @internal Open sockets, for statistics. */
  get openSockets(): number {
    return this.openCount;
  }

  /**
   * Stops answering. 'close' follows when the last socket has closed. `callback` is called then, with
   * ERR_SERVER_NOT_RUNNING when it was not bound.
   */
  close(callback?: (error?: Error) => void): this {
    const { binding } = this;
    if (typeof callback === 'function') {
      this.once('close', () => {
        if (binding === null) callback(notRunning());
        else callback();
      });
    }
    this.binding = null;
    binding?.unbind();
    this.letGo();
    this.closeIfDrained();
    return this;
  }

  /** Closes and waits until it has closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.binding === null) return;
    await new Promise<void>((resolve) => this.close(() => resolve()));
  }

  /** The promise of a listener was rejected, in an emitter with `captureRejections`: as net.Server, it costs that socket. */
  [Symbol.for('nodejs.rejection')](error: Error, event: string, socket?: Socket): void {
    if (event === 'connection') socket?.destroy(error);
    else this.emit('error', error);
  }

  /** Holds the process open again, as a listening server does unless told otherwise. */
  ref(): this {
    this.unrefed = false;
    this.hold();
    return this;
  }

  /** Lets the process end while this server listens. */
  unref(): this {
    this.unrefed = true;
    this.letGo();
    return this;
  }

  protected tellDrop(info: DropInfo): void {
    this.emit('drop', info);
  }

  /** The socket for a circuit that is admitted. */
  protected createSocket(): Socket {
    return new Socket(this.socketOptions, this.keepsAlive);
  }

  private onSocketOver(): void {
    this.openCount--;
    this.closeIfDrained();
  }

  private closeIfDrained(): void {
    if (this.binding !== null || this.openCount > 0) return;
    process.nextTick(() => this.emit('close'));
  }

  private hold(): void {
    // A server that is closing is held by its sockets.
    if (this.holding || this.unrefed || this.binding === null) return;
    this.holding = true;
    this.keepsAlive.hold();
  }

  private letGo(): void {
    if (!this.holding) return;
    this.holding = false;
    this.keepsAlive.release();
  }
}
