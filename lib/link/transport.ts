// Reliable byte streams to build links on: tcp, tls and unix sockets, dialled and listened for.
// Knows nothing of sessions, handshakes or peers. A resumable layer may later slide in between here and the session.

import { lstat, unlink } from 'node:fs/promises';
import { connect as connectTcp, createServer as createTcpServer, isIP, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { formatLinkAddress, type LinkAddress } from '../address.js';
import { starlaneError } from '../errors.js';
import type { TlsFiles } from '../options.js';
import { debug } from '../util/debug.js';
import { sharedTimers, type Timed, type Timers } from '../util/timers.js';

const log = debug('link');

/** A second net under the pings of the session, in ms of silence. Node fixes the interval and number of the probes. */
const KERNEL_KEEPALIVE_MS = 5_000;

/** Our tls is 1.3 only: no renegotiation, no downgrade, and every peer is a Starlane node anyway. */
const TLS_VERSION = 'TLSv1.3';

export interface ConnectOptions {
  readonly tls?: TlsFiles;
  readonly signal?: AbortSignal;
  /** Until connected, tls included. */
  readonly timeoutMs: number;
  readonly timers?: Timers;
}

export interface ListenOptions {
  readonly tls?: TlsFiles;
  /** Allows plain tcp beyond loopback. */
  readonly insecure?: boolean;
  /** For the tls handshake of one who connects. */
  readonly timeoutMs: number;
  /** Connections in the middle of a tls handshake; one more is closed at once. */
  readonly maxPending: number;
  /** A connection is there, tls is done; `remote` is its link address. */
  onConnection(duplex: Duplex, remote: string): void;
  /** One who connected was turned away or failed in tls. */
  onRefused(remote: string, error: Error): void;
  /** The listener has failed and is closed. */
  onError(error: Error): void;
}

/** A listening socket. */
export interface TransportListener {
  /** Where it listens, with the real port. */
  readonly address: string;
  /** Stops listening; connections it has made stay. */
  close(): Promise<void>;
}

/**
 * Connects to a link address. TCP_NODELAY and the kernel's keepalive are set, and the socket does not hold the process.
 * @throws Node's own error, ERR_STARLANE_OPTION for tls without certificate, ERR_STARLANE_HANDSHAKE_TIMEOUT, or the
 * reason of the signal
 */
export function connect(address: LinkAddress, options: ConnectOptions): Promise<Duplex> {
  const { signal, tls, timers = sharedTimers } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw signal.reason;
    if (address.scheme === 'tls' && tls === undefined) throw needsTls(address);
    const socket = dial(address, tls);
    const late: Timed = {
      onDeadline: () =>
        socket.destroy(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', `connecting to ${formatLinkAddress(address)}`)),
    };
    const timer = timers.schedule(options.timeoutMs, late);
    const onAbort = (): void => {
      socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal?.reason }));
    };
    const settle = (): void => {
      timers.cancel(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.removeListener('close', onClose);
      socket.removeListener(connected, onConnected);
      // The error of a dialled socket comes before 'close'; from here on the session listens for it.
      socket.removeListener('error', onError);
    };
    let failure: Error | undefined;
    const onError = (error: Error): void => {
      failure = error;
    };
    const onClose = (): void => {
      settle();
      reject(failure ?? starlaneError('ERR_STARLANE_TRANSPORT', `${formatLinkAddress(address)} closed the connection`));
    };
    const onConnected = (): void => {
      settle();
      socket.unref();
      resolve(socket);
    };
    const connected = address.scheme === 'tls' ? 'secureConnect' : 'connect';
    socket.once(connected, onConnected);
    socket.on('error', onError);
    socket.once('close', onClose);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Listens at a link address.
 * @throws ERR_STARLANE_INSECURE for plain tcp beyond loopback, ERR_STARLANE_OPTION for tls without certificate, or
 * Node's own error such as EADDRINUSE
 */
export async function listen(address: LinkAddress, options: ListenOptions): Promise<TransportListener> {
  if (address.scheme === 'tcp' && !options.insecure && !isLoopback(address.host)) {
    throw starlaneError('ERR_STARLANE_INSECURE', formatLinkAddress(address));
  }
  const listener = new Listener(address, options);
  await listener.start();
  return listener;
}

/** Is it certain that only this machine can reach a listener on `host`? */
export function isLoopback(host: string | undefined): boolean {
  if (host === undefined) return false;
  if (host === 'localhost') return true;
  const version = isIP(host);
  if (version === 4) return host.startsWith('127.');
  if (version === 6) return /^(0*:)*:?0*1$/.test(host) || /^::ffff:127\./i.test(host);
  return false;
}

function dial(address: LinkAddress, tls: TlsFiles | undefined): Socket {
  if (address.scheme === 'unix') return connectTcp({ path: address.path });
  const { host = 'localhost', port } = address;
  const tcp = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KERNEL_KEEPALIVE_MS };
  if (address.scheme === 'tcp') return connectTcp(tcp);
  const socket = connectTls({
    ...tcp,
    ...secureContext(tls),
    minVersion: TLS_VERSION,
    // An address is not a server name in tls; Node then checks the certificate against `host` all the same.
    servername: isIP(host) === 0 ? host : '',
  });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KERNEL_KEEPALIVE_MS);
  return socket;
}

/** Node's types want arrays that may be written to. */
function secureContext(tls: TlsFiles | undefined): {
  cert?: string | Buffer;
  key?: string | Buffer;
  ca?: Array<string | Buffer>;
} {
  if (tls === undefined) return {};
  const { cert, key, ca } = tls;
  if (ca === undefined) return { cert, key };
  return { cert, key, ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? [ca] : [...ca] };
}

function needsTls(address: LinkAddress): Error {
  return starlaneError('ERR_STARLANE_OPTION', `${formatLinkAddress(address)} needs the option tls`);
}

class Listener implements TransportListener {
  private readonly server: Server;
  private listeningAddress: string;
  private isClosed = false;
  /** Connections that have not finished tls. */
  private readonly pending = new Set<Socket>();

  constructor(
    private readonly where: LinkAddress,
    private readonly options: ListenOptions,
  ) {
    this.listeningAddress = formatLinkAddress(where);
    if (where.scheme === 'tls') {
      if (options.tls === undefined) throw needsTls(where);
      const server = createTlsServer({
        ...secureContext(options.tls),
        minVersion: TLS_VERSION,
        requestCert: true,
        rejectUnauthorized: true,
        handshakeTimeout: options.timeoutMs,
      });
      server.on('connection', (socket: Socket) => this.onPending(socket));
      server.on('secureConnection', (socket) => {
        this.settle(socket);
        this.onSocket(socket);
      });
      // Also told of connections that are closed, or late, in the middle of tls.
      server.on('tlsClientError', (error, socket) => {
        if (this.isClosed) return;
        // Node may have destroyed the socket already, and then it has no address any more.
        options.onRefused(socket.remoteAddress === undefined ? this.address : remoteAddress(where, socket), error);
      });
      this.server = server;
    } else {
      this.server = createTcpServer((socket) => this.onSocket(socket));
    }
  }

  get address(): string {
    return this.listeningAddress;
  }

  async start(): Promise<void> {
    try {
      await this.listen();
    } catch (error) {
      if (this.where.scheme !== 'unix' || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      // A process that dies leaves its socket file behind. Only a socket that nobody answers at may be replaced.
      if (!(await isDeadSocket(this.where.path))) throw error;
      await unlink(this.where.path);
      await this.listen();
    }
    this.server.unref();
    this.server.on('error', (error) => {
      log('%s failed: %s', this.listeningAddress, error.message);
      void this.close();
      this.options.onError(error);
    });
    const { where } = this;
    if (where.scheme !== 'unix') {
      const bound = this.server.address();
      const port = bound !== null && typeof bound === 'object' ? bound.port : where.port;
      this.listeningAddress = formatLinkAddress({ ...where, port });
    }
  }

  close(): Promise<void> {
    this.isClosed = true;
    // Not its callback: that waits for the connections made so far, which stay.
    this.server.close();
    for (const socket of this.pending) socket.destroy();
    return new Promise((resolve) => setImmediate(resolve));
  }

  private listen(): Promise<void> {
    const { server, where } = this;
    return new Promise((resolve, reject) => {
      const onListening = (): void => {
        server.removeListener('error', onError);
        resolve();
      };
      const onError = (error: Error): void => {
        server.removeListener('listening', onListening);
        reject(error);
      };
      server.once('listening', onListening);
      server.once('error', onError);
      if (where.scheme === 'unix') server.listen({ path: where.path });
      else server.listen({ port: where.port, host: where.host });
    });
  }

  private onPending(socket: Socket): void {
    this.pending.add(socket);
    socket.once('close', () => this.pending.delete(socket));
    if (this.pending.size > this.options.maxPending) {
      socket.destroy(starlaneError('ERR_STARLANE_LINK_LIMIT', 'too many tls handshakes at a time'));
    }
  }

  /** Node does not say which connection a tls socket is on. */
  private settle(secured: TLSSocket): void {
    for (const socket of this.pending) {
      if (socket.remotePort === secured.remotePort && socket.remoteAddress === secured.remoteAddress) {
        this.pending.delete(socket);
        return;
      }
    }
  }

  private onSocket(socket: Socket | TLSSocket): void {
    if (this.where.scheme !== 'unix') {
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KERNEL_KEEPALIVE_MS);
    }
    socket.unref();
    this.options.onConnection(socket, remoteAddress(this.where, socket));
  }
}

function remoteAddress(where: LinkAddress, socket: Socket): string {
  if (where.scheme === 'unix') return formatLinkAddress(where);
  return formatLinkAddress({ scheme: where.scheme, host: socket.remoteAddress, port: socket.remotePort ?? 0 });
}

/** Is there a unix socket at `path` that no process listens on? Only a refusal says so. */
async function isDeadSocket(path: string): Promise<boolean> {
  try {
    if (!(await lstat(path)).isSocket()) return false;
  } catch {
    return false;
  }
  return new Promise((resolve) => {
    const probe = connectTcp({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
