// net.Socket.connect for hosts of the overlay. net.connect, http, http2 and fetch all come down to it, also through
// references that were taken before.

import * as net from 'node:net';
import { TLSSocket } from 'node:tls';
import { starlaneError } from '../errors.js';
import { connectArguments, SAID_HOST } from '../socket/net-arguments.js';
import type { NetModule } from '../socket/net-module.js';
import type { NetSocketOptions } from '../socket/net-socket.js';
import { Socket } from '../socket/socket.js';
import { adoptSocket } from './adopt-socket.js';
import { overlayService } from './overlay-host.js';

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
    const isAdopted = this instanceof Socket;
    if (service === undefined && !isAdopted) return connectNet.apply(this, args);
    if (service === undefined || this instanceof TLSSocket || (!isAdopted && isUsed(this))) {
      // tls has a handle of its own, and a socket that was in use is of the kind that it was.
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'between the overlay and elsewhere a new net.Socket is needed');
    }
    if (!isAdopted) {
      adoptSocket(this, overlay(), options);
      // It may be connected again, by the name that the program knows.
      Object.defineProperty(this, 'connect', { value: connect, configurable: true, writable: true });
    }
    const listener = callback === undefined ? [] : [callback];
    // An address that stands for a service means nothing to who reads an error.
    const said = net.isIP(String(options.host)) === 0 ? String(options.host) : `${service}.starlane`;
    const translated = { ...options, host: service, [SAID_HOST]: said };
    return (overlay().Socket.prototype.connect as Connect).call(this, translated, ...listener);
  };
  prototype.connect = connect as typeof prototype.connect;
}

function isUsed(socket: net.Socket): boolean {
  return !socket.pending || socket.connecting || socket.destroyed;
}
