// tls.connect for hosts of the overlay: tls as ever, over a socket of the overlay.

import * as net from 'node:net';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { secureSocket } from '../http/secure-socket.js';
import { Socket } from '../socket/socket.js';
import { nodeTls } from '../util/builtins.js';
import { overlayService } from './overlay-host.js';

// The module object itself: what `import` gives cannot be changed.
const tls = nodeTls();

type Connect = (...args: unknown[]) => TLSSocket;

export function patchTls(): void {
  const connect = tls.connect as Connect;

  tls.connect = ((...args: unknown[]): TLSSocket => {
    const options = tlsOptions(args);
    if (options.socket instanceof Socket) {
      return secureSocket(options.socket, () => connect(...args));
    }
    if (options.socket || options.path || overlayService(options.host) === undefined) return connect(...args);
    const { host, port, timeout, signal } = options as ConnectionOptions & { signal?: AbortSignal };
    const socket = net.connect({ host: host as string, port: port as number, signal } as net.TcpNetConnectOpts);
    const last = args.at(-1);
    const listener = typeof last === 'function' ? [last] : [];
    const own = { servername: host?.replace(/\.$/, ''), ...options, socket };
    const secured = secureSocket(socket, () => connect(own, ...listener));
    if (timeout) secured.setTimeout(timeout);
    return secured;
  }) as typeof tls.connect;
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
