// TLS on top of a socket of a node.
//
// A socket without a handle of the system is wrapped by node:tls (lib/internal/js_stream_socket.js in Node), which leaves three
// things to be done here. The wrap has no `ref` and `unref`: an idle TLS socket in a pool would hold the process open. It hands
// on every error of the carrier, also to a TLS socket that has failed already: a request would fail twice. And it takes no
// strings: a carrier with an encoding for the plain text that came first (STARTTLS) would fail, where one of the system works.

import type { EventEmitter } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { clearEncoding } from '../socket/stream-wrap.js';

/** What TLS is begun on. */
export interface TlsCarrier extends EventEmitter {
  ref(): unknown;
  unref(): unknown;
  destroy(): unknown;
}

/**
 * The TLS socket that `start` makes on `carrier`. It ends with the first error of either.
 * @throws what `start` throws, for options that tls does not take; the carrier is destroyed then
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

/** Hands `ref` and `unref` on to the socket underneath. */
export function refThrough(secure: TLSSocket, socket: { ref(): unknown; unref(): unknown }): void {
  secure.ref = () => {
    socket.ref();
    return secure;
  };
  secure.unref = () => {
    socket.unref();
    return secure;
  };
}
