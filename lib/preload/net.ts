// net.Socket.connect and net.Server.listen for hosts of the overlay. net.connect, tls.connect, http, https, http2 and fetch all come
// down to them, also through references that were taken before.
//
// Programs make a socket first, connect it later, and keep the object that they made. So a net.Socket that has never been connected
// is turned into a socket of a node in place. It stays an instance of its class, with what a subclass has added or overridden;
// what net.Socket does by a handle of the system, it does as a socket of a node does it. A server that listens keeps its class and its
// listeners too, and gets a handle that represents the place where it is bound.

import * as net from 'node:net';
import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { starlaneError } from '../errors.js';
import {
  checkListenSignal,
  connectArguments,
  listenArguments,
  listenTarget,
  ORIGINAL_HOST,
} from '../socket/net/arguments.js';
import type { NetModule } from '../socket/net/module.js';
import type { NetSocketOptions } from '../socket/net/socket.js';
import type { Server as BoundServer } from '../socket/server.js';
import { alreadyListening } from '../util/runtime/node-errors.js';
import { isOverlaySocket, overlayService } from './overlay-host.js';
import { connectSecure, isSecureInUse } from './tls.js';

interface ConnectOptions extends NetSocketOptions {
  host?: unknown;
  path?: unknown;
}

type Connect = (this: net.Socket, ...args: unknown[]) => net.Socket;

export function patchNet(overlay: () => NetModule): void {
  const { prototype } = net.Socket;
  const connectNet = prototype.connect as Connect;

  const connect: Connect = function (...args) {
    // net.connect passes its arguments on as a list of options and callback.
    const given = Array.isArray(args[0]) ? args[0] : args;
    const { options, callback } = connectArguments(given) as { options: ConnectOptions; callback?: () => void };
    const service = options.path ? undefined : overlayService(options.host);
    const isAdopted = isOverlaySocket(this);
    if (service === undefined && !isAdopted) return connectNet.apply(this, args);
    const isSecure = this instanceof TLSSocket;
    if (service === undefined || (isSecure ? isSecureInUse(this) : !isAdopted && isUsed(this))) {
      // A socket that was in use keeps its kind.
      throw starlaneError(
        'ERR_STARLANE_ARGUMENT',
        'a socket cannot change between the overlay and other hosts: use a new net.Socket',
      );
    }
    // A stand-in address means nothing to the reader of an error.
    const said =
      net.isIP(String(options.host)) === 0 || service.startsWith('@') ? String(options.host) : `${service}.starlane`;
    const where = { ...options, host: service, [ORIGINAL_HOST]: said };
    const listener = callback === undefined ? [] : [callback];
    if (isSecure) return connectSecure(this, overlay(), where, ...listener);
    if (!isAdopted) adoptSocket(this, overlay(), options);
    return (overlay().Socket.prototype.connect as Connect).call(this, where, ...listener);
  };
  prototype.connect = connect as typeof prototype.connect;
}

function isUsed(socket: net.Socket): boolean {
  return !socket.pending || socket.connecting || socket.destroyed;
}

/** Binds a server at an address such as `web:8080`. Errors are events of what it returns. */
type Bind = (address: string, server: net.Server) => BoundServer;

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
    const { port, given: address } = listenTarget(options);
    checkListenSignal(this, options.signal);
    if (callback !== undefined) this.once('listening', callback);

    const bound = bind(`${service}:${port}`, this);
    bound.on('error', (error: NodeJS.ErrnoException) => {
      // With the host as the program has written it.
      const { code, syscall } = error;
      if (syscall === 'listen') error.message = `${syscall} ${code}: ${address}:${port}`;
      this.emit('error', Object.assign(error, { address, port }));
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

/** The part of a handle that net.Server uses to listen. */
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

// --- adopting a socket ---

/** What both kinds of sockets have from Duplex: state, listeners and options, which stay. */
const OF_DUPLEX = new Set(Reflect.ownKeys(new Duplex()));
/** The listener of net.Socket for the end of the input; a socket of a node has its own. */
const [onNetEnd] = new net.Socket().listeners('end') as Array<() => void>;

const NET = net.Socket.prototype;
/** By the prototype of the socket before. */
const adoptedPrototypes = new WeakMap<object, object>();

/** Turns a net.Socket into a socket of a node. @param options the options of connect(); of these, `onread` is used */
function adoptSocket(socket: net.Socket, overlay: NetModule, options: NetSocketOptions): void {
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
  // net takes strings as they are; a socket of a node counts bytes.
  (socket as unknown as { _writableState: { decodeStrings: boolean } })._writableState.decodeStrings = true;

  if (timeout) socket.setTimeout(timeout);
  if (isUnref) socket.unref();
}

/** Returns the prototype for adopted sockets of a class: the members of a socket of a node come first, except those that the class overrides. */
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
  // The connect() of net leads to the overlay, by the name that the program knows.
  Reflect.deleteProperty(adopted, 'connect');
  Object.assign(adopted, addressAnswers(overlay));
  for (const key of overridden) if (key !== 'connect') leadToOverlay(key, overlay);
  adoptedPrototypes.set(own, adopted);
  return adopted;
}

/** Returns the methods that the address getters of net call. */
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

/** Returns the members of net.Socket that a subclass overrides. */
function overridesOf(own: object): Set<string | symbol> {
  const keys = layers(own, NET).flatMap((layer) => Reflect.ownKeys(layer));
  return new Set(keys.filter((key) => key !== 'constructor' && key in NET));
}

/** Makes `super` lead to the overlay in methods of an adopted socket that override those of net.Socket. */
function leadToOverlay(key: string | symbol, overlay: object): void {
  const ofNet = Object.getOwnPropertyDescriptor(NET, key);
  // The address getters are not configurable: they call `_getpeername` and `_getsockname`.
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

/** Returns the prototypes from `start` up to `end`, without `end`. */
function layers(start: object, end: object): object[] {
  const found: object[] = [];
  for (let layer = start; layer !== end; layer = Object.getPrototypeOf(layer) as object) found.push(layer);
  return found;
}
