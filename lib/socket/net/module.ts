// `node.net`: everything that `node:net` exports, over one node.

import * as net from 'node:net';
import type { ProcessRefs } from '../../util/runtime/process-refs.js';
import type { SocketAddresses } from '../endpoints.js';
import type { AnyServer, Binding } from '../server.js';
import type { Socket as BaseSocket } from '../socket.js';
import type { Place } from './arguments.js';
import { NetServer } from './server.js';
import { NetSocket, type NetSocketOptions } from './socket.js';

/** What the sockets and servers of `node.net` need of their node. */
export interface NetHost {
  readonly processRefs: ProcessRefs;
  /** How the sockets name nodes. */
  readonly addresses: SocketAddresses;
  /**
   * Connects a socket in the state `connecting`. A failure calls its kFailConnect later.
   * @param localPort the virtual port of its own end; undefined for any
   */
  connect(socket: BaseSocket, place: Place, localPort: number | undefined): void;
  /** Binds a server that is not bound. @throws EADDRINUSE, EACCES, ECANCELED, ERR_STARLANE_ADDRESS */
  listen(server: AnyServer, place: Place): Binding;
}

/** The type of `node.net`: that of `node:net`, so that programs compile unchanged. */
export type NetModule = typeof net;

type ConnectOptions = net.NetConnectOpts & NetSocketOptions;

/** Makes the module for a node. Its classes are bound to that node. */
export function createNetModule(host: NetHost): NetModule {
  class BoundSocket extends NetSocket {
    constructor(options?: NetSocketOptions) {
      super(host, options);
    }
  }
  class BoundServer extends NetServer {
    constructor(...args: [options?: net.ServerOpts, listener?: (socket: NetSocket) => void]) {
      super(host, (options) => new Socket(options), ...args);
    }
  }
  const Socket = callable(BoundSocket, 'Socket');
  const Server = callable(BoundServer, 'Server');

  const connect = (...args: unknown[]): NetSocket => {
    const [first] = args;
    const options = typeof first === 'object' && first !== null ? (first as ConnectOptions) : undefined;
    const socket = new Socket(options);
    if (options?.timeout) socket.setTimeout(options.timeout);
    return (socket.connect as (...args: unknown[]) => NetSocket)(...args);
  };

  return Object.freeze({
    ...net,
    Socket,
    Stream: Socket,
    Server,
    connect,
    createConnection: connect,
    createServer: (...args: ConstructorParameters<typeof Server>) => new Server(...args),
  }) as unknown as NetModule;
}

/** Returns a class that can be called without `new`, as the classes of net can. */
function callable<T extends abstract new (...args: never[]) => object>(Class: T, name: string): T {
  Object.defineProperty(Class, 'name', { value: name });
  const result = new Proxy(Class, {
    apply: (target, _self, args) => Reflect.construct(target, args),
  });
  // So that `socket.constructor === net.Socket`.
  Object.defineProperty(Class.prototype, 'constructor', { value: result, configurable: true, writable: true });
  return result;
}
