// What bind returns: a server with the life of net.Server, over virtual ports instead of addresses.

import { EventEmitter } from 'node:events';
import type { MuxStream } from '../mux/mux-stream.js';
import type { FarEnd, KeepsAlive } from './far-end.js';
import { Socket, type SocketOptions } from './socket.js';

export interface ServerOptions extends SocketOptions {
  /** Sockets open at once; further ones are refused with ECONNREFUSED and reported by 'drop'. Default no limit. */
  maxConnections?: number;
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
  localPort: number;
  remotePort: number;
  remoteAddress: string;
  remoteFamily: string;
}

export interface ServerEvents {
  connection: [socket: Socket];
  listening: [];
  drop: [info: DropInfo];
  close: [];
  error: [error: Error];
}

export class Server extends EventEmitter<ServerEvents> {
  /** Sockets open at once, at most; undefined for no limit. */
  maxConnections: number | undefined;
  private readonly socketOptions: SocketOptions | undefined;
  private binding: Binding | null = null;
  private openCount = 0;
  private holding = false;
  private unrefed = false;
  private closing = false;
  private readonly forget = (): void => this.onSocketOver();

  /** @internal Servers come from bind. */
  constructor(
    options: ServerOptions | undefined,
    private readonly keepsAlive: KeepsAlive,
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
  admit(stream: MuxStream, far: FarEnd, service: string, localPort: number, remotePort: number): Socket | null {
    if (this.binding === null) return null;
    if (this.maxConnections !== undefined && this.openCount >= this.maxConnections) {
      this.emit('drop', { localPort, remotePort, remoteAddress: `@${far.peerId}`, remoteFamily: 'Starlane' });
      return null;
    }
    const socket = new Socket(this.socketOptions, this.keepsAlive);
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
  address(): ServerAddress | null {
    const { binding } = this;
    if (binding === null) return null;
    return { address: `@${binding.nodeId}`, family: 'Starlane', port: binding.port, service: binding.service };
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
   * Stops answering. 'close' follows when the last socket has closed. `callback` is called then, or with
   * ERR_SERVER_NOT_RUNNING when it was not bound.
   */
  close(callback?: (error?: Error) => void): this {
    if (this.binding === null) {
      const error = Object.assign(new Error('Server is not running.'), { code: 'ERR_SERVER_NOT_RUNNING' });
      if (callback !== undefined) {
        if (this.closing) this.once('close', () => callback(error));
        else process.nextTick(callback, error);
      }
      return this;
    }
    if (callback !== undefined) this.once('close', () => callback());
    const { binding } = this;
    this.binding = null;
    this.closing = true;
    binding.unbind();
    this.closeIfDrained();
    return this;
  }

  /** Closes and waits until it has closed. */
  [Symbol.asyncDispose](): Promise<void> {
    return new Promise((resolve) => {
      this.close(() => resolve());
    });
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

  private onSocketOver(): void {
    this.openCount--;
    if (this.closing) this.closeIfDrained();
  }

  private closeIfDrained(): void {
    if (this.openCount > 0 || !this.closing) return;
    this.closing = false;
    this.letGo();
    process.nextTick(() => this.emit('close'));
  }

  private hold(): void {
    if (this.holding || this.unrefed || (this.binding === null && !this.closing)) return;
    this.holding = true;
    this.keepsAlive.hold();
  }

  private letGo(): void {
    if (!this.holding) return;
    this.holding = false;
    this.keepsAlive.release();
  }
}
