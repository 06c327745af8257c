// Turns a net.Socket that was made and never connected into a socket of a node, in place: programs make the socket first
// and connect it later, and hold on to the object that they made. It stays an instance of its class, with what a subclass has
// added or overridden; what net.Socket does by a handle of the system, it does as a socket of a node does it.

import * as net from 'node:net';
import { Duplex } from 'node:stream';
import type { NetModule } from '../socket/net/module.js';
import type { NetSocketOptions } from '../socket/net/socket.js';
import { IS_SOCKET } from '../socket/stream-wrap.js';

/** What both kinds of sockets have from Duplex: its state, its listeners and options, which stay. */
const OF_DUPLEX = new Set(Reflect.ownKeys(new Duplex()));
/** What net.Socket does at the end of the input: a socket of a node does it by itself. */
const [onNetEnd] = new net.Socket().listeners('end') as Array<() => void>;

const NET = net.Socket.prototype;
/** By the prototype that a socket had. */
const adoptedPrototypes = new WeakMap<object, object>();

/** Whether it is a socket of a node, adopted or not. */
export function isOverlaySocket(socket: unknown): boolean {
  return (socket as { [IS_SOCKET]?: boolean } | null | undefined)?.[IS_SOCKET] === true;
}

/** @param options those that the socket is connected with; `onread` among them counts */
export function adoptSocket(socket: net.Socket, overlay: NetModule, options: NetSocketOptions): void {
  const { timeout } = socket;
  if (timeout) socket.setTimeout(0);
  // Before there is a handle, net keeps an unref() as a listener.
  const { unref } = NET;
  const isUnref = socket.listeners('connect').includes(unref);
  if (isUnref) socket.removeListener('connect', unref);
  socket.removeListener('end', onNetEnd);

  const fresh = new overlay.Socket({
    allowHalfOpen: socket.allowHalfOpen,
    onread: options.onread,
  } as net.SocketConstructorOpts);
  const prototype = adoptedPrototype(Object.getPrototypeOf(socket) as object, overlay.Socket.prototype);
  // What net keeps in the socket itself would hide what is in the prototype now. The rest stays: Node's tls walks by `_parent`.
  for (const key of Reflect.ownKeys(socket)) {
    if (!OF_DUPLEX.has(key) && Object.hasOwn(prototype, key)) Reflect.deleteProperty(socket, key);
  }
  Object.setPrototypeOf(socket, prototype);
  for (const key of Reflect.ownKeys(fresh)) {
    if (!OF_DUPLEX.has(key)) Object.defineProperty(socket, key, Object.getOwnPropertyDescriptor(fresh, key) as object);
  }
  // net takes strings as they are; ours counts bytes.
  (socket as unknown as { _writableState: { decodeStrings: boolean } })._writableState.decodeStrings = true;

  if (timeout) socket.setTimeout(timeout);
  if (isUnref) socket.unref();
}

/** The prototype for adopted sockets of a class: what a socket of a node does, ahead of the class, but for what that overrides. */
function adoptedPrototype(own: object, overlay: object): object {
  const known = adoptedPrototypes.get(own);
  if (known !== undefined) return known;
  const overridden = overridesOf(own);
  const adopted = Object.create(own) as object;
  for (const layer of layers(overlay, Duplex.prototype)) {
    for (const key of Reflect.ownKeys(layer)) {
      if (key === 'constructor' || overridden.has(key) || Object.hasOwn(adopted, key)) continue;
      Object.defineProperty(adopted, key, Object.getOwnPropertyDescriptor(layer, key) as PropertyDescriptor);
    }
  }
  // That of net leads to the overlay by the name that the program knows.
  Reflect.deleteProperty(adopted, 'connect');
  Object.assign(adopted, addressAnswers(overlay));
  for (const key of overridden) if (key !== 'connect') leadToOverlay(key, overlay);
  adoptedPrototypes.set(own, adopted);
  return adopted;
}

/** What net's own getters of addresses ask for. */
function addressAnswers(overlay: object): object {
  const answer = (near: 'local' | 'remote', socket: unknown): object => {
    const get = (what: string): unknown => Reflect.get(overlay, near + what, socket);
    return { address: get('Address'), family: get('Family'), port: get('Port') };
  };
  return {
    _getpeername(this: unknown) {
      return answer('remote', this);
    },
    _getsockname(this: unknown) {
      return answer('local', this);
    },
  };
}

/** Members of net.Socket that a class of its own overrides. */
function overridesOf(own: object): Set<string | symbol> {
  const keys = layers(own, NET).flatMap((layer) => Reflect.ownKeys(layer));
  return new Set(keys.filter((key) => key !== 'constructor' && key in NET));
}

/** A method that overrides one of net.Socket calls that by `super`, also in an adopted socket. */
function leadToOverlay(key: string | symbol, overlay: object): void {
  const ofNet = Object.getOwnPropertyDescriptor(NET, key);
  // Those of addresses are not: they ask `_getpeername` and `_getsockname`.
  if (ofNet?.configurable !== true) return;
  const layer = layers(overlay, Duplex.prototype).find((candidate) => Object.hasOwn(candidate, key));
  if (layer === undefined) return;
  const ours = Object.getOwnPropertyDescriptor(layer, key) as PropertyDescriptor;
  const lead = (kind: 'value' | 'get' | 'set'): void => {
    const [theirs, own] = [ofNet[kind], ours[kind]];
    if (typeof theirs !== 'function' || typeof own !== 'function') return;
    ofNet[kind] = function (this: unknown, ...args: unknown[]): unknown {
      return (isOverlaySocket(this) ? own : theirs).apply(this, args);
    };
  };
  lead('value');
  lead('get');
  lead('set');
  Object.defineProperty(NET, key, ofNet);
}

/** Prototypes from `start` up to `end`, without that. */
function layers(start: object, end: object): object[] {
  const found: object[] = [];
  for (let layer = start; layer !== end; layer = Object.getPrototypeOf(layer) as object) found.push(layer);
  return found;
}
