// The data plane of one node put together: what is bound, who is dialled, and over which links.

import { AsyncResource } from 'node:async_hooks';
import { addAbortSignal } from 'node:stream';
import { type NodeId, nodeIdToBytes, parseServiceAddress } from '../address.js';
import { netError, starlaneError } from '../errors.js';
import type { Identity } from '../identity/identity.js';
import type { Link } from '../link/link.js';
import { random } from '../mesh/directory/selector.js';
import type { ServiceInstance } from '../mesh/directory/service.js';
import type { ServiceTable } from '../mesh/directory/service-table.js';
import { kFailConnect, kStart, kStartConnecting } from '../mux/hidden.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';
import type { Allow } from '../options/allow.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import type { FarEnd } from '../socket/far-end.js';
import type { NetHost, Place } from '../socket/net/host.js';
import { type AnyServer, Server } from '../socket/server.js';
import { attachHandler, type BindHandler, emitBindError, optionsFor } from '../socket/server-handler.js';
import { Socket } from '../socket/socket.js';
import { type SocketAddresses, socketAddresses } from '../socket/socket-addresses.js';
import { debug } from '../util/runtime/debug.js';
import type { ProcessRefs } from '../util/runtime/process-refs.js';
import { nextTick } from '../util/runtime/real-timers.js';
import type { Timers } from '../util/timers.js';
import { WarnOnce } from '../util/warnings.js';
import { envDigests } from '../wire/messages.js';
import { type AcceptCounters, Acceptor, type AcceptorHost } from './accept/acceptor.js';
import { CircuitAccess } from './accept/circuit-access.js';
import { type Binding, Bindings, type BindingsOwner } from './bindings.js';
import { type DialTarget, DialTargets } from './dial/dial-target.js';
import { type DialCounters, Dialer } from './dial/dialer.js';
import type { Shortcuts } from './direct-links.js';
import { Loopback } from './loopback.js';
import { type BindOptions, checkBindOptions, checkDialOptions, type DialOptions } from './options.js';
import { NeighbourRoutes, type Path, type Paths, type Routes } from './path.js';
import { RelayNeighbour } from './relay/admission.js';
import type { RelayCounters } from './relay/counters.js';
import type { RelayHop } from './relay/half-circuit.js';
import { type RelayLimits, relayLimits } from './relay/limits.js';
import { Relay } from './relay/relay.js';
import { FarEnds } from './remote-endpoints.js';
import { CircuitSecurity } from './secure/circuit-security.js';

const log = debug('node');

const DEFAULT_WEIGHT = 1;

/** What can be dialled by name, and who is told what is bound here. */
export interface ServiceHost {
  readonly table: ServiceTable;
  /** @throws ERR_STARLANE_MESSAGE when meta is no JSON or too large */
  bind(service: string, port: number, weight: number, meta: unknown): void;
  unbind(service: string, port: number): void;
  /** Why nobody is found who offers a service. */
  absenceOf(service: string, port: number | undefined): Error;
}

export interface CircuitsSetup {
  readonly identity: Identity;
  /** Of the network that this node is a member of: 32 bytes for each of its secrets. */
  readonly networkKeys: readonly Buffer[];
  readonly options: ResolvedNodeOptions;
  readonly timers: Timers;
  readonly services: ServiceHost;
  readonly keepsAlive: ProcessRefs;
  /** Nobody listens for the failure of a server to bind. False when nobody does here either. */
  onError(error: Error): boolean;
  /** The key that the record of a node names, if there is one. */
  publicKeyOf(nodeId: NodeId): Uint8Array | undefined;
  /** A function of the user failed to say whether a circuit is allowed, or a secure circuit was not. */
  onWarning(error: Error): void;
}

export class Circuits implements AcceptorHost, BindingsOwner, NetHost, Paths {
  readonly nodeId: NodeId;
  readonly addresses: SocketAddresses;
  readonly bindings: Bindings;
  readonly timers: Timers;
  readonly openTimeoutMs: number;
  readonly counters: AcceptCounters = { accepted: 0, refused: 0, denied: 0 };
  readonly access: CircuitAccess;
  readonly opensPerSecond: number;
  readonly security: CircuitSecurity;
  readonly maxUnconfirmed: number;
  readonly loopback: Loopback;
  readonly relay: Relay;
  readonly farEnds: FarEnds;
  /** Which neighbours lead to whom. As long as nothing else is set, a neighbour leads to itself. */
  routes: Routes;
  /** Makes direct links on demand, if somebody does. */
  shortcuts: Shortcuts | undefined;
  /** The digest of an env that this node shares with another. As long as nothing else is set, its own first one. */
  sharedEnv: (nodeId: NodeId) => string | undefined;
  private readonly dialer: Dialer;
  private readonly targets: DialTargets;
  private readonly paths = new Map<NodeId, LinkPath>();
  private readonly envDigests: readonly string[];
  private readonly relayLimits: RelayLimits;
  private isClosed = false;
  private hasWarnedOfRole = false;

  constructor(private readonly setup: CircuitsSetup) {
    const { identity, options, timers, services } = setup;
    this.nodeId = identity.nodeId;
    this.addresses = socketAddresses(options.socketAddresses);
    this.timers = timers;
    this.openTimeoutMs = options.handshakeTimeoutMs;
    this.opensPerSecond = options.opensPerSecond;
    this.access = new CircuitAccess({
      allow: options.allow,
      env: options.env,
      timers,
      timeoutMs: options.handshakeTimeoutMs,
      maxPending: options.maxPendingDecisions,
      onWarning: (error) => setup.onWarning(error),
    });
    const warnings = new WarnOnce(timers, (error) => setup.onWarning(error));
    this.security = new CircuitSecurity({
      identity,
      networkKeys: setup.networkKeys,
      publicKeyOf: (nodeId) => setup.publicKeyOf(nodeId),
      warn: (subject, error) => warnings.warn(subject, error),
    });
    this.maxUnconfirmed = options.acceptBacklog;
    this.envDigests = envDigests(options.env);
    this.relayLimits = relayLimits(options);
    this.routes = new NeighbourRoutes((nodeId) => this.paths.has(nodeId));
    this.sharedEnv = () => this.envDigests[0];
    this.farEnds = new FarEnds(identity.nodeId, this.addresses);
    this.relay = new Relay({
      nodeId: identity.nodeId,
      timers,
      limits: this.relayLimits,
      isEnabled: options.relay,
      routes: () => this.routes,
      hop: (neighbour) => this.paths.get(neighbour),
    });
    this.bindings = new Bindings(this);
    this.targets = new DialTargets(identity.nodeId);
    this.loopback = new Loopback(identity.nodeId, this, {
      acceptBacklog: options.acceptBacklog,
      maxStreams: options.maxStreams,
      maxWindowBytes: options.maxWindowBytes,
      receiveBudgetBytes: options.receiveBudgetBytes,
      closeTimeoutMs: options.closeTimeoutMs,
    });
    this.dialer = new Dialer({
      nodeId: identity.nodeId,
      nodeIdBytes: nodeIdToBytes(identity.nodeId),
      table: services.table,
      absenceOf: (service, port) => services.absenceOf(service, port),
      paths: this,
      hops: this,
      farEnds: this.farEnds,
      security: this.security,
      directHop: (nodeId) => this.paths.get(nodeId),
      shortcuts: () => this.shortcuts,
      sharedEnv: (nodeId) => this.sharedEnv(nodeId),
      timers,
      loopback: options.loopback,
    });
  }

  get dialCounters(): DialCounters {
    return this.dialer.counters;
  }

  get relayCounters(): RelayCounters {
    return this.relay.counters;
  }

  get pendingDials(): number {
    return this.dialer.pending;
  }

  /** @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT */
  bind(address: string, options: BindOptions | undefined, handler: BindHandler | undefined): Server {
    const where = parseServiceAddress(address);
    if (where.kind === 'node') throw starlaneError('ERR_STARLANE_ADDRESS', `${address}: a node binds at itself only`);
    const { weight = DEFAULT_WEIGHT, meta, allow } = checkBindOptions(options);
    const server = new Server(optionsFor(options, handler), this.keepsAlive);
    if (handler !== undefined) attachHandler(server, handler);

    const service = where.kind === 'service' ? where.service : '';
    let binding: Binding;
    try {
      binding = this.place(server, service, where.port, { weight, meta, allow });
    } catch (error) {
      if ((error as { syscall?: string }).syscall === undefined) throw error;
      // As a net.Server: in an event, when there has been time to listen for it.
      nextTick(() => {
        if (emitBindError(server, handler, error as Error) || this.setup.onError(error as Error)) return;
        // As an 'error' of any emitter that nobody listens for.
        throw error;
      });
      return server;
    }
    server[kStart](binding);
    log('bound %s', address);
    return server;
  }

  /** @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION */
  dial(address: string, options: DialOptions | undefined, onConnect: (() => void) | undefined): Socket {
    const target = this.targets.get(address);
    let selector = random;
    let timeoutMs = this.setup.options.dialTimeoutMs;
    let signal: AbortSignal | undefined;
    if (options !== undefined) {
      const checked = checkDialOptions(options);
      // Also called when an instance appears, which a link tells.
      selector = options.selector === undefined ? checked.selector : AsyncResource.bind(checked.selector);
      timeoutMs = checked.timeoutMs ?? timeoutMs;
      signal = options.signal;
    }
    const socket = new Socket(options, this.setup.keepsAlive);
    if (onConnect !== undefined) socket.once('connect', onConnect);
    socket[kStartConnecting]();
    if (signal !== undefined) addAbortSignal(signal, socket);
    this.dialer.dial(socket, target, selector, timeoutMs, { wantsLink: options?.direct, secure: options?.secure });
    return socket;
  }

  // --- for `node.net` ---

  get keepsAlive(): ProcessRefs {
    return this.setup.keepsAlive;
  }

  connect(socket: Socket, { host, port }: Place, localPort: number | undefined): void {
    let target: DialTarget;
    try {
      target = this.targets.get(port === undefined ? host : `${host}:${port}`);
    } catch (error) {
      // No service can have that name, and nothing is ever bound to port 0.
      const code = port === 0 ? 'ECONNREFUSED' : 'ENOTFOUND';
      nextTick(() => socket[kFailConnect](netError(code, 'connect', { address: host, port }, error)));
      return;
    }
    const { dialTimeoutMs } = this.setup.options;
    this.dialer.dial(socket, target, random, dialTimeoutMs, { localPort });
  }

  listen(server: AnyServer, { host, port }: Place): Binding {
    const where = parseServiceAddress(port === undefined ? host : `${host}:${port}`);
    if (where.kind === 'node' && where.nodeId !== this.nodeId) {
      throw netError('EADDRNOTAVAIL', 'listen', { address: host, port });
    }
    return this.place(server, where.kind === 'service' ? where.service : '', where.port, NO_TERMS);
  }

  /** @throws EADDRINUSE, ECANCELED, ERR_STARLANE_OPTION */
  private place(server: AnyServer, service: string, port: number | undefined, terms: Terms): Binding {
    const { weight, meta, allow } = terms;
    if (this.isClosed) throw netError('ECANCELED', 'listen', { address: service, port });
    const binding = this.bindings.add(service, port, server, this.access.guardsOf(allow));
    if (this.setup.options.role === 'client') this.warnOfRole(service);
    if (service === '') return binding;
    try {
      this.setup.services.bind(service, binding.anyPort ? 0 : binding.port, weight, meta);
    } catch (error) {
      binding.unbind();
      throw error;
    }
    return binding;
  }

  /** 'listening' follows all the same, as the node itself can dial it; but that is hardly what it was bound for. */
  private warnOfRole(service: string): void {
    if (this.hasWarnedOfRole) return;
    this.hasWarnedOfRole = true;
    const what = service === '' ? 'a server at a bare port' : service;
    const error = starlaneError('ERR_STARLANE_CLIENT_BIND', `other nodes do not find ${what}`);
    nextTick(() => this.setup.onWarning(error));
  }

  onLink(link: Link): void {
    const far = Object.freeze({
      localId: this.nodeId,
      peerId: link.peerId,
      via: NOBODY,
      isVerified: true,
      addresses: this.addresses,
      name: link.peerName,
    });
    const neighbour = new RelayNeighbour(this.relayLimits, this.timers.now());
    const namesMeet = link.envDigests.some((digest) => this.knowsEnv(digest));
    const acceptor = new Acceptor(this, far, namesMeet, neighbour, link.envDigests);
    this.paths.set(link.peerId, new LinkPath(link, acceptor, neighbour));
    link.acceptor = acceptor;
  }

  /** Streams over it may still end; no new ones are opened. */
  onUnlink(link: Link): void {
    const path = this.paths.get(link.peerId);
    if (path === undefined || path.link !== link) return;
    path.acceptor.stop();
    this.paths.delete(link.peerId);
  }

  onService(instance: ServiceInstance): void {
    this.dialer.onService(instance);
  }

  toward(nodeId: NodeId): Path | undefined {
    if (nodeId !== this.nodeId) {
      const path = this.paths.get(nodeId);
      // A link that takes no more streams is about to end; until then others may lead there.
      return path?.canOpen ? path : undefined;
    }
    if (!this.setup.options.loopback) throw starlaneError('ERR_STARLANE_OPTION', 'the option loopback is false');
    return this.loopback;
  }

  // --- for circuits through relays ---

  hop(neighbour: NodeId): RelayHop | undefined {
    return this.paths.get(neighbour);
  }

  get hopTimeoutMs(): number {
    return this.relayLimits.hopTimeoutMs;
  }

  knowsEnv(digest: string | undefined): boolean {
    return digest !== undefined && this.envDigests.includes(digest);
  }

  onUnbind(binding: Binding): void {
    if (binding.service === '') return;
    this.setup.services.unbind(binding.service, binding.anyPort ? 0 : binding.port);
  }

  /** Whether circuits of others pass through, or are about to. */
  get isRelaying(): boolean {
    return this.relay.pool.size > 0;
  }

  /**
   * Circuits of others are not taken any more; those that there are have closeTimeoutMs to finish, then they are reset. Resolved
   * when none is left.
   */
  async stopRelaying(): Promise<void> {
    await this.relay.drain(this.setup.options.closeTimeoutMs);
    await this.relay.close();
  }

  /** Servers stop, dials fail, and sockets of the loopback get time to end. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.dialer.close();
    for (const server of [...this.bindings.servers()]) server.close();
    await this.loopback.close();
  }
}

class LinkPath implements Path, RelayHop {
  constructor(
    readonly link: Link,
    readonly acceptor: Acceptor,
    readonly neighbour: RelayNeighbour,
  ) {}

  get rttMs(): number {
    return this.link.rttMs;
  }

  get lateMs(): number {
    return this.link.lateMs;
  }

  get lastHeardMs(): number {
    return this.link.lastHeardMs;
  }

  get canOpen(): boolean {
    return this.link.session.canOpen;
  }

  get far(): FarEnd {
    return this.acceptor.far;
  }

  open(sink: StreamSink, first: Buffer): MuxStream {
    return this.link.session.open(sink, first);
  }
}

/** What is said of a server beyond its place. */
interface Terms {
  readonly weight: number;
  readonly meta: unknown;
  readonly allow: Allow | undefined;
}

const NO_TERMS: Terms = { weight: DEFAULT_WEIGHT, meta: undefined, allow: undefined };

const NOBODY: readonly NodeId[] = Object.freeze([]);
