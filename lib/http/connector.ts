// Gives undici, and so fetch, its sockets from a node: `new Agent({ connect: connector(node) })`. The interface is that of undici's
// buildConnector (docs/api/Connector.md there); nothing of undici is loaded here.

import { isIP, type Socket as NetSocket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { netError, starlaneError } from '../errors.js';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';
import { RecentMap } from '../util/recent-map.js';
import { clearTimeout, nextTick, setTimeout } from '../util/runtime/real-timers.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';
import { secureSocket } from './secure-socket.js';
import { type HttpTarget, ServiceDialer, type ServiceOptions, USUAL_PORT } from './service-dialer.js';

/** Undici's description of the socket that it needs. */
export interface ConnectRequest {
  /** The host without its port. */
  hostname: string;
  /** The host as in the URL. */
  host?: string | undefined;
  /** `http:` or `https:`. */
  protocol: string;
  /** Empty for the usual port of the protocol. */
  port: string;
  /** The name for TLS, from the Host header of the request. */
  servername?: string | null | undefined;
  /** The option `allowH2` of the dispatcher. */
  allowH2?: boolean | undefined;
  /** An existing socket to use for TLS, instead of a dialled one. */
  httpSocket?: NetSocket | undefined;
}

/** Called once, with an error or with a socket that is ready for HTTP. */
export type ConnectCallback = (...result: [null, NetSocket | TLSSocket] | [Error, null]) => void;

/** The type of undici's option `connect`. */
export type Connector = (request: ConnectRequest, callback: ConnectCallback) => void;

/** Options of tls.connect for https: `ca`, `cert`, `key`, `servername`, `rejectUnauthorized` and so on. */
type TlsOptions = Omit<ConnectionOptions, 'socket' | 'host' | 'port' | 'path' | 'timeout' | 'ALPNProtocols'>;

/** Options of tls.connect, and those of undici's buildConnector under their names there. */
export interface ConnectorOptions extends TlsOptions, ServiceOptions {
  /**
   * Milliseconds for the dial, and again for the TLS handshake, which then fails with ETIMEDOUT: 1 to 2147483647. Default:
   * `dial.timeoutMs` or the node's dialTimeoutMs for the dial, 10000 for the handshake, as in undici.
   */
  timeout?: number | undefined;
  /** Whether to offer HTTP/2 to a TLS server. Default: the option of the dispatcher, or else false. */
  allowH2?: boolean | undefined;
  /** Whether to speak HTTP/2 without TLS, for servers that do so. Default false. */
  useH2c?: boolean | undefined;
  /** The number of TLS sessions at most that are kept to be resumed; 0 for none. Default 100, as in undici. */
  maxCachedSessions?: number | undefined;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;
const CACHED_SESSIONS = 100;

/** In bytes, as in undici: no record of TLS is longer. */
const SECURE_HIGH_WATER_MARK = 16 * 1024;

/**
 * Dials services for undici: `new Agent({ connect: connector(node) })`, the dispatcher for its `request`, `stream`, `fetch`
 * and `WebSocket`, and for the global `fetch(url, { dispatcher })`, which in Node 20 to 24 takes those of undici 6 and 7.
 * The host of the URL is the name of the service; a port other than the usual one is part of the address
 * (see {@link serviceAddress}, also for how URLs change names). The callback gets the errors of {@link Node.dial} and of
 * tls.connect, or ERR_STARLANE_ADDRESS for a host that is not a valid name; fetch has them as the `cause` of its TypeError.
 * @throws ERR_STARLANE_OPTION
 */
export function connector(node: Node, options: ConnectorOptions = {}): Connector {
  const { address, dial, timeout, allowH2, useH2c, maxCachedSessions, ...tls } = options;
  checkNumber('timeout', timeout, 1, MAX_TIMEOUT_MS);
  checkNumber('maxCachedSessions', maxCachedSessions, 0, Number.MAX_SAFE_INTEGER);
  const dialer = new ServiceDialer(node, { address, dial: { ...dial, timeoutMs: dial?.timeoutMs ?? timeout } });
  const sessions = new TlsSessions(maxCachedSessions ?? CACHED_SESSIONS);

  const dialled = (target: HttpTarget): NetSocket => asNetSocket(dialer.dial(target));

  const plain = (request: ConnectRequest): NetSocket => {
    const socket = dialled(targetOf(request));
    return useH2c === true ? Object.assign(socket, { alpnProtocol: 'h2' }) : socket;
  };

  const secure = (request: ConnectRequest): TLSSocket => {
    const target = targetOf(request);
    const carrier = request.httpSocket ?? dialled(target);
    const servername = request.servername || tls.servername || nameForTls(target.hostname);
    const key = `${target.hostname}:${target.port} ${servername}`;
    const offered = allowH2 ?? request.allowH2 ?? false;
    const tlsOptions = {
      highWaterMark: SECURE_HIGH_WATER_MARK,
      ...tls,
      socket: carrier,
      host: target.hostname,
      servername,
      session: tls.session ?? sessions.get(key),
      ALPNProtocols: offered ? ['http/1.1', 'h2'] : ['http/1.1'],
    };
    const socket = secureSocket(carrier, () => connect(tlsOptions));
    socket.on('session', (session) => sessions.set(key, session));
    socket.once('close', (hadError) => {
      if (hadError) sessions.delete(key);
    });
    limitHandshake(socket, carrier, timeout ?? HANDSHAKE_TIMEOUT_MS, target);
    return socket;
  };

  return (request, callback) => {
    const isSecure = request.protocol === 'https:';
    let socket: NetSocket;
    try {
      socket = isSecure ? secure(request) : plain(request);
    } catch (error) {
      nextTick(callback, error as Error, null);
      return;
    }
    report(socket, isSecure ? 'secureConnect' : 'connect', callback);
  };
}

/** Calls `callback` once. The 'error' listener stays, as the code that gets the socket may add its own later. */
function report(socket: NetSocket, ready: 'connect' | 'secureConnect', callback: ConnectCallback): void {
  let hasReported = false;
  const finish = (error: Error | null): void => {
    if (hasReported) return;
    hasReported = true;
    if (error === null) callback(null, socket);
    else callback(error, null);
  };
  socket.once(ready, () => finish(null));
  socket.on('error', finish);
}

/** Limits the TLS handshake. The dial has its own limit, so this one counts from when the carrier is connected. */
function limitHandshake(socket: TLSSocket, carrier: NetSocket, timeoutMs: number, target: HttpTarget): void {
  let timer: NodeJS.Timeout | undefined;
  const start = (): void => {
    timer = setTimeout(() => {
      const where = { address: target.hostname, port: target.port };
      socket.destroy(netError('ETIMEDOUT', 'connect', where, new Error('the TLS handshake did not end')));
    }, timeoutMs);
  };
  if (carrier.connecting) carrier.once('connect', start);
  else start();
  const stop = (): void => clearTimeout(timer);
  socket.once('secureConnect', stop);
  socket.once('close', stop);
}

function targetOf({ hostname, port, protocol }: ConnectRequest): HttpTarget {
  const known = protocol === 'https:' ? 'https:' : 'http:';
  return { hostname, port: port === '' ? USUAL_PORT[known] : Number(port), protocol: known };
}

/** Returns the name for TLS; an IP address is none (RFC 6066, section 3). */
function nameForTls(hostname: string): string | undefined {
  return isIP(hostname) === 0 ? hostname : undefined;
}

/** Casts to net.Socket, which the types of undici name; undici uses only members that a socket of a node has too. */
function asNetSocket(socket: Socket): NetSocket {
  return socket as unknown as NetSocket;
}

/** @throws ERR_STARLANE_OPTION */
function checkNumber(name: string, value: unknown, min: number, max: number): void {
  if (value === undefined || (typeof value === 'number' && value >= min && value <= max)) return;
  throw starlaneError('ERR_STARLANE_OPTION', `${name}: must be a number from ${min} to ${max}`);
}

/** @internal TLS sessions to resume, by the server that has issued them. https.Agent has its own such cache. */
export class TlsSessions {
  private readonly sessions: RecentMap<string, Buffer>;

  constructor(
    /** The number of sessions at most; 0 for none. */
    private readonly limit: number,
  ) {
    this.sessions = new RecentMap(limit);
  }

  get(key: string): Buffer | undefined {
    return this.sessions.peek(key);
  }

  set(key: string, session: Buffer): void {
    if (this.limit > 0) this.sessions.set(key, session);
  }

  delete(key: string): void {
    this.sessions.delete(key);
  }
}
