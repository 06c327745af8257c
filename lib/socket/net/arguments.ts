// The argument forms of net.connect, socket.connect and server.listen, and what they mean on a virtual network:
//
//   connect(options[, cb])   connect(port[, host][, cb])          connect(path[, cb])
//   listen(options[, cb])    listen([port][, host][, backlog][, cb])   listen(path[, backlog][, cb])
//
// A host is a service name or `@nodeId`. No host, or one of the usual addresses of a machine itself, is this node. A path,
// where net has the path of a unix socket, is a service name without a port. Checks, codes and texts are Node's (its
// documentation of net), but for ports, which have 32 bits here.

import { isIP, type ListenOptions, type SocketConnectOpts } from 'node:net';
import { MAX_VIRTUAL_PORT } from '../../address.js';
import { starlaneError } from '../../errors.js';
import {
  badPort,
  invalidAddress,
  invalidArgType,
  invalidArgValue,
  missingArgs,
  outOfRange,
} from '../../util/runtime/node-errors.js';
import { nextTick } from '../../util/runtime/real-timers.js';

/** Where errors say that a socket goes when it names no host: what Node looks up then. */
const DEFAULT_HOST = 'localhost';
/** Hosts that are this node, for both connect and listen. */
const THIS_NODE = new Set(['', 'localhost', '127.0.0.1', '::1', '0.0.0.0', '::']);

/**
 * An option of connect, for who translates the hosts of a program: the host as the program has written it, which is the one
 * that errors and events name.
 */
export const SAID_HOST = Symbol('said host');

type Callback = () => void;

interface Closable {
  close(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** Where a socket goes, or a server is bound: by service name, by node, or by neither, which is this node itself. */
export interface Place {
  /** A service name, `@nodeId`, or empty for this node. */
  readonly host: string;
  /** Undefined: any port, which goes with a name only. */
  readonly port: number | undefined;
}

/** The options of connect that mean something here, of the many that net has. */
export interface ConnectTarget extends Place {
  /** How the user put it, for errors. */
  readonly said: { readonly host: string; readonly port: number | undefined; readonly isPath: boolean };
  readonly localPort: number | undefined;
}

export interface NormalArguments<T> {
  readonly options: T;
  readonly callback: Callback | undefined;
}

type ConnectOptions = Partial<SocketConnectOpts> & Record<string, unknown> & { [SAID_HOST]?: string };
type NetListenOptions = ListenOptions & Record<string, unknown>;

function normalize<T>(args: readonly unknown[]): NormalArguments<T> {
  const [first, second] = args;
  const last = args.at(-1);
  let options: Record<string, unknown> = {};
  if (args.length > 0) {
    if (typeof first === 'object' && first !== null) options = first as Record<string, unknown>;
    else if (isPath(first)) options.path = first;
    else {
      options.port = first;
      if (typeof second === 'string') options.host = second;
    }
  }
  return { options: options as T, callback: typeof last === 'function' ? (last as Callback) : undefined };
}

export function connectArguments(args: readonly unknown[]): NormalArguments<ConnectOptions> {
  return normalize<ConnectOptions>(args);
}

/** @throws ERR_MISSING_ARGS, ERR_INVALID_ARG_TYPE, ERR_SOCKET_BAD_PORT, ERR_INVALID_IP_ADDRESS */
export function connectTarget(options: ConnectOptions): ConnectTarget {
  const { path, port, host, localAddress, localPort, lookup } = options as Record<string, unknown>;
  if (port === undefined && (path === undefined || path === null)) throw missingArgs('options', 'port', 'path');
  if (path) {
    if (typeof path !== 'string') throw invalidArgType('options.path', 'of type string', path);
    return { host: path, port: undefined, localPort: undefined, said: { host: path, port: undefined, isPath: true } };
  }
  if (localAddress && isIP(String(localAddress)) === 0) {
    // Of a virtual network the node itself is the only local address there is.
    if (!String(localAddress).startsWith('@')) throw invalidAddress(String(localAddress));
  }
  if (localPort && typeof localPort !== 'number')
    throw invalidArgType('options.localPort', 'of type number', localPort);
  if (port !== undefined && typeof port !== 'number' && typeof port !== 'string') {
    throw invalidArgType('options.port', 'one of type number or string', port);
  }
  const number = port === undefined ? 0 : checkPort('Port', port);
  checkFamilySelection(options as Record<string, unknown>);
  if (lookup !== undefined && lookup !== null && typeof lookup !== 'function') {
    throw invalidArgType('options.lookup', 'of type function', lookup);
  }
  if (host && typeof host !== 'string') throw invalidArgType('hostname', 'of type string', host);
  const name = (host as string | undefined) || DEFAULT_HOST;
  return {
    host: placeOf(name),
    port: number,
    localPort: localPort ? checkPort('options.localPort', localPort as number) : undefined,
    said: { host: options[SAID_HOST] ?? name, port: number, isPath: false },
  };
}

export interface ListenTarget extends Place {
  /** The host as the user put it, for errors; `::` where he said none, as Node has it. */
  readonly said: string;
  /** A server at a path tells that as its address. */
  readonly path: string | undefined;
}

export function listenArguments(args: readonly unknown[]): NormalArguments<NetListenOptions> {
  const normal = normalize<NetListenOptions>(args);
  // listen(), listen(callback), listen(null), and options with a port that is undefined or null: any free port.
  const { options } = normal;
  const anyPort =
    args.length === 0 ||
    typeof args[0] === 'function' ||
    ('port' in options && (options.port === undefined || options.port === null));
  return anyPort ? { ...normal, options: { ...options, port: 0 } } : normal;
}

/** @throws ERR_SOCKET_BAD_PORT, ERR_INVALID_ARG_VALUE, ERR_STARLANE_ARGUMENT for handles and file descriptors */
export function listenTarget(options: NetListenOptions): ListenTarget {
  const { port, host, path, fd, handle, _handle } = options as Record<string, unknown>;
  if (handle || _handle || (typeof fd === 'number' && fd >= 0)) throw noDescriptors();
  if (typeof port === 'number' || typeof port === 'string') {
    const name = host ? String(host) : '';
    return { host: placeOf(name), port: checkPort('options.port', port), said: name || '::', path: undefined };
  }
  if (isPath(path)) return { host: path, port: undefined, said: path, path };
  if (!('port' in options) && !('path' in options)) {
    throw invalidArgValue('options', options, 'must have the property "port" or "path"');
  }
  throw invalidArgValue('options', options);
}

/** Closes the server when the signal is aborted. @throws ERR_INVALID_ARG_TYPE */
export function checkListenSignal(server: Closable, signal: unknown): void {
  if (signal === undefined) return;
  if (!(signal instanceof AbortSignal)) throw invalidArgType('options.signal', 'an instance of AbortSignal', signal);
  const onAbort = (): void => {
    server.close();
  };
  if (signal.aborted) {
    nextTick(onAbort);
    return;
  }
  signal.addEventListener('abort', onAbort, { once: true });
  server.once('close', () => signal.removeEventListener('abort', onAbort));
}

/** For what only a network of the system has. */
export function noDescriptors(): Error {
  return starlaneError('ERR_STARLANE_ARGUMENT', 'a virtual network has no handles and file descriptors');
}

/** @throws ERR_INVALID_ARG_TYPE for options that are there and no numbers */
export function checkNumbers(options: Record<string, unknown>, ...names: readonly string[]): void {
  for (const name of names) {
    const value = options[name];
    if (value !== undefined && typeof value !== 'number') {
      throw invalidArgType(`options.${name}`, 'of type number', value);
    }
  }
}

/** A string that is not a number, as net tells paths from ports. */
function isPath(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !(Number(value) >= 0);
}

/** Options of Node that are checked and mean nothing here. */
function checkFamilySelection(options: Record<string, unknown>): void {
  const { autoSelectFamily, autoSelectFamilyAttemptTimeout: timeout } = options;
  if (autoSelectFamily != null && typeof autoSelectFamily !== 'boolean') {
    throw invalidArgType('options.autoSelectFamily', 'of type boolean', autoSelectFamily);
  }
  if (timeout == null) return;
  const name = 'options.autoSelectFamilyAttemptTimeout';
  if (typeof timeout !== 'number') throw invalidArgType(name, 'of type number', timeout);
  if (!Number.isInteger(timeout)) throw outOfRange(name, 'an integer', timeout);
  if (timeout < 1 || timeout > 0x7fff_ffff) throw outOfRange(name, '>= 1 && <= 2147483647', timeout);
}

function placeOf(host: string): string {
  return THIS_NODE.has(host) ? '' : host;
}

function checkPort(name: string, value: number | string): number {
  const port = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value);
  if (!(Number.isInteger(port) && port >= 0 && port <= MAX_VIRTUAL_PORT)) {
    throw badPort(name, MAX_VIRTUAL_PORT + 1, value);
  }
  return port;
}
