// TLS on top of a socket of a node.
//
// node:tls wraps a socket that has no handle of the system (lib/internal/js_stream_socket.js in Node). Three defects of the wrap are
// corrected here. It has no `ref` and `unref`: an idle TLS socket in a pool would keep the process running. It passes on every error of
// the carrier, also to a TLS socket that has failed already: a request would fail twice. And it takes no strings: a carrier with an
// encoding for the plain text that came first (STARTTLS) would fail, where a socket of the system works.

import type { EventEmitter } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { clearEncoding } from '../socket/stream-wrap.js';

/** The socket below TLS. */
export interface TlsCarrier extends EventEmitter {
  ref(): unknown;
  unref(): unknown;
  destroy(): unknown;
}

/**
 * Returns the TLS socket that `start` makes on `carrier`. It ends with the first error of either.
 * @throws what `start` throws, for options that tls does not accept; the carrier is destroyed then
 */
export function secureSocket(carrier: TlsCarrier, start: () => TLSSocket): TLSSocket {
  clearEncoding(carrier);
  const others = carrier.listeners('error');
  let secure: TLSSocket;
  try {
    secure = start();
  } catch (error) {
    carrier.destroy();
    throw error;
  }
  for (const listener of carrier.listeners('error') as Array<() => void>) {
    if (!others.includes(listener)) carrier.removeListener('error', listener);
  }
  carrier.on('error', (error: Error) => secure.destroy(error));
  refThrough(secure, carrier);
  return secure;
}

/** Passes `ref` and `unref` on to the socket below TLS. */
function refThrough(secure: TLSSocket, socket: { ref(): unknown; unref(): unknown }): void {
  secure.ref = () => {
    socket.ref();
    return secure;
  };
  secure.unref = () => {
    socket.unref();
    return secure;
  };
}
