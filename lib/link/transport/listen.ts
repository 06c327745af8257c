// Listens at a link address: tcp, tls or unix. A connection is admitted or closed at once.

import { lstat, unlink } from 'node:fs/promises';
import { connect as connectTcp, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import { formatLinkAddress, type LinkAddress } from '../../address.js';
import { codeOf } from '../../errors.js';
import type { ResolvedNodeOptions } from '../../options/options.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { debug } from '../../util/runtime/debug.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import type { ProcessRefs } from '../../util/runtime/process-refs.js';
import { setImmediate } from '../../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../../util/runtime/shown.js';
import { withAddress } from '../handshake/refusals.js';
import { checkSecure, contextFor, KERNEL_KEEPALIVE_MS } from './connect.js';
import { type PendingConnection, type PendingConnections, tooManyPending } from './pending-connections.js';
import { isNotTls, tlsFailure } from './protocol-mismatch.js';
import { ENROLMENT_PROTOCOL, type LinkTls, TLS_SETTINGS, type TlsFacts } from './tls.js';

const log = debug('link');

/** How long a machine that asks to become a member may take, in ms: to ask, and to wait for an issuer far away. */
const ENROLMENT_TIMEOUT_MS = 25_000;

/** The alert of tls for a wrong protocol: fatal, protocol_version (RFC 8446, section 6). */
const PROTOCOL_VERSION_ALERT = Buffer.from('15030300020246', 'hex');

export interface ListenOptions {
  readonly tls?: LinkTls;
  /** Allows plain tcp beyond loopback. */
  readonly insecure?: boolean;
  /** For the tls handshake of a connection. */
  readonly timeoutMs: number;
  /** Shared by all listeners of a node. */
  readonly pendingConnections: PendingConnections;
  /** Called with a connection after its tls handshake. `remote` is its link address. It stays pending until it is removed. */
  onConnection(connection: PendingConnection, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void;
  /**
   * Called with a connection of a machine that asks to become a member, after its tls handshake. It stays pending until it closes, which
   * `done` begins in order.
   */
  onEnrolment?(socket: TLSSocket, remote: string, done: () => void): void;
  /** Called when a connection was rejected or failed in tls. */
  onRefused(remote: string, error: Error): void;
  /** Called when the listener has failed; it is closed. */
  onError(error: Error): void;
}

/** A listening socket. */
export interface TransportListener {
  /** Where it listens, with the real port. */
  readonly address: string;
  /** Uses the certificates that the option `tls` has now. */
  renewTls(): Promise<void>;
  /** Stops listening. Connections that were handed on stay. */
  close(): Promise<void>;
}

/**
 * Listens at a link address.
 * @throws ERR_STARLANE_INSECURE for plain tcp beyond loopback, ERR_STARLANE_OPTION for tls without certificate, or
 * Node's own error such as EADDRINUSE
 */
export async function listen(address: LinkAddress, options: ListenOptions): Promise<TransportListener> {
  if (!options.insecure) checkSecure(address, address.host, 'listen at');
  const listener = new SocketListener(address, options, await makeServer(address, options));
  await listener.start();
  return listener;
}

async function makeServer(address: LinkAddress, { tls, timeoutMs }: ListenOptions): Promise<Server> {
  if (address.scheme !== 'tls') return createTcpServer();
  const certificates = contextFor(address, tls);
  return nodeTls().createServer({
    ...(await certificates.contextOptions()),
    ...TLS_SETTINGS,
    ALPNProtocols: certificates.serverProtocols,
    requestCert: true,
    handshakeTimeout: timeoutMs,
  });
}

class SocketListener implements TransportListener {
  private listeningAddress: string;
  private isClosed = false;
  /** Connections in the tls handshake. */
  private readonly inTls = new Map<Socket, PendingConnection>();
  /** Connections of machines that ask to become members. */
  private readonly enrolling = new Set<TLSSocket>();

  constructor(
    private readonly where: LinkAddress,
    private readonly options: ListenOptions,
    private readonly server: Server,
  ) {
    this.listeningAddress = formatLinkAddress(where);
    if (where.scheme !== 'tls') {
      server.on('connection', (socket) => {
        const connection = this.admit(socket);
        if (connection !== undefined) this.onSocket(connection, socket, undefined);
      });
      return;
    }
    server.on('connection', (socket) => this.onTlsBegin(socket));
    server.on('secureConnection', (socket: TLSSocket) => {
      const below = this.under(socket);
      const connection = below === undefined ? undefined : this.inTls.get(below);
      // It was closed while Node was busy with it.
      if (below === undefined || connection === undefined) socket.destroy();
      else {
        this.inTls.delete(below);
        if (socket.alpnProtocol === ENROLMENT_PROTOCOL) this.onEnrolment(connection, socket);
        else this.onSocket(connection, socket, options.tls?.facts(socket));
      }
    });
    // This event also comes for sockets that close, or time out, in the middle of tls.
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => this.onTlsError(error, socket));
  }

  get address(): string {
    return this.listeningAddress;
  }

  async start(): Promise<void> {
    try {
      await this.listen();
    } catch (error) {
      if (this.where.scheme !== 'unix' || codeOf(error) !== 'EADDRINUSE') throw error;
      // A process that dies leaves its socket file behind. Only a socket at which nobody answers may be replaced.
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

  async renewTls(): Promise<void> {
    const { tls } = this.options;
    if (this.where.scheme !== 'tls' || tls === undefined) return;
    (this.server as TlsServer).setSecureContext(await tls.contextOptions());
  }

  close(): Promise<void> {
    this.isClosed = true;
    // Without its callback, which would wait for the connections so far: those stay.
    this.server.close();
    for (const socket of [...this.inTls.keys(), ...this.enrolling]) socket.destroy();
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
      // Without `exclusive`, a worker of a cluster would share its links with other workers.
      const exclusive = true;
      const at =
        where.scheme === 'unix' ? { path: where.path, exclusive } : { port: where.port, host: where.host, exclusive };
      // Accepted sockets inherit the context.
      withoutContext(() => server.listen(at));
    });
  }

  /** Returns undefined when there is no room: the socket is closed. */
  private admit(socket: Socket): PendingConnection | undefined {
    const remote = remoteAddress(this.where, socket) ?? this.address;
    const reject = (error: Error): void => {
      if (!this.isClosed) this.options.onRefused(remote, error);
      socket.destroy();
    };
    const connection = this.options.pendingConnections.admit(reject);
    if (connection === undefined) {
      socket.on('error', () => {});
      reject(tooManyPending());
    }
    return connection;
  }

  private onTlsBegin(socket: Socket): void {
    const connection = this.admit(socket);
    if (connection === undefined) return;
    this.inTls.set(socket, connection);
    socket.once('close', () => {
      if (this.inTls.delete(socket)) this.options.pendingConnections.remove(connection);
    });
  }

  /** Returns the socket below a tls socket, which Node does not expose. */
  private under(secured: TLSSocket): Socket | undefined {
    for (const socket of this.inTls.keys()) {
      if (socket.remotePort === secured.remotePort && socket.remoteAddress === secured.remoteAddress) return socket;
    }
    return undefined;
  }

  private onTlsError(error: Error, socket: TLSSocket): void {
    const remote = remoteAddress(this.where, socket) ?? this.address;
    const below = this.under(socket);
    // OpenSSL sends nothing to a peer that does not speak tls. A Starlane node understands this alert.
    if (isNotTls(error)) below?.write(PROTOCOL_VERSION_ALERT);
    // Node does it for most errors, but not for ERR_TLS_HANDSHAKE_TIMEOUT.
    socket.destroy();
    below?.destroy();
    // This node has rejected it, or it has sent nothing: a probe, or the health check of a load balancer.
    if (this.isClosed || (socket.bytesRead === 0 && codeOf(error) === 'ECONNRESET')) return;
    this.options.onRefused(remote, tlsFailure(error));
  }

  private onEnrolment(connection: PendingConnection, socket: TLSSocket): void {
    const { pendingConnections, onEnrolment, onRefused } = this.options;
    const remote = remoteAddress(this.where, socket) ?? this.address;
    connection.reject = (error) => {
      if (!this.isClosed) onRefused(remote, error);
      socket.destroy();
    };
    this.enrolling.add(socket);
    socket.once('close', () => {
      this.enrolling.delete(socket);
      pendingConnections.remove(connection);
    });
    // Its end says enough.
    socket.on('error', () => {});
    socket.unref();
    if (onEnrolment === undefined || !pendingConnections.hold(connection, ENROLMENT_TIMEOUT_MS)) {
      connection.reject(tooManyPending());
      return;
    }
    onEnrolment(socket, remote, () => socket.end());
  }

  private onSocket(connection: PendingConnection, socket: Socket | TLSSocket, tls: TlsFacts | undefined): void {
    if (this.where.scheme !== 'unix') {
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KERNEL_KEEPALIVE_MS);
    }
    socket.unref();
    this.options.onConnection(connection, socket, remoteAddress(this.where, socket) ?? this.address, tls);
  }
}

function remoteAddress(where: LinkAddress, socket: Socket): string | undefined {
  if (where.scheme === 'unix') return formatLinkAddress(where);
  if (socket.remoteAddress === undefined) return undefined;
  return formatLinkAddress({ scheme: where.scheme, host: socket.remoteAddress, port: socket.remotePort ?? 0 });
}

/** Returns whether there is a unix socket at `path` that no process listens on. Only a refusal shows that. */
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
    probe.once('error', (error) => resolve(codeOf(error) === 'ECONNREFUSED'));
  });
}

interface ListenerOwner {
  readonly options: ResolvedNodeOptions;
  readonly tls: LinkTls | undefined;
  readonly pendingConnections: PendingConnections;
  /** Called with a connection of a machine that asks to become a member; see {@link ListenOptions.onEnrolment}. */
  readonly onEnrolment: ListenOptions['onEnrolment'];
  /** Called with a connection that is ready for the handshake of the link. */
  receive(connection: PendingConnection, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void;
  /** Called when a connection has failed. */
  fault(error: Error): void;
  onListenerFailed(error: Error): void;
  onListenerClosed(listener: LinkListener): void;
}

/** What `listenAndServe` returns. Holds the process open until it or the node is closed, or {@link unref} is called. */
export class LinkListener {
  private processRefs: ProcessRefs | undefined;
  private isRef = false;

  private constructor(
    private readonly transport: TransportListener,
    private readonly owner: ListenerOwner,
  ) {}

  /** @internal Listens at `where`. @throws as {@link listen} */
  static async listen(where: LinkAddress, owner: ListenerOwner): Promise<LinkListener> {
    const { insecure, handshakeTimeoutMs } = owner.options;
    const transport = await listen(where, {
      tls: owner.tls,
      insecure,
      timeoutMs: handshakeTimeoutMs,
      pendingConnections: owner.pendingConnections,
      onConnection: (connection, duplex, remote, tls) => owner.receive(connection, duplex, remote, tls),
      onEnrolment: (socket, remote, done) => {
        if (owner.onEnrolment === undefined) socket.destroy();
        else owner.onEnrolment(socket, remote, done);
      },
      onRefused: (remote, error) => owner.fault(withAddress(error, remote)),
      onError: (error) => {
        owner.onListenerFailed(error);
        listener.onClosed();
      },
    });
    const listener = new LinkListener(transport, owner);
    return listener;
  }

  /** Where it listens, with the real port. */
  get address(): string {
    return this.transport.address;
  }

  /** Stops listening. Links stay. */
  async close(): Promise<void> {
    await this.transport.close();
    this.onClosed();
  }

  /** Lets the listener hold the process open again, which is the default. */
  ref(): this {
    if (!this.isRef) this.processRefs?.ref();
    this.isRef = this.processRefs !== undefined;
    return this;
  }

  /** Lets the process end while the listener is open. */
  unref(): this {
    if (this.isRef) this.processRefs?.unref();
    this.isRef = false;
    return this;
  }

  /** @internal Makes the listener hold the process open by `processRefs`. */
  refBy(processRefs: ProcessRefs): void {
    this.processRefs = processRefs;
    this.ref();
  }

  /** @internal Returns what console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    return shown('LinkListener', { address: this.address }, depth, options, inspect);
  }

  /** @internal Uses the certificates that the option `tls` has now. */
  renewTls(): Promise<void> {
    return this.transport.renewTls();
  }

  private onClosed(): void {
    this.unref();
    this.processRefs = undefined;
    this.owner.onListenerClosed(this);
  }
}
