// The control plane of one node put together: records and gossip, routes, services, neighbours, the health of links.
// It lives on what it is given (links, time, chance, signatures), so that a simulation runs a thousand of them.

import type { NodeId } from '../address.js';
import { isLaterRun } from '../link/runs.js';
import type { NodeRole } from '../options/options.js';
import type { BackOff } from '../util/back-off.js';
import { REST_SLACK_MS, type Timed, type Timer } from '../util/timers.js';
import { type Message, MessageType } from '../wire/messages.js';
import { type MeshRecord, NodeFlag, type NodeRecord, RecordKind } from '../wire/records.js';
import { explainAbsence } from './directory/absence.js';
import type { BindAccess } from './directory/bind-access.js';
import { Registry } from './directory/registry.js';
import type { ServiceInstance } from './directory/service.js';
import type { ServiceTable } from './directory/service-table.js';
import { Gossip, type GossipOwner } from './gossip/gossip.js';
import { AnnouncedLinks } from './health/announced-links.js';
import { LinkWatch, type LinkWatchOwner } from './health/link-watch.js';
import type { Applicant } from './neighbours/link-admission.js';
import { Neighbourhood } from './neighbours/neighbourhood.js';
import { Shortcuts } from './neighbours/shortcuts.js';
import type { MeshEnvironment } from './ports/mesh-environment.js';
import type { MeshLink } from './ports/mesh-link.js';
import type { MeshNetwork } from './ports/mesh-network.js';
import type { MeshView } from './ports/mesh-view.js';
import type { LocalLink } from './routing/own-links.js';
import type { RouteInfo } from './routing/route.js';
import { Routing, type RoutingOwner } from './routing/routing.js';

/** How often the round trips of links are looked at, in ms. Only what has moved for long is ever told. */
const SAMPLE_INTERVAL_MS = 5_000;

/**
 * A link without streams is measured every third time: each ping wakes two processes that may have nothing else to do. Of the half to
 * whole minute that a round trip is remembered, that still gives two samples at least.
 */
const REST_SAMPLES = 3;

/** How long what was found to explain the absence of a service is said again, in ms. */
const ABSENCE_MS = 100;

export interface ControlPlaneOptions {
  readonly role: NodeRole;
  /** Circuits of others may pass through. */
  readonly relay: boolean;
  readonly envDigests: readonly string[];
  /** Link addresses, possibly with names of hosts. */
  readonly seeds: readonly string[];
  /** Between two dials of a seed or a node. */
  readonly backOff: BackOff;
  readonly keepAliveMs: number;
  readonly keepAliveTimeoutMs: number;
  /** The epoch that the records of this run begin with: one more than a kept one, or 1. */
  readonly firstEpoch: number;
  readonly maxServicesPerNode: number;
  readonly maxNodes: number;
  readonly maxInstances: number;
  readonly recordQueueBytes?: number;
  /** Whose services are seen; undefined: all. */
  readonly access?: BindAccess | undefined;
}

/** Must not throw. */
export interface ControlPlaneOwner {
  onService(instance: ServiceInstance): void;
  onUnservice(instance: ServiceInstance): void;
  onRoute(route: RouteInfo): void;
  onUnroute(route: RouteInfo): void;
  /** The peer has told all that it had to tell when the link came up, and it has been taken in. */
  onSynced(link: MeshLink): void;
  onWarning(error: Error): void;
  /** A record tells of a later run of the peer of a link than the one that it is linked to. */
  onLaterRun?(link: MeshLink, record: NodeRecord): void;
  /** The epoch of the own records, for the next run to count on from. */
  onEpoch(epoch: number): void;
}

export interface ControlPlaneSetup {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly options: ControlPlaneOptions;
  readonly owner: ControlPlaneOwner;
}

export class ControlPlane implements GossipOwner, RoutingOwner, LinkWatchOwner, MeshView, Timed {
  readonly gossip: Gossip;
  readonly routing: Routing;
  readonly registry: Registry;
  readonly neighbourhood: Neighbourhood;
  readonly shortcuts: Shortcuts;
  readonly watch: LinkWatch;
  private readonly links = new Set<MeshLink>();
  private readonly synced = new WeakSet<MeshLink>();
  private readonly announced: AnnouncedLinks;
  private flags: number;
  private lastAbsence: { service: string; port: number | undefined; untilMs: number; error: Error } | undefined;
  private timer: Timer | undefined;
  private samples = 0;
  private isStarted = false;
  private hasLeft = false;
  private isStopped = false;

  constructor(private readonly setup: ControlPlaneSetup) {
    const { environment, network, options, owner } = setup;
    const { identity, timers } = environment;
    const { role, envDigests, keepAliveMs, keepAliveTimeoutMs } = options;
    const { nodeId } = identity;
    this.flags = options.relay ? NodeFlag.RELAY : 0;
    this.routing = new Routing(nodeId, timers, this);
    this.gossip = new Gossip(
      environment,
      { ...options, announces: role !== 'client', isReachable: (id) => this.routing.isReachable(id) },
      this,
    );
    const { access } = options;
    this.registry = new Registry({ nodeId, envDigests, access }, this.gossip.store, this.routing, owner);
    this.neighbourhood = new Neighbourhood({
      environment,
      network,
      view: this,
      options: { role, seeds: options.seeds, backOff: options.backOff },
      owner,
    });
    this.shortcuts = new Shortcuts({ environment, network, view: this, role });
    this.watch = new LinkWatch(
      {
        timers,
        random: () => environment.random(),
        keepAliveMs,
        keepAliveTimeoutMs,
        probe: (address, timeoutMs) => network.probe(address, timeoutMs),
        addressesOf: (id) => this.gossip.store.node(id)?.addresses ?? [],
      },
      this,
    );
    this.announced = new AnnouncedLinks(timers, {
      eligible: () => this.neighbourhood.announced(),
      isStalled: (link) => this.watch.isStalled(link),
      onChange: (links, urgency) => {
        this.gossip.describe({ links }, urgency);
        this.updateRoutes();
      },
    });
    this.gossip.describe({ flags: this.flags, addresses: network.listenAddresses }, 'good');
  }

  /** Seeds are joined, neighbours looked for. */
  start(): void {
    this.isStarted = true;
    this.neighbourhood.start();
  }

  /** Makes and tries nothing any more. Links stay. */
  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
    this.neighbourhood.stop();
    this.shortcuts.stop();
    this.watch.stop();
    this.announced.stop();
    this.routing.stop();
    this.registry.stop();
    this.gossip.stop();
  }

  /** The last word of this node: nobody dials or relays through it any more. What is open goes on. */
  leave(): void {
    if (this.hasLeft || this.isStopped) return;
    this.hasLeft = true;
    this.neighbourhood.stop();
    this.shortcuts.stop();
    this.gossip.leave();
  }

  // --- what is bound and where this node listens ---

  /** Seeds that are kept joined. */
  get seedCount(): number {
    return this.isStarted && !this.hasLeft ? this.neighbourhood.seedCount : 0;
  }

  get table(): ServiceTable {
    return this.registry.table;
  }

  /** @throws ERR_STARLANE_MESSAGE when meta is no JSON or too large */
  bind(service: string, port: number, weight: number, meta: unknown): void {
    this.gossip.bind({ service, port, weight, meta });
    this.registry.bind(service, port, weight, meta);
  }

  /** Why nobody is found who offers a service. */
  absenceOf(service: string, port: number | undefined): Error {
    const now = this.setup.environment.timers.now();
    const { lastAbsence } = this;
    // Many may wait for the same name, and fail together.
    if (lastAbsence?.service === service && lastAbsence.port === port && now < lastAbsence.untilMs) {
      return lastAbsence.error;
    }
    const { registry, routing, gossip, links } = this;
    const error = explainAbsence(service, port, {
      table: registry.table,
      records: gossip.store,
      links,
      reachable: routing.size,
      isReachable: (nodeId) => routing.isReachable(nodeId),
      sharesEnv: (envDigests) => registry.sharesEnv(envDigests),
      hidden: () => registry.hidden(),
      lastFailure: this.setup.network.lastFailure,
    });
    this.lastAbsence = { service, port, untilMs: now + ABSENCE_MS, error };
    return error;
  }

  /** The digest of an env that this node shares with another. */
  sharedEnv(nodeId: NodeId): string | undefined {
    const { envDigests } = this.setup.options;
    return this.gossip.store.node(nodeId)?.envDigests.find((digest) => envDigests.includes(digest));
  }

  unbind(service: string, port: number): void {
    this.gossip.unbind(service, port);
    this.registry.unbind(service, port);
  }

  onListening(): void {
    this.gossip.describe({ addresses: this.setup.network.listenAddresses }, 'good');
  }

  // --- links ---

  /** Whether a link that a peer makes is taken. */
  mayAccept(applicant: Applicant): boolean {
    if (this.isBanned(applicant.peerId)) return false;
    if (applicant.purpose === 'direct') return this.shortcuts.mayAccept(applicant.peerId);
    return this.neighbourhood.mayAccept(applicant);
  }

  onLink(link: MeshLink): void {
    // Whoever this node has not reached until now, the nodes around it have not either: a newcomer, or another part.
    const isNew = !this.routing.isReachable(link.peerId);
    this.links.add(link);
    this.watch.onLink(link);
    if (link.purpose !== 'direct') this.gossip.onLink(link);
    else link.send({ type: MessageType.SYNCED });
    this.updateRoutes();
    this.neighbourhood.onLink(link);
    this.shortcuts.onLink(link);
    this.measure(link, isNew);
    this.timer ??= this.setup.environment.timers.schedule(SAMPLE_INTERVAL_MS, this, REST_SLACK_MS);
  }

  /** It has to do more than it was made for. */
  onPromoted(link: MeshLink): void {
    if (!this.links.has(link)) return;
    this.gossip.onLink(link);
    this.neighbourhood.onPromoted();
    this.shortcuts.onPromoted(link);
    this.announce(link, false);
    this.updateRoutes();
  }

  /** `isLoss`: neither of the two nodes wanted that. */
  onUnlink(link: MeshLink, isLoss: boolean): void {
    if (!this.links.delete(link)) return;
    this.watch.onUnlink(link);
    if (link.purpose !== 'direct') this.gossip.onUnlink(link);
    this.updateRoutes();
    this.announced.onDown(link, isLoss, this.neighbourhood.neighbours.hasLeft(link.peerId));
    this.neighbourhood.onUnlink(link);
    this.shortcuts.onUnlink(link);
  }

  onMessage(link: MeshLink, message: Message): void {
    if (link.purpose !== 'direct') this.gossip.onMessage(link, message);
    else if (message.type === MessageType.SYNCED) this.onSynced(link);
  }

  onDrain(link: MeshLink): void {
    if (link.purpose !== 'direct') this.gossip.onDrain(link);
  }

  // --- what the gossip tells ---

  onRecord(record: MeshRecord, previous: MeshRecord | undefined): void {
    const { nodeId } = record;
    if (record.kind === RecordKind.NODE) {
      this.routing.onRecord(record);
      // Whether its link is announced depends on what a peer says of itself.
      if (previous === undefined && this.isPeer(nodeId)) this.announced.update('good');
      if (previous !== undefined && record.bootId !== previous.bootId) this.findRival(record, previous.bootId);
    }
    this.registry.onNodeChanged(nodeId);
  }

  /** What others reckon with when they judge who is closer to a node. */
  onOwnRecord(record: MeshRecord): void {
    if (record.kind === RecordKind.NODE) this.routing.onRecord(record);
  }

  onForgotten(record: MeshRecord): void {
    if (record.kind === RecordKind.NODE) this.routing.onForgotten(record.nodeId);
    this.registry.onNodeChanged(record.nodeId);
  }

  onSynced(link: MeshLink): void {
    if (this.synced.has(link)) return;
    this.synced.add(link);
    this.routing.update();
    this.setup.owner.onSynced(link);
  }

  onWarning(error: Error): void {
    this.setup.owner.onWarning(error);
  }

  onEpoch(epoch: number): void {
    this.setup.owner.onEpoch(epoch);
  }

  // --- what the routes tell ---

  onReachability(changed: readonly NodeId[]): void {
    this.registry.onNodesChanged(changed);
    for (const nodeId of changed) {
      if (!this.routing.isReachable(nodeId)) continue;
      this.gossip.onReached(nodeId);
      this.neighbourhood.onReachable(nodeId);
    }
  }

  onRoute(route: RouteInfo): void {
    this.setup.owner.onRoute(route);
  }

  onUnroute(route: RouteInfo): void {
    this.setup.owner.onUnroute(route);
  }

  // --- what the watch over links tells ---

  onSuspect(): void {
    this.updateRoutes();
  }

  onStalled(): void {
    this.announced.update('cost');
  }

  onOverload(isOverloaded: boolean): void {
    this.flags = isOverloaded ? this.flags | NodeFlag.OVERLOAD : this.flags & ~NodeFlag.OVERLOAD;
    this.gossip.describe({ flags: this.flags }, 'good');
  }

  // --- what the neighbourhood sees ---

  get reachable(): number {
    return this.routing.size;
  }

  isReachable(nodeId: NodeId): boolean {
    return this.routing.isReachable(nodeId);
  }

  isBanned(nodeId: NodeId): boolean {
    return this.gossip.isBanned(nodeId);
  }

  node(nodeId: NodeId): NodeRecord | undefined {
    return this.gossip.store.node(nodeId);
  }

  nodes(): Iterable<NodeRecord> {
    return this.gossip.store.nodes();
  }

  distance(nodeId: NodeId): number | undefined {
    return this.routing.distance(nodeId);
  }

  // --- inside ---

  onDeadline(): void {
    this.timer = undefined;
    if (this.links.size === 0) return;
    const isRestSampled = this.samples++ % REST_SAMPLES === 0;
    for (const link of this.links) {
      this.announced.onSample(link, this.watch.isLagging);
      // Nobody else measures a link that carries gossip and nothing else: it is never idle. What it was a minute ago, or in
      // the one ping that a hiccup has delayed, would stand for it, and circuits would not be given the time to go there.
      if (isRestSampled || link.streams > 0) link.ping().catch(() => {});
    }
    this.timer = this.setup.environment.timers.schedule(SAMPLE_INTERVAL_MS, this, REST_SLACK_MS);
  }

  /** A link is announced once it is known how long it is: that takes one round trip, and spares the mesh a second flood. */
  private measure(link: MeshLink, isNew: boolean): void {
    link.ping().then(
      () => {
        if (this.isStopped || !this.links.has(link)) return;
        if (link.purpose !== 'direct') this.announce(link, isNew);
        this.updateRoutes();
      },
      () => {
        // The link has ended, which is told elsewhere.
      },
    );
  }

  /** `isNew`: before the link came up, its peer could not be reached. */
  private announce(link: MeshLink, isNew: boolean): void {
    this.announced.onUp(link, isNew || this.neighbourhood.neighbours.isOnlyWay(link.peerId));
  }

  private updateRoutes(): void {
    if (this.isStopped) return;
    this.routing.setLinks([...this.links].map((link) => this.localLink(link)));
  }

  private localLink(link: MeshLink): LocalLink {
    const { peerId, bootId, purpose, role } = link;
    return {
      peerId,
      bootId,
      costMs: this.announced.costMs(link),
      isMesh: purpose !== 'direct' && role !== 'client',
      isSuspect: this.watch.isSuspect(link),
    };
  }

  /**
   * A later run has spoken after one that this node is linked to: that is over, or goes on beside the other. Not so when the run
   * of the record is a past one and the clock was set back since: the linked one has gone beyond whatever that had said.
   */
  private findRival(record: NodeRecord, previousBootId: string): void {
    for (const link of this.links) {
      if (link.peerId !== record.nodeId || link.bootId !== previousBootId) continue;
      if (isLaterRun(record.bootId, link.bootId) === true) this.setup.owner.onLaterRun?.(link, record);
    }
  }

  private isPeer(nodeId: NodeId): boolean {
    for (const { peerId } of this.links) if (peerId === nodeId) return true;
    return false;
  }
}
