// tls over sockets of the overlay. That a TLSSocket is connected to a service is the affair of net.Socket.connect; here is what
// tls.connect has to say for it, and what TLS has to know of a socket of the overlay that it is begun on.

import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { secureSocket, type TlsCarrier } from '../http/secure-socket.js';
import { nodeTls } from '../util/runtime/builtins.js';
import { isOverlaySocket } from './adopt-socket.js';
import { overlayService } from './overlay-host.js';

// The module object itself: what `import` gives cannot be changed.
const tls = nodeTls();

type Connect = (...args: unknown[]) => TLSSocket;

/** A member of a TLSSocket that its types leave out. */
interface TlsInternals {
  connecting: boolean;
  _init(socket: unknown, wrap: unknown): void;
}

export function patchTls(): void {
  const connect = tls.connect as Connect;

  tls.connect = ((...args: unknown[]): TLSSocket => {
    const options = tlsOptions(args);
    const { socket, path, host } = options;
    if (isOverlaySocket(socket)) return secureSocket(socket as unknown as TlsCarrier, () => connect(...args));
    if (socket || path || overlayService(host) === undefined) return connect(...args);
    const last = args.at(-1);
    const listener = typeof last === 'function' ? [last] : [];
    // One server may have several services.
    return connect({ servername: host?.replace(/\.$/, ''), ...options }, ...listener);
  }) as typeof tls.connect;

  const internals = tls.TLSSocket.prototype as unknown as TlsInternals;
  const { _init: init } = internals;
  internals._init = function (socket, wrap) {
    init.call(this, socket, wrap);
    // A net.Socket without a handle is taken for one that will be connected some day, but this one may be connected.
    if (isOverlaySocket(socket) && !(socket as { connecting: boolean }).connecting) this.connecting = false;
  };
}

/** connect(options[, cb]), connect(port[, host][, options][, cb]), connect(path[, options][, cb]). */
function tlsOptions(args: readonly unknown[]): ConnectionOptions {
  const result: Record<string, unknown> = {};
  const [first, second] = args;
  if (typeof first === 'number' || (typeof first === 'string' && Number(first) >= 0)) {
    result.port = Number(first);
    if (typeof second === 'string') result.host = second;
  } else if (typeof first === 'string') result.path = first;
  for (const value of args) if (typeof value === 'object' && value !== null) Object.assign(result, value);
  return result as ConnectionOptions;
}
