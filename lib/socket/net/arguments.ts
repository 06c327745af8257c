// The argument forms of net.connect, socket.connect and server.listen, and their meaning on a virtual network:
//
//   connect(options[, cb])   connect(port[, host][, cb])          connect(path[, cb])
//   listen(options[, cb])    listen([port][, host][, backlog][, cb])   listen(path[, backlog][, cb])
//
// A host is a service name or `@nodeId`. No host, or one of the usual addresses of the machine itself, is this node. A path, which for net
// is the path of a unix socket, is a service name without a port. Checks, codes and texts are those of Node (see its documentation of
// net), except for ports, which have 32 bits here.

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

/** The host that errors name when a connect has none: Node looks this one up. */
const DEFAULT_HOST = 'localhost';
/** Hosts that mean this node, for both connect and listen. */
const THIS_NODE = new Set(['', 'localhost', '127.0.0.1', '::1', '0.0.0.0', '::']);

/**
 * An option of connect for code that translates the hosts of a program: the host as the program has written it, which errors and events
 * name.
 */
export const ORIGINAL_HOST = Symbol('original host');

type Callback = () => void;

interface Closable {
  close(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** Where a socket connects to, or a server is bound: a service name, a node, or neither, which is this node itself. */
export interface Place {
  /** A service name, `@nodeId`, or empty for this node. */
  readonly host: string;
  /** Undefined for any port, which is only possible with a service name. */
  readonly port: number | undefined;
}

/** The options of connect that have a meaning here. */
export interface ConnectTarget extends Place {
  /** As the user has written it, for errors. */
  readonly given: { readonly host: string; readonly port: number | undefined; readonly isPath: boolean };
  readonly localPort: number | undefined;
}

interface NormalArguments<T> {
  readonly options: T;
  readonly callback: Callback | undefined;
}

type ConnectOptions = Partial<SocketConnectOpts> & Record<string, unknown> & { [ORIGINAL_HOST]?: string };
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

/** Reads the arguments of connect. */
export function connectArguments(args: readonly unknown[]): NormalArguments<ConnectOptions> {
  return normalize<ConnectOptions>(args);
}

/** @throws ERR_MISSING_ARGS, ERR_INVALID_ARG_TYPE, ERR_SOCKET_BAD_PORT, ERR_INVALID_IP_ADDRESS */
export function connectTarget(options: ConnectOptions): ConnectTarget {
  const { path, port, host, localAddress, localPort, lookup } = options as Record<string, unknown>;
  if (port === undefined && (path === undefined || path === null)) throw missingArgs('options', 'port', 'path');
  if (path) {
    if (typeof path !== 'string') throw invalidArgType('options.path', 'of type string', path);
    return { host: path, port: undefined, localPort: undefined, given: { host: path, port: undefined, isPath: true } };
  }
  if (localAddress && isIP(String(localAddress)) === 0) {
    // On a virtual network the node itself is the only local address.
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
    given: { host: options[ORIGINAL_HOST] ?? name, port: number, isPath: false },
  };
}

interface ListenTarget extends Place {
  /** The host as the user has written it, for errors; `::` if there is none, as in Node. */
  readonly given: string;
  /** The path that the server returns as its address. */
  readonly path: string | undefined;
}

/** Reads the arguments of listen. */
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
    return { host: placeOf(name), port: checkPort('options.port', port), given: name || '::', path: undefined };
  }
  if (isPath(path)) return { host: path, port: undefined, given: path, path };
  if (!('port' in options) && !('path' in options)) {
    throw invalidArgValue('options', options, 'must have the property "port" or "path"');
  }
  throw invalidArgValue('options', options);
}

/** Closes the server when the option `signal` of listen is aborted. @throws ERR_INVALID_ARG_TYPE */
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

/** Returns the error for options that only a network of the system has. */
export function noDescriptors(): Error {
  return starlaneError('ERR_STARLANE_ARGUMENT', 'a virtual network has no handles or file descriptors');
}

/** @throws ERR_INVALID_ARG_TYPE for options that are neither undefined nor numbers */
export function checkNumbers(options: Record<string, unknown>, ...names: readonly string[]): void {
  for (const name of names) {
    const value = options[name];
    if (value !== undefined && typeof value !== 'number') {
      throw invalidArgType(`options.${name}`, 'of type number', value);
    }
  }
}

/** Returns whether this is a string but no number: net distinguishes paths from ports so. */
function isPath(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !(Number(value) >= 0);
}

/** Checks options of Node that have no meaning here. */
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
