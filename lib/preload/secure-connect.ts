// TLSSocket.connect for hosts of the overlay, which is what tls.connect comes down to. A TLSSocket is made with a handle of the
// system; when it is connected to a service, it gets one around a socket of the node instead, as Node exchanges handles when
// it tries several addresses of a host. What it was told when it was made stays: allowHalfOpen, onread, the signal.

import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { secureSocket } from '../http/secure-socket.js';
import type { NetModule } from '../socket/net/module.js';
import { type StreamWrap, streamWrap } from '../socket/stream-wrap.js';

/** Members of a TLSSocket that its types leave out. */
interface TlsInternals {
  connecting: boolean;
  ssl: object | null;
  _handle: { readonly _parentWrap: object | null; readonly _parent: { hasRef?(): boolean } } | null;
  _wrapHandle(wrap: StreamWrap, handle: object, hasActiveWrite: boolean): object;
  _init(socket: undefined, wrap: StreamWrap): void;
  _unrefTimer(): void;
}

/** What the attempts to connect are told by, besides 'connect', 'ready' and 'error'. */
const ATTEMPT_EVENTS = ['lookup', 'connectionAttempt', 'connectionAttemptFailed'];

const NET = net.Socket.prototype;
/** How net exchanges the handle of a socket. */
const exchangeHandle = Object.getOwnPropertySymbols(NET).find(
  ({ description }) => description === 'kReinitializeHandle',
) as symbol;

/** Whether it has been connected, or has the handle of another socket. */
export function isSecureInUse(secure: TLSSocket): boolean {
  const { _handle: handle } = secure as unknown as TlsInternals;
  return handle === null || handle._parentWrap !== null || !secure.connecting;
}

/** @param where with the name of the service as host */
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
