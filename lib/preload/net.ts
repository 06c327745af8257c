// net.Socket.connect for hosts of the overlay. net.connect, tls.connect, http, http2 and fetch all come down to it, also
// through references that were taken before.

import * as net from 'node:net';
import { TLSSocket } from 'node:tls';
import { starlaneError } from '../errors.js';
import { connectArguments, SAID_HOST } from '../socket/net/arguments.js';
import type { NetModule } from '../socket/net/module.js';
import type { NetSocketOptions } from '../socket/net/socket.js';
import { adoptSocket, isOverlaySocket } from './adopt-socket.js';
import { overlayService } from './overlay-host.js';
import { connectSecure, isSecureInUse } from './secure-connect.js';

interface ConnectOptions extends NetSocketOptions {
  host?: unknown;
  path?: unknown;
}

type Connect = (this: net.Socket, ...args: unknown[]) => net.Socket;

export function patchNet(overlay: () => NetModule): void {
  const { prototype } = net.Socket;
  const connectNet = prototype.connect as Connect;

  const connect: Connect = function (...args) {
    // net.connect hands its arguments on as a list of options and callback.
    const given = Array.isArray(args[0]) ? args[0] : args;
    const { options, callback } = connectArguments(given) as { options: ConnectOptions; callback?: () => void };
    const service = options.path ? undefined : overlayService(options.host);
    const isAdopted = isOverlaySocket(this);
    if (service === undefined && !isAdopted) return connectNet.apply(this, args);
    const isSecure = this instanceof TLSSocket;
    if (service === undefined || (isSecure ? isSecureInUse(this) : !isAdopted && isUsed(this))) {
      // A socket that was in use is of the kind that it was.
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'between the overlay and elsewhere a new net.Socket is needed');
    }
    // An address that stands for a service means nothing to who reads an error.
    const said =
      net.isIP(String(options.host)) === 0 || service.startsWith('@') ? String(options.host) : `${service}.starlane`;
    const where = { ...options, host: service, [SAID_HOST]: said };
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
