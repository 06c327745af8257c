// The data plane of one node, composed of its parts: servers, dials, the relay, and the links that circuits take.

import { AsyncResource } from 'node:async_hooks';
import { addAbortSignal } from 'node:stream';
import { type NodeId, nodeIdToBytes, parseServiceAddress } from '../address.js';
import { netError, optionError, starlaneError } from '../errors.js';
import type { Identity } from '../identity/identity.js';
import type { MemberBook } from '../identity/member-book.js';
import type { Link } from '../link/link.js';
import { keyHashOf, random } from '../mesh/directory/selector.js';
import type { ServiceInstance } from '../mesh/directory/service.js';
import type { ServiceTable } from '../mesh/directory/service-table.js';
import { kAddOnClosed, kFailConnect, kStart, kStartConnecting } from '../mux/hidden.js';
import type { MuxStream } from '../mux/stream/stream.js';
import type { Allow } from '../options/allow.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import { type RemoteEndpoint, type SocketAddresses, socketAddresses } from '../socket/endpoints.js';
import type { Place } from '../socket/net/arguments.js';
import type { NetHost } from '../socket/net/module.js';
import { type AnyServer, Server } from '../socket/server.js';
import { attachHandler, type BindHandler, emitBindError, optionsFor } from '../socket/server-handler.js';
import { Socket } from '../socket/socket.js';
import { debug } from '../util/runtime/debug.js';
import { ProcessRefs } from '../util/runtime/process-refs.js';
import { nextTick } from '../util/runtime/real-timers.js';
import type { Timers } from '../util/timers.js';
import { WarnOnce } from '../util/warnings.js';
import { envDigests } from '../wire/messages.js';
import { type AcceptCounters, Acceptor, type AcceptorHost } from './accept/acceptor.js';
import { Authorization } from './accept/authorization.js';
import type { Prepare } from './accept/preparation.js';
import { type Binding, Bindings, type BindingsOwner } from './bindings.js';
import type { DialRequest } from './dial/attempt.js';
import type { Destination } from './dial/destination.js';
import { type DialTarget, DialTargets } from './dial/dial-target.js';
import { type DialCounters, Dialer } from './dial/dialer.js';
import type { DirectLinks } from './direct-links.js';
import { Drain } from './drain.js';
import { Loopback } from './loopback.js';
import { type FormerMember, Membership } from './membership.js';
import { type BindOptions, checkBindOptions, checkDialOptions, type DialOptions } from './options.js';
import { LinkPath, Paths, type Routes } from './paths.js';
import { RelayNeighbour } from './relay/admission.js';
import { type RelayLimits, relayLimits } from './relay/limits.js';
import { Passage } from './relay/passage.js';
import { Relay, type RelayCounters } from './relay/relay.js';
import { RemoteEndpoints } from './remote-endpoints.js';
import { Policies } from './resilience/policy.js';
import { CircuitSecurity } from './secure/security.js';

const log = debug('node');

const DEFAULT_WEIGHT = 1;

/** The directory of services: what can be dialled by name, and what is bound here. */
interface ServiceHost {
  readonly table: ServiceTable;
  /** @throws ERR_STARLANE_MESSAGE when meta is no JSON or too large */
  bind(service: string, port: number, weight: number, meta: unknown, instance?: string): void;
  unbind(service: string, port: number): void;
  /** Why no instance of a service is found. */
  absenceOf(service: string, port: number | undefined): Error;
}

interface CircuitsSetup {
  readonly identity: Identity;
  /** 32 bytes for each secret of the network. */
  readonly networkKeys: readonly Buffer[];
  /** Who is a member; undefined where certificates do not decide it. */
  readonly members?: MemberBook | undefined;
  readonly options: ResolvedNodeOptions;
  readonly timers: Timers;
  readonly services: ServiceHost;
  readonly processRefs: ProcessRefs;
  /** Which neighbours lead to which node. */
  readonly routes: Routes;
  readonly directLinks: DirectLinks;
  /** Every link of which anything is left. */
  links(): Iterable<Link>;
  /** The digest of an env that this node shares with another, if one is known. */
  sharedEnv(nodeId: NodeId): string | undefined;
  /** The key that the record of a node names, or that its link has proved, if there is one. */
  publicKeyOf(nodeId: NodeId): Uint8Array | undefined;
  /** What the node has signed that it can do, see CircuitAbility. */
  abilitiesOf(nodeId: NodeId): number;
  /**
   * Called when binding a server has failed and nothing listens for its error. Returns false when nothing listens for that of the
   * node.
   */
  onError(error: Error): boolean;
  /** Called when an `allow` function of the user failed, or a circuit that came in was not secure. */
  onWarning(error: Error): void;
}

export class Circuits implements AcceptorHost, BindingsOwner, NetHost {
  readonly nodeId: NodeId;
  readonly addresses: SocketAddresses;
  readonly bindings: Bindings;
  readonly timers: Timers;
  readonly openTimeoutMs: number;
  readonly counters: AcceptCounters = { accepted: 0, refused: 0, denied: 0, quantumSafe: 0 };
  readonly authorization: Authorization;
  readonly opensPerSecond: number;
  readonly security: CircuitSecurity;
  readonly maxUnconfirmed: number;
  readonly loopback: Loopback;
  readonly relay: Relay;
  readonly drain: Drain;
  readonly remotes: RemoteEndpoints;
  readonly membership: Membership | undefined;
  readonly policies: Policies;
  private readonly dialer: Dialer;
  /** Of dials without options. */
  private readonly normalRequest: DialRequest | undefined;
  private readonly targets: DialTargets;
  private readonly paths: Paths;
  private readonly envDigests: readonly string[];
  private readonly relayLimits: RelayLimits;
  private isClosed = false;
  private readonly closeCallbacks: Array<() => void> = [];
  private hasWarnedOfRole = false;

  constructor(private readonly setup: CircuitsSetup) {
    const { identity, options, timers, services } = setup;
    this.nodeId = identity.nodeId;
    this.addresses = socketAddresses(options.socketAddresses);
    this.timers = timers;
    this.openTimeoutMs = options.handshakeTimeoutMs;
    this.opensPerSecond = options.opensPerSecond;
    this.authorization = new Authorization({
      allow: options.allow,
      env: options.env,
      timers,
      timeoutMs: options.handshakeTimeoutMs,
      maxPending: options.maxPendingDecisions,
      onWarning: (error) => setup.onWarning(error),
    });
    const warnings = new WarnOnce(timers, (error) => setup.onWarning(error));
    const { members } = setup;
    const membership =
      members === undefined
        ? undefined
        : new Membership(members, identity.nodeId, timers.clock, (former) => this.onFormerMember(former));
    this.membership = membership;
    this.security = new CircuitSecurity({
      identity,
      networkKeys: setup.networkKeys,
      abilitiesOf: (nodeId) => setup.abilitiesOf(nodeId),
      hasMembers: members !== undefined,
      // Nodes of versions without certificates, which only sign what is encrypted, can be members by the secret alone.
      requiresProof: members?.acceptsSecret === false,
      // What an authority has certified counts for more than what a record says.
      publicKeyOf: (nodeId) => membership?.publicKeyOf(nodeId) ?? setup.publicKeyOf(nodeId),
      warn: (subject, error) => warnings.warn(subject, error),
    });
    this.maxUnconfirmed = options.acceptBacklog;
    this.envDigests = envDigests(options.env);
    this.relayLimits = relayLimits(options);
    this.remotes = new RemoteEndpoints(identity.nodeId, this.addresses, membership);
    this.bindings = new Bindings(this, setup.members !== undefined);
    this.targets = new DialTargets(identity.nodeId);
    this.loopback = new Loopback(identity.nodeId, this, {
      acceptBacklog: options.acceptBacklog,
      maxStreams: options.maxStreams,
      maxWindowBytes: options.maxWindowBytes,
      receiveBudgetBytes: options.receiveBudgetBytes,
      closeTimeoutMs: options.closeTimeoutMs,
    });
    const paths = new Paths(identity.nodeId, options.loopback ? this.loopback : undefined);
    this.paths = paths;
    this.relay = new Relay({
      nodeId: identity.nodeId,
      timers,
      limits: this.relayLimits,
      isEnabled: options.relay !== false,
      passage: this.passageOf(options),
      membership,
      routes: setup.routes,
      hop: (neighbour) => paths.link(neighbour),
    });
    this.policies = new Policies(
      options.resilience,
      () => timers.now(),
      (error) => setup.onWarning(error),
    );
    this.normalRequest = this.policies.normal === undefined ? undefined : { policy: this.policies.normal };
    this.drain = new Drain(identity.nodeId, this.relay, () => setup.links(), timers);
    this.dialer = new Dialer({
      nodeId: identity.nodeId,
      nodeIdBytes: nodeIdToBytes(identity.nodeId),
      table: services.table,
      absenceOf: (service, port) => services.absenceOf(service, port),
      paths,
      routes: setup.routes,
      limits: this.relayLimits,
      remotes: this.remotes,
      security: this.security,
      membership,
      watch: (remote, stream, socket) => this.watch(remote, stream, socket),
      directLinks: setup.directLinks,
      sharedEnv: (nodeId) => setup.sharedEnv(nodeId),
      timers,
      loopback: options.loopback,
      policies: this.policies,
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
    const { weight = DEFAULT_WEIGHT, meta, allow, prepare, instance } = checkBindOptions(options);
    if (instance !== undefined && where.kind !== 'service')
      throw optionError('instance', 'needs the name of a service');
    const server = new Server(optionsFor(options, handler), this.processRefs);
    if (handler !== undefined) attachHandler(server, handler);

    const service = where.kind === 'service' ? where.service : '';
    let binding: Binding;
    try {
      binding = this.place(server, service, where.port, { weight, meta, allow, prepare, instance });
    } catch (error) {
      if ((error as { syscall?: string }).syscall === undefined) throw error;
      // As with a net.Server: in an event, later, so that there is time to listen for it.
      nextTick(() => {
        if (emitBindError(server, handler, error as Error) || this.setup.onError(error as Error)) return;
        // As with any 'error' event without a listener.
        throw error;
      });
      return server;
    }
    server[kStart](binding);
    log('bound %s', address);
    return server;
  }

  /**
   * Serves a reserved port, for the library itself. It does not hold the process open, and neither `allow` nor the env is asked.
   * @param maxConnections at a time
   */
  serve(port: number, maxConnections: number, onSocket: (socket: Socket) => void): void {
    const refs = new ProcessRefs();
    refs.enable(false);
    const server = new Server({ maxConnections }, refs);
    server.on('connection', onSocket);
    server[kStart](this.bindings.reserve(port, server));
  }

  /** @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION */
  dial(address: string | Destination, options: DialOptions | undefined, onConnect: (() => void) | undefined): Socket {
    const target = this.targets.get(address);
    let selector = random;
    let timeoutMs = this.setup.options.dialTimeoutMs;
    let signal: AbortSignal | undefined;
    let request = this.normalRequest;
    if (options !== undefined) {
      const checked = checkDialOptions(options);
      // Also called when an instance appears, in the context of a link.
      selector = options.selector === undefined ? checked.selector : AsyncResource.bind(checked.selector);
      timeoutMs = checked.timeoutMs ?? timeoutMs;
      signal = options.signal;
      const { direct, secure } = options;
      const keyHash = keyHashOf(checked.selector);
      const policy = this.policies.of(options.resilience);
      if (direct !== undefined || secure !== undefined || keyHash !== undefined || policy !== this.policies.normal) {
        request = { wantsLink: direct, secure, keyHash, policy };
      }
    }
    const socket = new Socket(options, this.setup.processRefs);
    if (onConnect !== undefined) socket.once('connect', onConnect);
    socket[kStartConnecting]();
    if (signal !== undefined) addAbortSignal(signal, socket);
    this.dialer.dial(socket, target, selector, timeoutMs, request);
    return socket;
  }

  // --- for `node.net` ---

  get processRefs(): ProcessRefs {
    return this.setup.processRefs;
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
    const request = localPort === undefined ? this.normalRequest : { ...this.normalRequest, localPort };
    this.dialer.dial(socket, target, random, dialTimeoutMs, request);
  }

  listen(server: AnyServer, { host, port }: Place): Binding {
    const where = parseServiceAddress(port === undefined ? host : `${host}:${port}`);
    if (where.kind === 'node' && where.nodeId !== this.nodeId) {
      throw netError('EADDRNOTAVAIL', 'listen', { address: host, port });
    }
    return this.place(server, where.kind === 'service' ? where.service : '', where.port, NO_TERMS);
  }

  /**
   * Returns whether a node may dial a service of this one, as far as rules say ahead of it.
   * @param port 0: the one that answers at any port
   */
  mayDial(remote: RemoteEndpoint, envDigests: readonly string[], service: string, port: number): boolean {
    const binding = this.bindings.find(service, port);
    if (binding === undefined) return false;
    const request = this.authorization.request(remote, envDigests, { service, port: binding.port });
    return binding.guards?.every((guard) => guard.allowsByRules(request)) !== false;
  }

  /** @throws EADDRINUSE, ECANCELED, ERR_STARLANE_OPTION */
  private place(server: AnyServer, service: string, port: number | undefined, terms: Terms): Binding {
    const { weight, meta, allow, prepare, instance } = terms;
    if (this.isClosed) throw netError('ECANCELED', 'listen', { address: service, port });
    const binding = this.bindings.add(service, port, server, this.authorization.guardsOf(allow), prepare);
    if (this.setup.options.role === 'client') this.warnOfRole(service);
    if (service === '') return binding;
    try {
      this.setup.services.bind(service, binding.anyPort ? 0 : binding.port, weight, meta, instance);
    } catch (error) {
      binding.unbind();
      throw error;
    }
    return binding;
  }

  /** Warns that other nodes do not find it. 'listening' follows all the same, as the node itself can dial it. */
  private warnOfRole(service: string): void {
    if (this.hasWarnedOfRole) return;
    this.hasWarnedOfRole = true;
    const what = service === '' ? 'a server at a bare port' : service;
    const error = starlaneError('ERR_STARLANE_CLIENT_BIND', `other nodes do not find ${what}`);
    nextTick(() => this.setup.onWarning(error));
  }

  onLink(link: Link): void {
    const remote = Object.freeze({
      localId: this.nodeId,
      peerId: link.peerId,
      via: NO_RELAYS,
      isVerified: true,
      addresses: this.addresses,
      name: link.peerName,
      certified: this.membership?.certifiedLater(link.peerId),
    });
    const neighbour = new RelayNeighbour(this.relayLimits, this.timers.now());
    const namesMeet = link.envDigests.some((digest) => this.knowsEnv(digest));
    const acceptor = new Acceptor(this, remote, namesMeet, neighbour, link.envDigests);
    this.paths.add(new LinkPath(link, acceptor, neighbour));
    link.acceptor = acceptor;
  }

  /** Called when the link is gone. Its streams may still end; no new ones are opened. */
  onUnlink(link: Link): void {
    this.paths.delete(link)?.acceptor.dispose();
  }

  /** The links that circuits take, with what the relay counts for their peers. */
  linkPaths(): Iterable<LinkPath> {
    return this.paths.all();
  }

  onService(instance: ServiceInstance): void {
    this.dialer.onService(instance);
  }

  private passageOf({ relay: rules, env, acceptBacklog }: ResolvedNodeOptions): Passage | undefined {
    if (typeof rules === 'boolean') return undefined;
    const { timers, security, membership } = this;
    return new Passage({
      rules,
      env,
      clock: timers.clock,
      maxWaiting: acceptBacklog,
      certified: membership === undefined ? undefined : (nodeId) => membership.certified(nodeId),
      verifySource: (open) => security.verifySource(open),
    });
  }

  // --- members ---

  /** Ends what is being opened to or from a node that is no member any more. Circuits that are open follow. */
  private onFormerMember(former: FormerMember): void {
    for (const { acceptor } of this.paths.all()) acceptor.onFormerMember(former);
    this.dialer.onFormerMember(former);
  }

  watch({ peerId, via }: RemoteEndpoint, stream: MuxStream, socket: Socket): void {
    const { membership } = this;
    // Those over a direct link end with the link.
    if (membership === undefined || via.length === 0) return;
    membership.add(peerId, stream);
    socket[kAddOnClosed](() => membership.delete(peerId, stream));
  }

  // --- for acceptors ---

  sharedEnv(nodeId: NodeId): string | undefined {
    return this.setup.sharedEnv(nodeId);
  }

  get isDraining(): boolean {
    return this.drain.hasBegun;
  }

  transportTo(neighbour: NodeId): string | undefined {
    return this.paths.transportTo(neighbour);
  }

  knowsEnv(digest: string | undefined): boolean {
    return digest !== undefined && this.envDigests.includes(digest);
  }

  onUnbind(binding: Binding): void {
    if (binding.service === '') return;
    this.setup.services.unbind(binding.service, binding.anyPort ? 0 : binding.port);
  }

  /** Whether circuits of other nodes pass through, or are being opened. */
  get isRelaying(): boolean {
    return this.relay.pool.size > 0;
  }

  /** Gives circuits that pass through closeTimeoutMs to finish, then resets them. Resolves when none is left. */
  async endRelaying(): Promise<void> {
    await this.relay.idle(this.setup.options.closeTimeoutMs);
    await this.relay.close();
  }

  /** Adds a function that is called when the circuits begin to close: what stands on them then ends what it has open. */
  beforeClose(callback: () => void): void {
    this.closeCallbacks.push(callback);
  }

  /** Closes servers, fails dials, and gives sockets of the loopback time to end. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const callback of this.closeCallbacks.splice(0)) callback();
    this.dialer.close();
    const { bindings } = this;
    for (const server of [...bindings.servers(), ...bindings.reservedServers()]) server.close();
    await this.loopback.close();
  }
}

/** What a server is bound with, besides its name and port. */
interface Terms {
  readonly weight: number;
  readonly meta: unknown;
  readonly allow: Allow | undefined;
  readonly prepare: Prepare | undefined;
  readonly instance: string | undefined;
}

const NO_TERMS: Terms = {
  weight: DEFAULT_WEIGHT,
  meta: undefined,
  allow: undefined,
  prepare: undefined,
  instance: undefined,
};

const NO_RELAYS: readonly NodeId[] = Object.freeze([]);
