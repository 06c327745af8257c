// A server of Node (net, http, https, http2) as the handler of a bound server: it gets the sockets as if it had accepted them itself. It
// emits 'listening' (from then on http counts and times its sockets), counts and limits its sockets, and its close() closes what
// it is bound to.

import { EventEmitter } from 'node:events';
import { Server as NodeServer } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import { starlaneError } from '../errors.js';
import { kSocketOwner } from '../mux/hidden.js';
import type { Closable, Server, ServerOptions, SocketOwner } from './server.js';
import type { Socket } from './socket.js';

/** Receives the sockets of a server: a function, or a net.Server or http.Server, which gets 'connection' events. */
export type BindHandler = ((socket: Socket, prepared?: unknown) => void) | EventEmitter;

/** Members of net.Server that its types leave out: it counts its sockets, and emits 'close' when none are open. */
interface CountingServer extends NodeServer {
  _connections: number;
  _emitCloseIfDrained(): void;
}

/** Options of its sockets that a net.Server has as properties, which its types leave out. */
interface NodeSocketOptions {
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean;
  highWaterMark?: number;
}

/** Returns the options of the server for a handler: what they leave out is taken from a server of Node. */
export function optionsFor<T extends ServerOptions>(
  options: T | undefined,
  handler: BindHandler | undefined,
): T | undefined {
  if (!(handler instanceof NodeServer)) return options;
  const defaults = handler as NodeSocketOptions;
  return {
    ...options,
    allowHalfOpen: options?.allowHalfOpen ?? Boolean(defaults.allowHalfOpen),
    pauseOnConnect: options?.pauseOnConnect ?? Boolean(defaults.pauseOnConnect),
    highWaterMark: options?.highWaterMark ?? unlessDefault(defaults.highWaterMark),
  } as T;
}

/** Returns undefined for the default of Node, since sockets with defaults share one options object. */
function unlessDefault(highWaterMark: number | undefined): number | undefined {
  return highWaterMark === getDefaultHighWaterMark(false) ? undefined : highWaterMark;
}

/** Emits 'error' after a failed bind: on the server, or else on its handler. Returns false when neither has a listener. */
export function emitBindError(server: Server, handler: BindHandler | undefined, error: Error): boolean {
  const emitters = handler instanceof EventEmitter ? [server, handler] : [server];
  const listening = emitters.find((emitter) => emitter.listenerCount('error') > 0);
  return listening?.emit('error', error) === true;
}

/** Gives the sockets of the server to the handler. @throws ERR_STARLANE_ARGUMENT */
export function attachHandler(server: Server, handler: BindHandler): void {
  if (typeof handler === 'function') server.on('connection', handler);
  else if (handler instanceof NodeServer) boundServer(handler as CountingServer).add(server);
  else if (typeof handler?.emit === 'function') {
    server.on('connection', (socket) => {
      handler.emit('connection', socket);
    });
  } else throw starlaneError('ERR_STARLANE_ARGUMENT', 'the handler must be a function, a net.Server or an http.Server');
}

const boundServers = new WeakMap<NodeServer, BoundServer>();

function boundServer(handler: CountingServer): BoundServer {
  let bound = boundServers.get(handler);
  if (bound === undefined) {
    bound = new BoundServer(handler);
    boundServers.set(handler, bound);
  }
  return bound;
}

/** A server of Node with everything that it is bound to, which may be several names. */
class BoundServer implements SocketOwner {
  private readonly servers = new Set<Closable>();
  private readonly close: CountingServer['close'];
  /** 'listening' was emitted after it was bound to the first of them. */
  private isListening = false;

  constructor(readonly server: CountingServer) {
    const { close, _emitCloseIfDrained: emitClose, [Symbol.asyncDispose]: dispose } = server;
    this.close = close;
    server.close = (callback) => this.closeAll(callback);
    // A server of Node without a handle counts as closed, and would emit 'close' with its last socket.
    server._emitCloseIfDrained = () => {
      if (this.servers.size === 0) emitClose.call(server);
    };
    server[Symbol.asyncDispose] = () =>
      this.servers.size === 0 ? dispose.call(server) : new Promise((resolve) => server.close(() => resolve()));
  }

  add(bound: Server): void {
    const { server } = this;
    bound[kSocketOwner] = this;
    bound.on('connection', (socket) => {
      server.emit('connection', socket);
    });
    bound.on('drop', (info) => server.emit('drop', info));
    bound.once('listening', () => {
      if (this.isListening || server.listening) return;
      this.isListening = true;
      server.emit('listening');
    });
  }

  get isFull(): boolean {
    const { maxConnections, _connections } = this.server;
    return maxConnections != null && _connections >= maxConnections;
  }

  onBound(bound: Closable): void {
    this.servers.add(bound);
  }

  onClosed(bound: Closable): void {
    if (!this.servers.delete(bound) || this.servers.size > 0) return;
    this.isListening = false;
    // After the last one, the server stops what it does while it listens.
    if (!this.server.listening) this.close.call(this.server);
  }

  onSocket(): void {
    this.server._connections++;
  }

  onSocketClosed(): void {
    this.server._connections--;
    this.server._emitCloseIfDrained();
  }

  private closeAll(callback?: (error?: Error) => void): CountingServer {
    const { server, servers } = this;
    const wasBound = servers.size > 0;
    const bound = [...servers];
    servers.clear();
    this.isListening = false;
    for (const one of bound) one.close();
    this.close.call(
      server,
      typeof callback === 'function' ? (error) => callback(wasBound ? undefined : error) : undefined,
    );
    return server;
  }
}
