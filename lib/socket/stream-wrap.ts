// node:tls and node:http2 wrap a stream that has no handle of the system (lib/internal/js_stream_socket.js in Node). They ask
// the handle of that wrap for its addresses, and to hold the process open or not, and Node's own has no answer: its TLS
// sockets and http2 sessions would have no remoteAddress, and their unref() no effect. Around a socket of a node the handle
// answers for it. Around any other stream it does what it did without these methods: nothing.
//
// A wrap hears its stream by listeners, where TLS on a socket of the system reads the handle. So clients that hand a socket over to
// TLS (STARTTLS) may remove all of their listeners from it, and leave an encoding behind: around a socket of a node neither disturbs.

import { Duplex } from 'node:stream';
import { loadedModules, nodeTls } from '../util/runtime/builtins.js';

/** Marks what a wrap may be asked about: the sockets of nodes. The same for all copies of the library in a process. */
export const IS_SOCKET = Symbol.for('starlane.socket');

/** What a wrap's handle tells of a socket. */
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
/** As libuv has it for a socket that is not connected; net only asks whether it is 0. */
const NOT_CONNECTED = -107;

/** What a wrap listens to its stream by. */
const WRAP_EVENTS = ['data', 'end', 'close', 'error'] as const;

type Listener = (...args: unknown[]) => void;

/** By the socket: the listeners of the wrap around it. */
const wrapListeners = new WeakMap<object, ReadonlyArray<[event: string, listener: Listener]>>();

let wrapClass: WrapClass | undefined;
let modules: readonly string[] | undefined;
let modulesSeen = 0;

/** Lets wraps answer for sockets of nodes, as soon as the program has loaded what makes wraps. Costs a comparison after that. */
export function answerWraps(): void {
  if (wrapClass !== undefined) return;
  // Only tls and http2 make wraps, and loading them for a program that uses neither would cost it time and memory.
  modules ??= loadedModules();
  if (modules.length === modulesSeen) return;
  modulesSeen = modules.length;
  if (modules.includes(MODULE)) streamWrap();
}

/** Returns the class of Node's wraps, which answer for sockets of nodes from then on. Loads node:tls. */
export function streamWrap(): WrapClass {
  if (wrapClass !== undefined) return wrapClass;
  const { TLSSocket, createSecureContext } = nodeTls();
  // `ca`: without one, every certificate authority that Node trusts would be parsed.
  const secureContext = createSecureContext({ ca: [] });
  const probe = new TLSSocket(new Duplex({ read() {}, emitClose: false }), { isServer: true, secureContext });
  const wrap = (probe as unknown as { _handle: { _parentWrap: StreamWrap } })._handle._parentWrap;
  wrapClass = wrap.constructor as WrapClass;
  const { _handle: handle } = wrap;
  const owner = Object.getOwnPropertySymbols(handle).find((key) => Reflect.get(handle, key) === wrap) as symbol;
  addAnswers(Object.getPrototypeOf(handle) as object, owner);
  keepListening(wrapClass.prototype as StreamWrap);
  probe.destroy();
  return wrapClass;
}

/** Wraps keep hearing a socket of a node whose listeners are all removed, see {@link keepingWrap}. */
function keepListening(prototype: StreamWrap): void {
  const { readStart } = prototype;
  prototype.readStart = function () {
    const { stream } = this;
    if ((stream as { [IS_SOCKET]?: boolean })[IS_SOCKET] === true && !wrapListeners.has(stream)) {
      clearEncoding(stream);
      // The first read is at the end of the constructor: those that were added last are its own.
      const own = WRAP_EVENTS.map((event): [string, Listener] => [
        event,
        stream.rawListeners(event).at(-1) as Listener,
      ]);
      wrapListeners.set(stream, own);
    }
    return readStart.call(this);
  };
}

/** Calls `remove`, which takes listeners from a socket, and gives it back those of a wrap around it that it had until then. */
export function keepingWrap(socket: Duplex, remove: () => unknown): void {
  const own = wrapListeners.get(socket)?.filter(([event, listener]) => socket.rawListeners(event).includes(listener));
  remove();
  for (const [event, listener] of own ?? []) {
    if (!socket.rawListeners(event).includes(listener)) socket.on(event, listener);
  }
}

/** Undoes setEncoding(), for which streams have no way. */
export function clearEncoding(stream: object): void {
  const { _readableState: state } = stream as { _readableState?: { decoder: unknown; encoding: unknown } };
  if (state === undefined) return;
  state.decoder = null;
  state.encoding = null;
}

/** @param owner under which key a handle has its wrap */
function addAnswers(prototype: object, owner: symbol): void {
  const wrapped = (handle: object): Wrapped | undefined => {
    const stream = (Reflect.get(handle, owner) as { stream?: Wrapped } | undefined)?.stream;
    return stream?.[IS_SOCKET] === true ? stream : undefined;
  };
  const answers = {
    ref(this: object) {
      wrapped(this)?.ref();
    },
    unref(this: object) {
      wrapped(this)?.unref();
    },
    getpeername(this: object, out: Address) {
      const socket = wrapped(this);
      return tell(out, socket?.remoteAddress, socket?.remoteFamily, socket?.remotePort);
    },
    getsockname(this: object, out: Address) {
      const socket = wrapped(this);
      const answer = () => tell(out, socket?.localAddress, socket?.localFamily, socket?.localPort);
      // net keeps this answer, whatever it is.
      if (socket?.connecting) socket.once('connect', answer);
      return answer();
    },
  };
  for (const [name, value] of Object.entries(answers)) {
    if (!(name in prototype)) Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
  }
}

function tell(out: Address, address?: string, family?: string, port?: number): number {
  if (address === undefined) return NOT_CONNECTED;
  Object.assign(out, { address, family, port });
  return 0;
}
