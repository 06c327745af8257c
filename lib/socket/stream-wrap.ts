// node:tls and node:http2 wrap a stream that has no handle of the system (lib/internal/js_stream_socket.js in Node). They call the handle
// of that wrap for addresses, ref and unref, which it lacks: TLS sockets and http2 sessions would have no remoteAddress, and their
// unref() would have no effect. Here the handle of a wrap around a socket of a node gets these methods. For any other stream they do
// nothing.
//
// A wrap reads its stream by listeners, whereas TLS on a socket of the system reads the handle. Clients that pass a socket to TLS
// (STARTTLS) may therefore remove all listeners from it, and leave an encoding set. Wraps around a socket of a node survive both.

import { Duplex } from 'node:stream';
import { loadedModules, nodeTls } from '../util/runtime/builtins.js';

/** Marks the sockets of nodes. The same for all copies of the library in a process. */
export const IS_SOCKET = Symbol.for('starlane.socket');

/** What the handle of a wrap uses of a socket. */
interface Wrapped {
  readonly [IS_SOCKET]?: boolean;
  readonly localAddress: string | undefined;
  readonly localFamily: string | undefined;
  readonly localPort: number | undefined;
  readonly remoteAddress: string | undefined;
  readonly remoteFamily: string | undefined;
  readonly remotePort: number | undefined;
  readonly connecting: boolean;
  once(event: 'connect', listener: () => void): unknown;
  ref(): unknown;
  unref(): unknown;
}

/** The net.Socket that Node puts around a stream. */
export interface StreamWrap extends Duplex {
  readonly stream: Duplex;
  readonly _handle: object;
  readStart(): number;
}

type WrapClass = new (stream: Duplex) => StreamWrap;

interface Address {
  address?: string;
  family?: string;
  port?: number;
}

const MODULE = 'NativeModule internal/js_stream_socket';
/** The code of libuv for a socket that is not connected; net only checks whether it is 0. */
const NOT_CONNECTED = -107;

/** The events of its stream to which a wrap listens. */
const WRAP_EVENTS = ['data', 'end', 'close', 'error'] as const;

type Listener = (...args: unknown[]) => void;

/** By socket: the listeners of the wrap around it. */
const wrapListeners = new WeakMap<object, ReadonlyArray<[event: string, listener: Listener]>>();

let wrapClass: WrapClass | undefined;
let modules: readonly string[] | undefined;
let modulesSeen = 0;

/** Extends the class of wraps as soon as the program has loaded it. Costs one comparison after that. */
export function extendWraps(): void {
  if (wrapClass !== undefined) return;
  // Only tls and http2 make wraps. Loading them for a program that uses neither would cost time and memory.
  modules ??= loadedModules();
  if (modules.length === modulesSeen) return;
  modulesSeen = modules.length;
  if (modules.includes(MODULE)) streamWrap();
}

/** Returns the class of Node's wraps, and extends it for sockets of nodes. Loads node:tls. */
export function streamWrap(): WrapClass {
  if (wrapClass !== undefined) return wrapClass;
  const { TLSSocket, createSecureContext } = nodeTls();
  // Without `ca`, Node would parse every certificate authority that it trusts.
  const secureContext = createSecureContext({ ca: [] });
  const probe = new TLSSocket(new Duplex({ read() {}, emitClose: false }), { isServer: true, secureContext });
  const wrap = (probe as unknown as { _handle: { _parentWrap: StreamWrap } })._handle._parentWrap;
  wrapClass = wrap.constructor as WrapClass;
  const { _handle: handle } = wrap;
  const owner = Object.getOwnPropertySymbols(handle).find((key) => Reflect.get(handle, key) === wrap) as symbol;
  addMethods(Object.getPrototypeOf(handle) as object, owner);
  recordListeners(wrapClass.prototype as StreamWrap);
  probe.destroy();
  return wrapClass;
}

/** Makes wraps record their listeners on sockets of nodes, for {@link keepWrapListeners}. */
function recordListeners(prototype: StreamWrap): void {
  const { readStart } = prototype;
  prototype.readStart = function () {
    const { stream } = this;
    if ((stream as { [IS_SOCKET]?: boolean })[IS_SOCKET] === true && !wrapListeners.has(stream)) {
      clearEncoding(stream);
      // The first read is at the end of the constructor: the listeners that were added last are those of the wrap.
      const own = WRAP_EVENTS.map((event): [string, Listener] => [
        event,
        stream.rawListeners(event).at(-1) as Listener,
      ]);
      wrapListeners.set(stream, own);
    }
    return readStart.call(this);
  };
}

/** Calls `remove`, which removes listeners from a socket, and adds those of the wrap around it again. */
export function keepWrapListeners(socket: Duplex, remove: () => unknown): void {
  const own = wrapListeners.get(socket)?.filter(([event, listener]) => socket.rawListeners(event).includes(listener));
  remove();
  for (const [event, listener] of own ?? []) {
    if (!socket.rawListeners(event).includes(listener)) socket.on(event, listener);
  }
}

/** Undoes setEncoding(); streams have no method for that. */
export function clearEncoding(stream: object): void {
  const { _readableState: state } = stream as { _readableState?: { decoder: unknown; encoding: unknown } };
  if (state === undefined) return;
  state.decoder = null;
  state.encoding = null;
}

/** Adds methods to the handles of wraps. @param owner the key under which a handle keeps its wrap */
function addMethods(prototype: object, owner: symbol): void {
  const wrapped = (handle: object): Wrapped | undefined => {
    const stream = (Reflect.get(handle, owner) as { stream?: Wrapped } | undefined)?.stream;
    return stream?.[IS_SOCKET] === true ? stream : undefined;
  };
  const methods = {
    ref(this: object) {
      wrapped(this)?.ref();
    },
    unref(this: object) {
      wrapped(this)?.unref();
    },
    getpeername(this: object, out: Address) {
      const socket = wrapped(this);
      return fill(out, socket?.remoteAddress, socket?.remoteFamily, socket?.remotePort);
    },
    getsockname(this: object, out: Address) {
      const socket = wrapped(this);
      const fillIn = () => fill(out, socket?.localAddress, socket?.localFamily, socket?.localPort);
      // net keeps this object in any case.
      if (socket?.connecting) socket.once('connect', fillIn);
      return fillIn();
    },
  };
  for (const [name, value] of Object.entries(methods)) {
    if (!(name in prototype)) Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
  }
}

function fill(out: Address, address?: string, family?: string, port?: number): number {
  if (address === undefined) return NOT_CONNECTED;
  Object.assign(out, { address, family, port });
  return 0;
}
