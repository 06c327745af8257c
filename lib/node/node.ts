// A node: links to peers, servers bound by name, sockets dialled by name. It puts the parts together, and has no other logic.

import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import type { NodeId } from '../address.js';
import { Circuits } from '../circuit/circuits.js';
import type { Destination } from '../circuit/dial/destination.js';
import type { DrainOptions } from '../circuit/drain.js';
import type { BindOptions, DialOptions } from '../circuit/options.js';
import { circuitAbilities } from '../circuit/secure/security.js';
import { type CodedError, coded, optionError, starlaneError } from '../errors.js';
import { type Credentials, readCredentials } from '../identity/credentials.js';
import { createIdentity, type OwnIdentity } from '../identity/identity.js';
import { isLoss } from '../link/handshake/refusals.js';
import { type JoinOptions, Joins } from '../link/joiner.js';
import type { Link, LinkInfo } from '../link/link.js';
import { type LinkCredentials, LinkSet } from '../link/link-set.js';
import type { LinkListener } from '../link/transport/listen.js';
import type { ControlPlane } from '../mesh/control-plane.js';
import type { ServiceInfo, ServiceInstance } from '../mesh/directory/service.js';
import { ServiceMap } from '../mesh/directory/service-map.js';
import { ServiceWaits, type WaitOptions } from '../mesh/directory/service-waits.js';
import { type RouteInfo, RouteMap } from '../mesh/routing/route-map.js';
import { type NodeOptions, type ResolvedNodeOptions, resolveNodeOptions } from '../options/options.js';
import { resolveTls, type TlsFiles } from '../options/security.js';
import { createNetModule, type NetModule } from '../socket/net/module.js';
import type { Server } from '../socket/server.js';
import type { BindHandler } from '../socket/server-handler.js';
import type { Socket } from '../socket/socket.js';
import { checkWaitOptions } from '../util/deadline.js';
import { debug } from '../util/runtime/debug.js';
import { ProcessRefs } from '../util/runtime/process-refs.js';
import { nextTick } from '../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/runtime/shown.js';
import { throwLater } from '../util/runtime/throw-later.js';
import { sharedTimers } from '../util/timers.js';
import { UnheardFaults } from '../util/warnings.js';
import { Capability, envDigests } from '../wire/messages.js';
import type { InviteOptions } from './enrolment/invite-options.js';
import type { MemberInfo } from './enrolment/member-info.js';
import type { ListedMember, Membership, ReplaceOptions } from './enrolment/membership.js';
import {
  type NodeEnvironment,
  readEnvironment,
  releaseCredentials,
  releaseIdentity,
  takeCredentials,
  takeIdentity,
  withEnvironment,
} from './environment.js';
import { createControlPlane, createCredentials, createMembership, secretWarning, seedsOf } from './mesh.js';
import { collectStats, type NodeStats } from './stats.js';

const log = debug('node');

export interface NodeEvents {
  /** A link is up. */
  link: [link: Link];
  /** A link is lost or closed. There is no reason if this node has closed it. */
  unlink: [link: Link, reason: NodeJS.ErrnoException | undefined];
  /** A node, this one included, offers a service. */
  service: [service: ServiceInfo];
  /** The service is not offered any more. */
  unservice: [service: ServiceInfo];
  /**
   * A link or a peer has a fault. The node goes on, and retries where that makes sense. Without a listener it becomes a warning of the
   * process, at most one a minute for each code.
   */
  warning: [error: CodedError];
  /**
   * A request of the user has failed. Without a listener it also becomes a warning of the process; the error of a bind to a taken address
   * is thrown instead, as by net.Server.
   */
  error: [error: CodedError];
  close: [];
}

/** A participant of the network. Made by {@link createNode}. */
export class Node extends EventEmitter<NodeEvents> {
  /** 64 bits as 11 characters of base64url; new for every node. */
  readonly id: NodeId;

  // Not `private`: they may contain the secret, which must not show up when a node is printed.
  #options: NodeOptions;
  readonly #environment: NodeEnvironment;
  /** The identity file that this node has taken from the environment. */
  #ownIdentity: string | undefined;
  readonly #resolved: ResolvedNodeOptions;
  private readonly identity: OwnIdentity;
  private readonly credentials: LinkCredentials;
  /** The folder of credentials, as it was at the start. */
  private readonly member: Credentials | undefined;
  /** The folder that this node has taken. */
  private ownCredentials: string | undefined;
  private readonly secretFault: Error | undefined;
  private readonly startedAtMs = sharedTimers.now();
  private readonly processRefs = new ProcessRefs();
  private readonly linkSet: LinkSet;
  private readonly joins: Joins;
  private readonly mesh: ControlPlane;
  private readonly circuits: Circuits;
  /** Undefined for a node without credentials. */
  private readonly membership: Membership | undefined;
  private readonly serviceWaits: ServiceWaits;
  private serviceView: ServiceMap | undefined;
  private routeView: RouteMap | undefined;
  private netModule: NetModule | undefined;
  private warnings = 0;
  private readonly unheard = new UnheardFaults(() => sharedTimers.now());
  private isStarted = false;
  private readonly scope = new AsyncResource('STARLANENODE');
  private startsByItself = true;
  private drained: Promise<void> | undefined;
  private closing: Promise<void> | undefined;

  /** @internal */
  constructor(options: NodeOptions, environment: NodeEnvironment) {
    super();
    const given = withEnvironment(options, environment);
    this.#ownIdentity = options.identity === undefined ? environment.identity : undefined;
    const resolved = resolveNodeOptions(given);
    this.#options = options;
    this.#resolved = resolved;
    this.#environment = environment;
    this.member = resolved.credentials === undefined ? undefined : readCredentials(resolved.credentials);
    this.identity = createIdentity(this.member?.key ?? resolved.identity);
    this.id = this.identity.nodeId;
    this.credentials = createCredentials(given.secret, resolved, this.identity, this.member);
    if (this.member !== undefined) takeCredentials(this.member.folder);
    this.ownCredentials = this.member?.folder;
    this.secretFault = secretWarning(given.secret);
    const digests = envDigests(resolved.env);
    const capabilities = circuitAbilities() | (this.credentials.members === undefined ? 0 : Capability.MEMBERS);
    const self = { ...this.identity, role: resolved.role, envDigests: digests, capabilities };
    this.linkSet = new LinkSet(
      self,
      resolved,
      sharedTimers,
      {
        rejectReason: (link) => (this.mesh.mayAccept(link) ? undefined : 'has enough links'),
        onLink: (link) => this.onLink(link),
        onPromoted: (link) => this.mesh.onPromoted(link),
        onMessage: (link, message) => this.mesh.onMessage(link, message),
        onUnblocked: (link) => this.mesh.onUnblocked(link),
        onUnlink: (link, reason) => this.onUnlink(link, reason),
        onWarning: (error) => this.onWarning(error),
        onError: (error) => this.onError(error),
        onUnlisten: () => this.mesh.onListening(),
      },
      this.credentials,
    );
    this.mesh = createControlPlane({
      identity: this.identity,
      options: resolved,
      envDigests: digests,
      seeds: seedsOf(resolved, environment, this.member, this.linkSet.defaultScheme, (error) => this.onError(error)),
      links: this.linkSet,
      members: this.credentials.members,
      owner: {
        onService: (instance) => this.onService(instance),
        onUnservice: (instance) => this.onUnservice(instance),
        onRoute: (route) => this.routeView?.emitSafely('add', route),
        onUnroute: (route) => this.routeView?.emitSafely('remove', route),
        onWarning: (error) => this.onWarning(error),
      },
    });
    this.serviceWaits = new ServiceWaits(
      this.mesh.registry.table,
      sharedTimers,
      resolved.dialTimeoutMs,
      resolved.loopback,
      (service, port) => this.mesh.absenceOf(service, port),
    );
    this.joins = new Joins(
      this.linkSet,
      {
        onWarning: (error) => this.onWarning(error),
        onJoined: (address) => this.mesh.neighbourhood.seeds.addJoined(address),
        onLeft: (address) => this.mesh.neighbourhood.seeds.removeJoined(address),
      },
      Math.random,
    );
    this.circuits = new Circuits({
      identity: this.identity,
      networkKeys: this.credentials.networkKeys,
      members: this.credentials.members,
      options: resolved,
      timers: sharedTimers,
      services: this.mesh,
      routes: this.mesh.routing,
      directLinks: this.mesh.shortcuts,
      links: () => this.linkSet.everyLink(),
      sharedEnv: (nodeId) => this.mesh.sharedEnv(nodeId),
      publicKeyOf: (nodeId) => this.mesh.gossip.store.node(nodeId)?.publicKey ?? this.linkSet.get(nodeId)?.peerKey,
      abilitiesOf: (nodeId) =>
        this.linkSet.get(nodeId)?.capabilities ?? this.mesh.gossip.store.node(nodeId)?.flags ?? 0,
      processRefs: this.processRefs,
      onError: (error) => this.onError(error),
      onWarning: (error) => this.onWarning(error),
    });
    this.membership = createMembership(this.member, resolved.authority, this.credentials.members, {
      identity: this.identity,
      links: this.linkSet,
      mesh: this.mesh,
      circuits: this.circuits,
      onWarning: (error) => this.onWarning(error),
    });
    // In a later tick, so that the user can add listeners first.
    nextTick(() => {
      if (this.startsByItself) this.start();
    });
  }

  /**
   * Listens for links at `tcp://host:port`, `tls://host:port`, `unix:/path`, `host:port` or `:port` (tls if the node has
   * the option secret or tls, else tcp). Port 0 picks a free one.
   * @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_INSECURE for plain tcp beyond loopback, ERR_STARLANE_CLOSED, or Node's own
   * error such as EADDRINUSE
   */
  async listenAndServe(address: string): Promise<LinkListener> {
    this.start();
    const listener = await this.processRefs.during(this.linkSet.listen(address));
    listener.refBy(this.processRefs);
    this.mesh.onListening();
    return listener;
  }

  /**
   * Makes a link to the node at `address`, and makes it again whenever it is lost, until close() of link or node.
   * Resolves with the first link that is up. Until then the node retries, without end or until `timeoutMs` or `signal` ends it.
   * Each failed attempt is a 'warning', and the last one is the `cause` of the rejection.
   * A certificate that has expired, or is not valid yet, is no reason to give up: it may be renewed, and a clock be set.
   * @throws ERR_STARLANE_ADDRESS, _SELF_LINK, _VERSION, _OPTION, _INSECURE, _CLOSED, _TLS, _SECRET, _CERTIFICATE, _REVOKED or _IDENTITY; ETIMEDOUT after
   * `timeoutMs`; ABORT_ERR with the name, the message and the `reason` of the signal
   */
  async join(address: string, options?: JoinOptions): Promise<Link> {
    this.start();
    if (this.closing !== undefined) throw starlaneError('ERR_STARLANE_CLOSED');
    return this.processRefs.during(this.joins.join(address, options));
  }

  /**
   * Makes a link over any reliable Duplex. Both ends may call it without options; with `initiator`, one end must pass true and the other
   * false. Whether the Duplex holds the process open is up to the Duplex. A secret is proved, but the data is not encrypted.
   * @throws ERR_STARLANE_HANDSHAKE, _HANDSHAKE_TIMEOUT, _SELF_LINK, _VERSION, _TRANSPORT, _SECRET, _IDENTITY, _CLOSED
   */
  async attach(duplex: Duplex, options: { initiator?: boolean | undefined } = {}): Promise<Link> {
    this.start();
    if (!(duplex instanceof Duplex)) throw starlaneError('ERR_STARLANE_ARGUMENT', 'must be a Duplex');
    return this.processRefs.during(this.linkSet.attach(duplex, options.initiator));
  }

  /**
   * Serves `name` (any port), `name:port` or `:port`; port 0 is a free one. If the address is taken, the server emits 'error' with
   * EADDRINUSE, or else a handler that is an emitter does, or else the node. Without any listener the error is thrown, as by a net.Server,
   * and ends the process.
   * @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT
   */
  bind(address: string, handler?: BindHandler): Server;
  bind(address: string, options: BindOptions | undefined, handler?: BindHandler): Server;
  bind(address: string, options?: BindOptions | BindHandler, handler?: BindHandler): Server {
    this.start();
    if (isHandler(options)) return this.circuits.bind(address, undefined, options);
    return this.circuits.bind(address, options, handler);
  }

  /**
   * Connects to `name`, `name:port`, `:port` (of this node) or `@nodeId:port`, or to one of several services, see `failover` and `split`.
   * `0.kafka` is the instance `0` of `kafka`, unless there is a service with that name. What is written before 'connect' is sent.
   * Fails with ENOTFOUND, EHOSTUNREACH, ECONNREFUSED, EACCES, ETIMEDOUT, ECONNRESET or ECANCELED.
   * @throws ERR_STARLANE_ADDRESS, ERR_STARLANE_OPTION
   */
  dial(address: string | Destination, onConnect?: () => void): Socket;
  dial(address: string | Destination, options: DialOptions | undefined, onConnect?: () => void): Socket;
  dial(address: string | Destination, options?: DialOptions | (() => void), onConnect?: () => void): Socket {
    this.start();
    if (typeof options === 'function') return this.circuits.dial(address, undefined, options);
    return this.circuits.dial(address, options, onConnect);
  }

  /** As {@link dial}, with `timeoutMs` for all of it; resolved when connected. */
  dialTimeout(address: string | Destination, timeoutMs: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = this.dial(address, { timeoutMs }, () => {
        socket.removeListener('error', reject);
        resolve(socket);
      });
      socket.once('error', reject);
    });
  }

  /** As {@link dial}, for the host of a URL: `name` or `name:port`; port 80 is ignored. */
  httpDial(host: string): Socket {
    return this.dial(host.endsWith(':80') ? host.slice(0, -3) : host);
  }

  /**
   * Everything that `require('node:net')` exports, over this node: a host is a service name or `@nodeId`; none, or an
   * address of the machine itself, is this node; ports have 32 bits; a path is a service name without a port.
   */
  get net(): NetModule {
    this.start();
    this.netModule ??= createNetModule(this.circuits);
    return this.netModule;
  }

  /** Returns what can be dialled by name, as it is now. */
  services(): ServiceInfo[] {
    return [...this.mesh.registry.table.values()].map((instance) => instance.snapshot());
  }

  /** Returns what can be dialled by name, live: get, iterate, 'add' and 'remove' events. One object for each node. */
  serviceMap(): ServiceMap {
    this.serviceView ??= new ServiceMap(this.mesh.registry.table);
    return this.serviceView;
  }

  /** Returns the other nodes that can be reached, and how, as it is now. */
  routes(): RouteInfo[] {
    return this.mesh.routing.routes();
  }

  /** Returns the other nodes that can be reached, live: get, iterate, 'add' and 'remove' events. One object for each node. */
  routesMap(): RouteMap {
    this.routeView ??= new RouteMap(this.mesh.routing);
    return this.routeView;
  }

  /** The links that are up, as they are now. */
  links(): LinkInfo[] {
    return [...this.linkSet.values()].map((link) => link.snapshot());
  }

  /**
   * Resolves with the first instance of `name` or `name:port`, now or as soon as there is one.
   * @throws ENOTFOUND after `timeoutMs` (default dialTimeoutMs), ECANCELED, or the reason of the signal
   */
  waitFor(service: string, options?: WaitOptions): Promise<ServiceInfo> {
    this.start();
    return this.processRefs.during(this.serviceWaits.waitFor(service, options));
  }

  /**
   * Replaces the certificates of a node that was made with the option `tls`: for listeners at once, and for later dials. Existing links
   * stay. Resolves when every listener has them.
   * @throws ERR_STARLANE_OPTION when they are invalid, do not belong together, or the node was made without the option
   */
  async setTls(tls: TlsFiles): Promise<void> {
    const files = resolveTls(tls);
    if (files === undefined || this.credentials.tls === undefined)
      throw optionError('tls', 'certificates can only replace others: give some now, and to createNode()');
    this.credentials.tls.rotate(files);
    this.#options = { ...this.#options, tls: files };
    await this.linkSet.renewTls();
  }

  /**
   * Makes a token: pasted into `enrol` of `starlane/members` on another machine, it makes that machine a member. Resolves when the
   * invitation is on the disk. Needs the key of the authority.
   * @throws ERR_STARLANE_AUTHORITY, ERR_STARLANE_OPTION, ERR_STARLANE_ENROLMENT when 10,000 invitations are open
   */
  async invite(options: InviteOptions): Promise<string> {
    this.start();
    return this.processRefs.during(this.needMembership().invite(options));
  }

  /**
   * Returns the members of the network, as far as this node knows them, and whether there is a way to each now. Empty without
   * `credentials`.
   */
  members(): ListedMember[] {
    return this.membership?.list() ?? [];
  }

  /**
   * Takes the membership of a node, for good: its key is refused everywhere. Its links and circuits end as soon as other nodes hear of it.
   * Resolves when this node has the revocation on its disk. Needs the key of the authority.
   * @param idOrName of a member that {@link members} returns
   * @throws ERR_STARLANE_AUTHORITY; ERR_STARLANE_ARGUMENT when no member, or more than one, fits
   */
  async revoke(idOrName: string): Promise<MemberInfo> {
    this.start();
    return this.needMembership().revoke(idOrName);
  }

  /**
   * Replaces the authority of the network by that of another file, which `createAuthority` of `starlane/members` has made. It takes the
   * place of the old file, which stays as `authority.key.old`. Members get certificates of the new authority on their own; those of the
   * old one hold until `overlapMs` have passed. Other issuers need the new file, too.
   * @throws ERR_STARLANE_AUTHORITY, ERR_STARLANE_OPTION, ERR_STARLANE_CREDENTIALS
   */
  async replaceAuthority(file: string, options?: ReplaceOptions): Promise<void> {
    this.start();
    this.needMembership().replaceAuthority(file, options);
  }

  /** Returns everything that is counted. */
  stats(): NodeStats {
    return collectStats({
      id: this.id,
      state: this.state,
      startedAtMs: this.startedAtMs,
      nowMs: sharedTimers.now(),
      links: this.linkSet,
      circuits: this.circuits,
      mesh: this.mesh,
      joins: this.joins.size + this.mesh.seedCount,
      warnings: this.warnings,
      holds: this.processRefs.count,
    });
  }

  /** @internal Makes the node start with its first use only. */
  startWhenUsed(): this {
    this.startsByItself = false;
    return this;
  }

  /** @internal Returns what console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    const { role, env } = this.#resolved;
    const { links, dials, servers, services, mesh } = this.stats();
    const values = {
      id: this.id,
      state: this.state,
      role,
      env: env.length === 0 ? undefined : env.join(', '),
      listening: [...this.linkSet.listeners].map(({ address }) => address),
      links: links.up,
      joins: links.joins,
      nodes: mesh.nodes,
      services: services.instances,
      bound: servers.bound,
      sockets: servers.openSockets,
      dials: dials.connected,
    };
    return shown('Node', values, depth, options, inspect);
  }

  /** Lets sockets, servers, listeners and waits of this node hold the process open again, which is the default. */
  ref(): this {
    this.processRefs.enable(true);
    return this;
  }

  /** Lets the process end even while this node has any of them. */
  unref(): this {
    this.processRefs.enable(false);
    return this;
  }

  /**
   * Prepares this node for its end. From now on it refuses circuits of other nodes, both to its own servers and through it, so that their
   * dials go on to another instance or another way at once; other nodes do not see its services any more, and prefer routes around it.
   * Open circuits continue, links stay up, and this node may still dial and bind; no other node sees what it binds. There is no way back:
   * {@link close} follows.
   *
   * Resolves when the last circuit of another node has ended: circuits to its servers, and those that it relays. Circuits that it has
   * dialled itself do not count. `timeoutMs` and `signal` end only the wait. A later call waits for the same end; without options it
   * returns the same promise.
   * @throws ERR_STARLANE_OPTION; ETIMEDOUT after `timeoutMs`, with the number of open circuits in the `cause`; the reason of the signal
   */
  drain(options?: DrainOptions): Promise<void> {
    if (options !== undefined) return this.drainWithin(options);
    this.beginDrain();
    this.drained ??= this.processRefs.during(this.circuits.drain.ended());
    return this.drained;
  }

  /**
   * Closes everything: there are no new links, dials or circuits, and other nodes route around this one. Open sockets and circuits of
   * others have closeTimeoutMs to finish, then they are reset. Links close when the last circuit of others has ended. Resolves when
   * nothing is left.
   */
  close(): Promise<void> {
    this.closing ??= this.processRefs.during(this.end());
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal Joins the seeds, and listens as the environment says. Called with the first use, or in the tick after the node was made. */
  start(): void {
    if (this.isStarted || this.closing !== undefined) return;
    this.isStarted = true;
    const secretFault = this.secretFault;
    if (secretFault !== undefined) nextTick(() => this.onWarning(secretFault));
    this.mesh.start();
    this.membership?.start();
    for (const address of this.#environment.listen) {
      this.listenAndServe(address).catch((error) => this.onError(error));
    }
  }

  /** Returns a fresh node with the same options, in other envs; none for the namespace without a name. */
  withEnv(...env: string[]): this {
    return this.derive({ env });
  }

  /** Returns a fresh node with the same options that may dial its own services. */
  withLoopBack(): this {
    return this.derive({ loopback: true });
  }

  /** Returns a fresh node with the same options that announces nothing. */
  client(): this {
    return this.derive({ role: 'client', relay: undefined });
  }

  /** Returns a fresh node with the same options that announces, and never dials peers by itself. */
  server(): this {
    return this.derive({ role: 'server' });
  }

  /** Returns a fresh node with the same options and the role `router`. */
  router(): this {
    return this.derive({ role: 'router' });
  }

  /** Returns a fresh node with the same options. */
  new(): this {
    return this.derive({});
  }

  private needMembership(): Membership {
    if (this.closing !== undefined) throw starlaneError('ERR_STARLANE_CLOSED');
    if (this.membership === undefined) throw starlaneError('ERR_STARLANE_AUTHORITY', 'this node has no credentials');
    return this.membership;
  }

  private async drainWithin(options: DrainOptions): Promise<void> {
    const { signal } = checkWaitOptions('drain', options);
    signal?.throwIfAborted();
    this.beginDrain();
    return this.processRefs.during(this.circuits.drain.endedWithin(options));
  }

  private beginDrain(): void {
    if (this.circuits.isDraining) return;
    log('%s drains', this.id);
    this.circuits.drain.begin();
    this.mesh.drain();
  }

  private get state(): NodeStats['state'] {
    if (this.closing !== undefined) return 'closed';
    return this.circuits.isDraining ? 'draining' : 'open';
  }

  private async end(): Promise<void> {
    log('%s closes', this.id);
    this.joins.close();
    this.serviceWaits.close();
    this.membership?.close();
    // First, so that other nodes do not dial or relay through this one while sockets and circuits end.
    const startedMs = sharedTimers.now();
    this.circuits.drain.begin();
    this.mesh.leave();
    const relayed = this.circuits.endRelaying();
    const closed = this.circuits.close();
    this.linkSet.closeListeners();
    if (this.circuits.isRelaying) await relayed;
    await Promise.all([closed, this.linkSet.close(sharedTimers.now() - startedMs)]);
    await this.drained;
    this.mesh.dispose();
    this.releaseIdentity();
    this.dispatch('close');
  }

  private derive(changes: NodeOptions): this {
    // In `createNode(options).client()` the first node is only a step: it must not join seeds unless it is used.
    if (!this.isStarted) {
      this.startsByItself = false;
      this.releaseIdentity();
    }
    // Two nodes must not have one identity: a node that is in use keeps its own.
    // A member cannot be two nodes: for another one, credentials have to be given.
    const identity = this.isStarted ? undefined : this.#options.identity;
    return createNodeIn({ ...this.#options, identity, ...changes }, this.#environment) as this;
  }

  private releaseIdentity(): void {
    if (this.#ownIdentity !== undefined) releaseIdentity(this.#ownIdentity);
    if (this.ownCredentials !== undefined) releaseCredentials(this.ownCredentials);
    this.ownCredentials = undefined;
    this.#ownIdentity = undefined;
  }

  private onLink(link: Link): void {
    this.circuits.onLink(link);
    this.mesh.onLink(link);
    this.dispatch('link', link);
  }

  private onUnlink(link: Link, reason: Error | undefined): void {
    this.circuits.onUnlink(link);
    this.mesh.onUnlink(link, isLoss(reason));
    this.joins.onUnlink(link, link.isClosedHere);
    this.dispatch('unlink', link, reason);
  }

  private onService(instance: ServiceInstance): void {
    const info = instance.snapshot();
    this.circuits.onService(instance);
    this.serviceWaits.onService(instance);
    this.dispatch('service', info);
    this.serviceView?.emitSafely('add', info);
  }

  private onUnservice(instance: ServiceInstance): void {
    const info = instance.snapshot();
    this.dispatch('unservice', info);
    this.serviceView?.emitSafely('remove', info);
  }

  private onWarning(error: Error): void {
    this.warnings++;
    log('%s warning: %s', this.id, error.message);
    if (this.listenerCount('warning') > 0) this.dispatch('warning', coded(error));
    else this.unheard.report(error);
  }

  /** Returns false when there is no listener. */
  private onError(error: Error): boolean {
    log('%s error: %s', this.id, error.message);
    if (this.listenerCount('error') > 0) {
      this.dispatch('error', coded(error));
      return true;
    }
    this.unheard.report(error);
    return false;
  }

  /** Emits an event. An exception of a listener is raised later, so that it does not reach the links. */
  private dispatch<K extends keyof NodeEvents>(event: K, ...values: NodeEvents[K]): void {
    try {
      // Listeners run in the async context in which the node was made.
      this.scope.runInAsyncScope(this.emit as (name: string, ...args: unknown[]) => boolean, this, event, ...values);
    } catch (error) {
      throwLater(error);
    }
  }
}

/** Makes a node. It does nothing, and does not hold the process open, until it is used or has seeds. */
export function createNode(options: NodeOptions = {}): Node {
  return createNodeIn(options, readEnvironment(process.env));
}

// A function, as a class that refers to itself gets the name `_Node` in the bundle and in every stack trace.
/** @internal Makes a node in an environment that may differ from that of the process. */
export function createNodeIn(options: NodeOptions, environment: NodeEnvironment): Node {
  const identity = options.identity === undefined ? takeIdentity(environment) : undefined;
  try {
    return new Node(options, { ...environment, identity });
  } catch (error) {
    if (identity !== undefined) releaseIdentity(identity);
    throw error;
  }
}

function isHandler(value: unknown): value is BindHandler {
  return typeof value === 'function' || value instanceof EventEmitter;
}
