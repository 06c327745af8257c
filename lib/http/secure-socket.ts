// TLS on top of a socket of a node.

import type { TLSSocket } from 'node:tls';

/**
 * Hands `ref` and `unref` on to the socket underneath. Node hands them to the handle of the system, and a socket of a node
 * has none: an idle TLS socket in a pool would hold the process open.
 */
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
