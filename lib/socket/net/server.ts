// The Server class of `node.net`: a bound server with all features of net.Server. It is created first and bound later, with all forms of
// listen, and can be bound again after 'close'.

import { AsyncResource } from 'node:async_hooks';
import type { ListenOptions, ServerOpts } from 'node:net';
import { getDefaultHighWaterMark } from 'node:stream';
import { codeOf, netError } from '../../errors.js';
import {
  kAnnounce,
  kCreateSocket,
  kDrop,
  kHost,
  kMakeSocket,
  kPath,
  kRefuse,
  kScope,
  kStart,
  kStream,
  kUseFor,
} from '../../mux/hidden.js';
import { alreadyListening, invalidArgType } from '../../util/runtime/node-errors.js';
import { nextTick } from '../../util/runtime/real-timers.js';
import { type DropInfo, Server, type ServerAddress } from '../server.js';
import { Socket } from '../socket.js';
import { checkListenSignal, checkNumbers, listenArguments, listenTarget } from './arguments.js';
import type { NetHost } from './module.js';
import type { NetSocket, NetSocketOptions } from './socket.js';

type ConnectionListener = (socket: NetSocket) => void;

export class NetServer extends Server<ServerAddress | string> {
  private readonly [kHost]: NetHost;
  private readonly [kMakeSocket]: (options: NetSocketOptions) => NetSocket;
  readonly allowHalfOpen: boolean;
  readonly pauseOnConnect: boolean;
  readonly highWaterMark: number;
  private [kPath]: string | null = null;

  /** @throws ERR_INVALID_ARG_TYPE */
  constructor(
    host: NetHost,
    makeSocket: (options: NetSocketOptions) => NetSocket,
    options?: ServerOpts | ConnectionListener | null,
    connectionListener?: ConnectionListener,
  ) {
    super(undefined, host.processRefs);
    this[kHost] = host;
    this[kMakeSocket] = makeSocket;
    const isListener = typeof options === 'function';
    const { allowHalfOpen, pauseOnConnect, highWaterMark } = checkOptions(isListener ? undefined : options);
    this.allowHalfOpen = Boolean(allowHalfOpen);
    this.pauseOnConnect = Boolean(pauseOnConnect);
    this.highWaterMark =
      highWaterMark === undefined || highWaterMark < 0 ? getDefaultHighWaterMark(false) : highWaterMark;
    const listener = isListener ? options : connectionListener;
    if (typeof listener === 'function') this.on('connection', listener as (socket: Socket) => void);
  }

  /**
   * Binds the server. Takes all forms of net.Server.listen; arguments.ts explains the meaning of hosts, ports and paths. `backlog`,
   * `exclusive`, `readableAll`, `writableAll` and `ipv6Only` have no effect: circuits are accepted as they come.
   * @throws ERR_SERVER_ALREADY_LISTEN, ERR_SOCKET_BAD_PORT, ERR_INVALID_ARG_VALUE, ERR_STARLANE_ARGUMENT for handles
   */
  listen(port?: number, hostname?: string, backlog?: number, listeningListener?: () => void): this;
  listen(port?: number, hostname?: string, listeningListener?: () => void): this;
  listen(port?: number, backlog?: number, listeningListener?: () => void): this;
  listen(port?: number, listeningListener?: () => void): this;
  listen(path: string, backlog?: number, listeningListener?: () => void): this;
  listen(path: string, listeningListener?: () => void): this;
  listen(options: ListenOptions, listeningListener?: () => void): this;
  listen(handle: unknown, backlog?: number, listeningListener?: () => void): this;
  listen(handle: unknown, listeningListener?: () => void): this;
  listen(...args: unknown[]): this {
    const { options, callback } = listenArguments(args);
    if (this.listening) throw alreadyListening();
    if (callback !== undefined) this.once('listening', callback);
    const target = listenTarget(options);
    checkListenSignal(this, options.signal);
    this[kScope] = new AsyncResource('STARLANESERVER');
    try {
      this[kStart](this[kHost].listen(this, target));
      this[kPath] = target.path ?? null;
    } catch (error) {
      const code = codeOf(error);
      const where = { address: target.given, port: target.port };
      const failure = code === 'EADDRINUSE' ? netError(code, 'listen', where) : (error as NodeJS.ErrnoException);
      // Node has this port in errors of paths.
      if (target.path !== undefined) Object.assign(failure, { port: -1 });
      nextTick(() => this.emit('error', failure));
    }
    return this;
  }

  /** Returns where it is bound: a string for a path; null while it is not bound. */
  override address(): ServerAddress | string | null {
    return this[kPath] !== null && this.listening ? this[kPath] : super.address();
  }

  /** @internal */
  override [kAnnounce](socket: Socket, prepared?: unknown, enter?: (emit: () => void) => void): void {
    if (socket instanceof ExcessSocket) this[kScope].runInAsyncScope(this[kDrop], this, socket);
    else super[kAnnounce](socket, prepared, enter);
  }

  /** Accepts the circuit all the same, as a kernel does, which has connected a socket before its server learns of it. */
  protected override [kRefuse](info: DropInfo): Socket {
    // At a path, Node emits 'drop' without an argument.
    return new ExcessSocket(this[kPath] === null ? info : undefined);
  }

  private [kDrop](socket: ExcessSocket): void {
    try {
      if (socket.info === undefined) this.emit('drop');
      else this.emit('drop', socket.info);
    } finally {
      socket.destroy();
    }
  }

  protected override [kCreateSocket](): Socket {
    const { allowHalfOpen, highWaterMark } = this;
    const socket = this[kMakeSocket]({ allowHalfOpen, highWaterMark });
    socket.server = this;
    socket[kUseFor](this.pauseOnConnect);
    return socket;
  }
}

/** The end of a circuit beyond maxConnections. The user does not see it, and it does not keep the process running. */
class ExcessSocket extends Socket {
  constructor(readonly info: DropInfo | undefined) {
    super(undefined, null);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { [kStream]: stream } = this;
    this[kStream] = null;
    super._destroy(error, callback);
    // On a busy link the reply may have to wait, and must arrive all the same.
    stream?.close(true);
  }
}

function checkOptions(options: unknown): ServerOpts {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object') throw invalidArgType('options', 'of type object', options);
  const record = options as Record<string, unknown>;
  checkNumbers(record, 'keepAliveInitialDelay', 'highWaterMark');
  return record as ServerOpts;
}
