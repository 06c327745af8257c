// Turns a net.Socket that was made and never connected into a socket of a node, in place: programs make the socket first
// and connect it later, and hold on to the object that they made. It is no `instanceof net.Socket` from then on: Node's own
// tls takes those for sockets with a handle of the system, and waits for ever for one that has none.

import * as net from 'node:net';
import { Duplex } from 'node:stream';
import type { NetModule } from '../socket/net-module.js';
import type { NetSocketOptions } from '../socket/net-socket.js';

/** What both kinds of sockets have from Duplex: its state, its listeners and options, which stay. */
const OF_DUPLEX = new Set(Reflect.ownKeys(new Duplex()));
const OF_NET = Reflect.ownKeys(new net.Socket()).filter((key) => !OF_DUPLEX.has(key));

/** @param options those that the socket is connected with; `onread` among them counts */
export function adoptSocket(socket: net.Socket, overlay: NetModule, options: NetSocketOptions): void {
  const { timeout } = socket;
  if (timeout) socket.setTimeout(0);
  // Before there is a handle, net keeps an unref() as a listener.
  const { unref } = net.Socket.prototype;
  const isUnref = socket.listeners('connect').includes(unref);
  if (isUnref) socket.removeListener('connect', unref);

  for (const key of OF_NET) Reflect.deleteProperty(socket, key);
  const fresh = new overlay.Socket({
    allowHalfOpen: socket.allowHalfOpen,
    onread: options.onread,
  } as net.SocketConstructorOpts);
  Object.setPrototypeOf(socket, overlay.Socket.prototype);
  for (const key of Reflect.ownKeys(fresh)) {
    if (!OF_DUPLEX.has(key)) Object.defineProperty(socket, key, Object.getOwnPropertyDescriptor(fresh, key) as object);
  }
  // net takes strings as they are; ours counts bytes.
  (socket as unknown as { _writableState: { decodeStrings: boolean } })._writableState.decodeStrings = true;

  if (timeout) socket.setTimeout(timeout);
  if (isUnref) socket.unref();
}
