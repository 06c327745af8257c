// Listens at a link address: tcp, tls or unix. Whoever connects is a stranger, admitted or turned away at once.

import { lstat, unlink } from 'node:fs/promises';
import { connect as connectTcp, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import { formatLinkAddress, type LinkAddress } from '../../address.js';
import type { ResolvedNodeOptions } from '../../options/options.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { debug } from '../../util/runtime/debug.js';
import { withoutContext } from '../../util/runtime/no-context.js';
import type { ProcessRefs } from '../../util/runtime/process-refs.js';
import { setImmediate } from '../../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../../util/runtime/shown.js';
import { withAddress } from '../handshake/refusals.js';
import { checkSecure, contextFor, KERNEL_KEEPALIVE_MS } from './connect.js';
import { type Stranger, type Strangers, tooMany } from './pending-connections.js';
import { speaksNoTls, tlsFailure } from './protocol-mismatch.js';
import { type LinkTls, TLS_SETTINGS, type TlsFacts } from './tls.js';

const log = debug('link');

/** A record of tls that says so: fatal, protocol_version (RFC 8446, section 6). */
const PROTOCOL_VERSION_ALERT = Buffer.from('15030300020246', 'hex');

export interface ListenOptions {
  readonly tls?: LinkTls;
  /** Allows plain tcp beyond loopback. */
  readonly insecure?: boolean;
  /** For the tls handshake of one who connects. */
  readonly timeoutMs: number;
  /** Of all listeners of a node. */
  readonly strangers: Strangers;
  /** A stranger is there, tls is done; `remote` is its link address. Whom it leaves when, is not known here any more. */
  onStranger(stranger: Stranger, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void;
  /** One who connected was turned away or failed in tls. */
  onRefused(remote: string, error: Error): void;
  /** The listener has failed and is closed. */
  onError(error: Error): void;
}

/** A listening socket. */
export interface TransportListener {
  /** Where it listens, with the real port. */
  readonly address: string;
  /** Takes the certificates that the option `tls` has now. */
  renewTls(): Promise<void>;
  /** Stops listening; those who are handed on stay. */
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
  return nodeTls().createServer({
    ...(await contextFor(address, tls).contextOptions()),
    ...TLS_SETTINGS,
    ALPNProtocols: [...TLS_SETTINGS.ALPNProtocols],
    requestCert: true,
    handshakeTimeout: timeoutMs,
  });
}

class SocketListener implements TransportListener {
  private listeningAddress: string;
  private isClosed = false;
  /** Those who have not finished tls. */
  private readonly pending = new Map<Socket, Stranger>();

  constructor(
    private readonly where: LinkAddress,
    private readonly options: ListenOptions,
    private readonly server: Server,
  ) {
    this.listeningAddress = formatLinkAddress(where);
    if (where.scheme !== 'tls') {
      server.on('connection', (socket) => {
        const stranger = this.admit(socket);
        if (stranger !== undefined) this.onSocket(stranger, socket, undefined);
      });
      return;
    }
    server.on('connection', (socket) => this.onPending(socket));
    server.on('secureConnection', (socket: TLSSocket) => {
      const below = this.under(socket);
      const stranger = below === undefined ? undefined : this.pending.get(below);
      // Gone, while Node was busy with it.
      if (below === undefined || stranger === undefined) socket.destroy();
      else {
        this.pending.delete(below);
        this.onSocket(stranger, socket, options.tls?.facts(socket));
      }
    });
    // Also told of those that close, or are late, in the middle of tls.
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => this.onTlsError(error, socket));
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

  async renewTls(): Promise<void> {
    const { tls } = this.options;
    if (this.where.scheme !== 'tls' || tls === undefined) return;
    (this.server as TlsServer).setSecureContext(await tls.contextOptions());
  }

  close(): Promise<void> {
    this.isClosed = true;
    // Not its callback: that waits for those who have connected so far, who stay.
    this.server.close();
    for (const socket of this.pending.keys()) socket.destroy();
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
      // In a worker of a cluster, others would get some of the links without `exclusive`.
      const exclusive = true;
      const at =
        where.scheme === 'unix' ? { path: where.path, exclusive } : { port: where.port, host: where.host, exclusive };
      // What is accepted inherits the context.
      withoutContext(() => server.listen(at));
    });
  }

  /** Undefined: there is no room, and it is closed. */
  private admit(socket: Socket): Stranger | undefined {
    const remote = remoteAddress(this.where, socket) ?? this.address;
    const turnAway = (error: Error): void => {
      if (!this.isClosed) this.options.onRefused(remote, error);
      socket.destroy();
    };
    const stranger = this.options.strangers.admit(turnAway);
    if (stranger === undefined) {
      socket.on('error', () => {});
      turnAway(tooMany());
    }
    return stranger;
  }

  private onPending(socket: Socket): void {
    const stranger = this.admit(socket);
    if (stranger === undefined) return;
    this.pending.set(socket, stranger);
    socket.once('close', () => {
      if (this.pending.delete(socket)) this.options.strangers.leave(stranger);
    });
  }

  /** What a tls socket is on, which Node does not say. */
  private under(secured: TLSSocket): Socket | undefined {
    for (const socket of this.pending.keys()) {
      if (socket.remotePort === secured.remotePort && socket.remoteAddress === secured.remoteAddress) return socket;
    }
    return undefined;
  }

  private onTlsError(error: Error, socket: TLSSocket): void {
    const remote = remoteAddress(this.where, socket) ?? this.address;
    const below = this.under(socket);
    // OpenSSL says nothing to one who speaks no tls; a node of ours understands this.
    if (speaksNoTls(error)) below?.write(PROTOCOL_VERSION_ALERT);
    // Node does it for most errors, but not for ERR_TLS_HANDSHAKE_TIMEOUT.
    socket.destroy();
    below?.destroy();
    // Turned away by this node itself, or one who has said nothing: a probe, or the health check of a load balancer.
    if (this.isClosed || (socket.bytesRead === 0 && (error as NodeJS.ErrnoException).code === 'ECONNRESET')) return;
    this.options.onRefused(remote, tlsFailure(error));
  }

  private onSocket(stranger: Stranger, socket: Socket | TLSSocket, tls: TlsFacts | undefined): void {
    if (this.where.scheme !== 'unix') {
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KERNEL_KEEPALIVE_MS);
    }
    socket.unref();
    this.options.onStranger(stranger, socket, remoteAddress(this.where, socket) ?? this.address, tls);
  }
}

function remoteAddress(where: LinkAddress, socket: Socket): string | undefined {
  if (where.scheme === 'unix') return formatLinkAddress(where);
  if (socket.remoteAddress === undefined) return undefined;
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

export interface ListenerOwner {
  readonly options: ResolvedNodeOptions;
  readonly tls: LinkTls | undefined;
  readonly strangers: Strangers;
  receive(stranger: Stranger, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void;
  /** Someone has failed to connect. */
  fault(error: Error): void;
  onListenerFailed(error: Error): void;
  onListenerClosed(listener: LinkListener): void;
}

/** What `listenAndServe` gives. Holds the process open until it, or the node, is closed, unless told otherwise. */
export class LinkListener {
  private processRefs: ProcessRefs | undefined;
  private isRef = false;
  private transport: TransportListener | undefined;

  /** @internal */
  constructor(
    private readonly where: LinkAddress,
    private readonly owner: ListenerOwner,
  ) {}

  /** Where it listens, with the real port. */
  get address(): string {
    return this.transport === undefined ? formatLinkAddress(this.where) : this.transport.address;
  }

  /** Stops listening. Links stay. */
  async close(): Promise<void> {
    await this.transport?.close();
    this.onClosed();
    this.owner.onListenerClosed(this);
  }

  /** Holds the process open again while it listens, as it does unless told otherwise. */
  ref(): this {
    if (!this.isRef) this.processRefs?.ref();
    this.isRef = this.processRefs !== undefined;
    return this;
  }

  /** Lets the process end while it listens. */
  unref(): this {
    if (this.isRef) this.processRefs?.unref();
    this.isRef = false;
    return this;
  }

  /** @internal Called once it listens: it holds the process open by `processRefs` from now on. */
  refBy(processRefs: ProcessRefs): void {
    this.processRefs = processRefs;
    this.ref();
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    return shown('LinkListener', { address: this.address }, depth, options, inspect);
  }

  /** @internal Other certificates from now on. */
  renewTls(): Promise<void> | undefined {
    return this.transport?.renewTls();
  }

  /** @internal */
  async start(): Promise<void> {
    const { owner } = this;
    const { insecure, handshakeTimeoutMs } = owner.options;
    this.transport = await listen(this.where, {
      tls: owner.tls,
      insecure,
      timeoutMs: handshakeTimeoutMs,
      strangers: owner.strangers,
      onStranger: (stranger, duplex, remote, tls) => owner.receive(stranger, duplex, remote, tls),
      onRefused: (remote, error) => owner.fault(withAddress(error, remote)),
      onError: (error) => {
        owner.onListenerFailed(error);
        this.onClosed();
        owner.onListenerClosed(this);
      },
    });
  }

  private onClosed(): void {
    this.unref();
    this.processRefs = undefined;
  }
}
