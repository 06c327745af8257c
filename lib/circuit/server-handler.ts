// A server of Node (net, http, https, http2) as the handler of a bound server: it gets the sockets, and notices no difference
// to those that it would accept itself. It hears 'listening' (from then on http counts and times its sockets), counts and
// limits its sockets, and its close() closes what it is bound to.

import type { EventEmitter } from 'node:events';
import { Server as NodeServer } from 'node:net';
import { starlaneError } from '../errors.js';
import type { Server, ServerOptions } from '../socket/server.js';
import type { Socket } from '../socket/socket.js';

/** Takes the sockets of a server: a function, or a net.Server or http.Server, which gets 'connection' events. */
export type BindHandler = ((socket: Socket) => void) | EventEmitter;

/** Members of net.Server that its types leave out: it counts by them, and 'close' comes when none are open. */
interface CountingServer extends NodeServer {
  _connections: number;
  _emitCloseIfDrained(): void;
}

/** Options of the server for a handler: a server of Node has said already whether its sockets are half-open. */
export function optionsFor<T extends ServerOptions>(
  options: T | undefined,
  handler: BindHandler | undefined,
): T | undefined {
  if (!(handler instanceof NodeServer) || options?.allowHalfOpen !== undefined) return options;
  const { allowHalfOpen } = handler as unknown as { allowHalfOpen?: boolean };
  return { ...options, allowHalfOpen: Boolean(allowHalfOpen) } as T;
}

/** @throws ERR_STARLANE_ARGUMENT */
export function attachHandler(server: Server, handler: BindHandler): void {
  if (typeof handler === 'function') server.on('connection', handler);
  else if (handler instanceof NodeServer) boundServer(handler as CountingServer).add(server);
  else if (typeof handler?.emit === 'function') {
    server.on('connection', (socket) => {
      handler.emit('connection', socket);
    });
  } else throw starlaneError('ERR_STARLANE_ARGUMENT', 'a handler is a function, a net.Server or an http.Server');
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

/** A server of Node, and what it is bound to: it may be several names. */
class BoundServer {
  private readonly servers = new Set<Server>();
  private readonly close: CountingServer['close'];

  constructor(private readonly handler: CountingServer) {
    this.close = handler.close;
    handler.close = (callback) => this.closeAll(callback);
  }

  add(server: Server): void {
    const { handler, servers } = this;
    server.limits = handler;
    server.on('connection', (socket) => this.onSocket(socket));
    server.on('drop', (info) => handler.emit('drop', info));
    server.once('listening', () => {
      servers.add(server);
      if (servers.size === 1 && !handler.listening) handler.emit('listening');
    });
    server.once('close', () => {
      // The last one: what it does while it listens, it does no more.
      if (servers.delete(server) && servers.size === 0 && !handler.listening) this.close.call(handler);
    });
  }

  private onSocket(socket: Socket): void {
    const { handler } = this;
    handler._connections++;
    socket.once('close', () => {
      handler._connections--;
      handler._emitCloseIfDrained();
    });
    handler.emit('connection', socket);
  }

  private closeAll(callback?: (error?: Error) => void): CountingServer {
    const { handler, servers } = this;
    const wasBound = servers.size > 0;
    const bound = [...servers];
    servers.clear();
    for (const server of bound) server.close();
    this.close.call(handler, callback === undefined ? undefined : (error) => callback(wasBound ? undefined : error));
    return handler;
  }
}
