// TLS over sockets of the overlay: what tls.connect adds to its options for a service, what a TLSSocket has to know of a socket of the
// overlay that it wraps, and TLSSocket.connect for hosts of the overlay, which tls.connect comes down to.
//
// A TLSSocket is made with a handle of the system. When it is connected to a service, it gets a handle around a socket of the node
// instead, as Node exchanges handles when it tries several addresses of a host. What it was made with stays: allowHalfOpen, onread,
// the signal.

import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { secureSocket, type TlsCarrier } from '../http/secure-socket.js';
import type { NetModule } from '../socket/net/module.js';
import { type StreamWrap, streamWrap } from '../socket/stream-wrap.js';
import { nodeTls } from '../util/runtime/builtins.js';
import { isOverlaySocket, overlayService } from './overlay-host.js';

// The module object itself: what `import` gives cannot be changed.
const tls = nodeTls();

type Connect = (...args: unknown[]) => TLSSocket;

/** Members of a TLSSocket that its types leave out. */
interface TlsInternals {
  connecting: boolean;
  ssl: object | null;
  _handle: { readonly _parentWrap: object | null; readonly _parent: { hasRef?(): boolean } } | null;
  _wrapHandle(wrap: StreamWrap, handle: object, hasActiveWrite: boolean): object;
  _init(socket: unknown, wrap: unknown): void;
  _unrefTimer(): void;
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

/** Events of attempts to connect, besides 'connect', 'ready' and 'error'. */
const ATTEMPT_EVENTS = ['lookup', 'connectionAttempt', 'connectionAttemptFailed'];

const NET = net.Socket.prototype;
/** How net exchanges the handle of a socket. */
const exchangeHandle = Object.getOwnPropertySymbols(NET).find(
  ({ description }) => description === 'kReinitializeHandle',
) as symbol;

/** Returns whether the socket has been connected, or has the handle of another socket. */
export function isSecureInUse(secure: TLSSocket): boolean {
  const { _handle: handle } = secure as unknown as TlsInternals;
  return handle === null || handle._parentWrap !== null || !secure.connecting;
}

/** Connects a TLSSocket to a service. @param where with the name of the service as host */
export function connectSecure(secure: TLSSocket, overlay: NetModule, where: object, listener?: () => void): TLSSocket {
  const inner = secure as unknown as TlsInternals;
  const isUnref = inner._handle?._parent.hasRef?.() === false;
  const { signal: _signal, onread: _onread, ...target } = where as net.TcpSocketConnectOpts & { signal?: unknown };
  // It is up to TLS when its carrier ends.
  const carrier = new overlay.Socket({ allowHalfOpen: true });
  if (isUnref) carrier.unref();
  carrier.connect(target);
  if (listener !== undefined) secure.once('connect', listener);
  secureSocket(carrier, () => {
    const Wrap = streamWrap();
    const wrap = new Wrap(carrier as Duplex);
    const handle = inner._wrapHandle(wrap, wrap._handle, false);
    // Else the old handle would take the secure context along, which the new one shares.
    inner.ssl = null;
    (Reflect.get(NET, exchangeHandle) as (handle: object) => void).call(secure, handle);
    inner.ssl = inner._handle;
    inner._init(undefined, wrap);
    return secure;
  });
  for (const event of ATTEMPT_EVENTS) carrier.on(event, (...values: unknown[]) => secure.emit(event, ...values));
  carrier.once('connect', () => {
    if (secure.destroyed) return;
    // As net, when a handle of the system is connected.
    inner.connecting = false;
    inner._unrefTimer();
    secure.emit('connect');
    secure.emit('ready');
    if (!secure.isPaused()) secure.read(0);
  });
  return secure;
}
