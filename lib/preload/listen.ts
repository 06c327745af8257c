// net.Server.listen for hosts of the overlay: `listen(8080, 'web.starlane')` offers the service. What listens in http, https, tls and
// http2 comes down to it. The server keeps its class and its listeners; what it would do by a handle of the system, it does by
// one that stands for the place where it is bound.

import * as net from 'node:net';
import { listenArguments, listenTarget } from '../socket/net/arguments.js';
import { checkListenSignal } from '../socket/net/listen-signal.js';
import type { Server as BoundServer } from '../socket/server.js';
import { alreadyListening } from '../util/runtime/node-errors.js';
import { overlayService } from './overlay-host.js';

/** Binds a server at an address such as `web:8080`. Errors are events of what it returns. */
export type Bind = (address: string, server: net.Server) => BoundServer;

type Listen = (this: net.Server, ...args: unknown[]) => net.Server;

/** Members of a net.Server that its types leave out. */
interface ServerInternals {
  _handle: object | null;
  _unref: boolean;
}

export function patchListen(bind: Bind): void {
  const { prototype } = net.Server;
  const listenNet = prototype.listen as Listen;

  const listen: Listen = function (...args) {
    const given = Array.isArray(args[0]) ? args[0] : args;
    const { options, callback } = listenArguments(given);
    const service = overlayService(options.host);
    if (service === undefined) return listenNet.apply(this, args);
    if (this.listening) throw alreadyListening();
    const { port, said } = listenTarget(options);
    checkListenSignal(this, options.signal);
    if (callback !== undefined) this.once('listening', callback);

    const bound = bind(`${service}:${port}`, this);
    bound.on('error', (error: NodeJS.ErrnoException) => {
      // As the program has written it.
      const { code, syscall } = error;
      if (syscall === 'listen') error.message = `${syscall} ${code}: ${said}:${port}`;
      this.emit('error', Object.assign(error, { address: said, port }));
    });
    if (!bound.listening) return this;
    const internals = this as unknown as ServerInternals;
    internals._handle = new BoundHandle(bound);
    if (internals._unref) bound.unref();
    bound.once('listening', () => this.emit('listening'));
    return this;
  };
  prototype.listen = listen as typeof prototype.listen;
}

/** What net.Server asks of the handle that it listens by. */
class BoundHandle {
  constructor(private readonly bound: BoundServer) {}

  close(callback?: () => void): void {
    this.bound.close(callback);
  }

  ref(): void {
    this.bound.ref();
  }

  unref(): void {
    this.bound.unref();
  }

  getsockname(out: { address?: string; family?: string; port?: number }): number {
    const { address, family, port } = this.bound.address() ?? {};
    Object.assign(out, { address, family, port });
    return 0;
  }
}
