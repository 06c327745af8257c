// The control plane of one node: records and gossip, routes, services, neighbours, the health of links. This class connects
// the parts. Everything from outside (links, time, randomness, signatures) is passed in, so that a simulation can run a
// thousand of them.

import type { NodeId } from '../address.js';
import type { MemberBook } from '../identity/member-book.js';
import { isLaterRun } from '../link/duplicate-identity.js';
import type { NodeRole } from '../options/options.js';
import type { BackOff } from '../util/back-off.js';
import { Deadline } from '../util/deadline.js';
import { REST_SLACK_MS } from '../util/timers.js';
import { type Message, MessageType } from '../wire/messages.js';
import { type MeshRecord, NodeFlag, type NodeRecord, RecordKind } from '../wire/records.js';
import { explainAbsence } from './directory/absence.js';
import type { BindAccessSetup } from './directory/bind-access.js';
import { Registry } from './directory/registry.js';
import type { ServiceInstance } from './directory/service.js';
import type { ServiceTable } from './directory/service-table.js';
import { Gossip, type GossipOwner } from './gossip/gossip.js';
import { AnnouncedLinks } from './health/link-cost.js';
import { LinkWatch, type LinkWatchOwner } from './health/link-watch.js';
import { MeshMembers } from './members/mesh-members.js';
import { OwnOffers } from './members/own-offers.js';
import type { Applicant } from './neighbours/link-admission.js';
import { Neighbourhood } from './neighbours/neighbourhood.js';
import { Shortcuts } from './neighbours/shortcuts.js';
import type { MeshEnvironment, MeshLink, MeshNetwork, MeshView } from './ports.js';
import { startsToDrain } from './records/order.js';
import type { LocalLink } from './routing/own-links.js';
import type { RouteInfo } from './routing/route-map.js';
import { Routing, type RoutingOwner } from './routing/routing.js';

/** How often the round trips of links are read, in ms. Only a lasting change is published. */
const SAMPLE_INTERVAL_MS = 5_000;

/**
 * A link without streams is measured every third time: each ping wakes two processes that may have nothing else to do. A round trip
 * is remembered for half a minute to a minute, which still holds at least two samples.
 */
const REST_SAMPLES = 3;

/** How long an explanation for the absence of a service is reused, in ms. */
const ABSENCE_MS = 100;

interface ControlPlaneOptions {
  readonly role: NodeRole;
  /** Whether circuits of others may pass through. */
  readonly relay: boolean;
  /** Bits of CircuitAbility: what this node can do with circuits. Default none. */
  readonly abilities?: number;
  readonly envDigests: readonly string[];
  /** Link addresses, possibly with host names. */
  readonly seeds: readonly string[];
  /** Pause between two dials of a seed or a node. */
  readonly backOff: BackOff;
  readonly keepAliveMs: number;
  readonly keepAliveTimeoutMs: number;
  /** The epoch of the first records of this run: one more than a kept one, or 1. */
  readonly firstEpoch: number;
  readonly maxServicesPerNode: number;
  readonly maxNodes: number;
  readonly maxInstances: number;
  readonly recordQueueBytes?: number;
  /** Which services of others are visible; undefined for all. */
  readonly access?: BindAccessSetup | undefined;
  /** Who is a member; undefined where certificates do not decide it. */
  readonly members?: MemberBook | undefined;
}

/** What the control plane calls. Functions must not throw. */
export interface ControlPlaneOwner {
  onService(instance: ServiceInstance): void;
  onUnservice(instance: ServiceInstance): void;
  onRoute(route: RouteInfo): void;
  onUnroute(route: RouteInfo): void;
  /** Called when all that the peer had at link up has been processed. */
  onSynced(link: MeshLink): void;
  /** Called when a record shows a later run of a peer than the one at the other end of the link. */
  onLaterRun?(link: MeshLink, record: NodeRecord): void;
  /** Called with the epoch of this node's records, from which its next run continues. */
  onEpoch(epoch: number): void;
}

interface ControlPlaneSetup {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly options: ControlPlaneOptions;
  readonly owner: ControlPlaneOwner;
}

export class ControlPlane implements GossipOwner, RoutingOwner, LinkWatchOwner, MeshView {
  readonly members: MeshMembers;
  readonly gossip: Gossip;
  readonly routing: Routing;
  readonly registry: Registry;
  readonly neighbourhood: Neighbourhood;
  readonly shortcuts: Shortcuts;
  readonly watch: LinkWatch;
  private readonly links = new Set<MeshLink>();
  private readonly synced = new WeakSet<MeshLink>();
  /** Direct links over which SYNCED was sent, and over which it has come. */
  private readonly greeted = new WeakSet<MeshLink>();
  private readonly answered = new WeakSet<MeshLink>();
  private readonly announced: AnnouncedLinks;
  private flags: number;
  private readonly offers: OwnOffers;
  private lastAbsence: { service: string; port: number | undefined; untilMs: number; error: Error } | undefined;
  private readonly nextSample: Deadline;
  private samples = 0;
  private isStarted = false;
  private isDraining = false;
  private hasLeft = false;
  private isClosed = false;

  constructor(private readonly setup: ControlPlaneSetup) {
    const { environment, network, options, owner } = setup;
    const { identity, timers } = environment;
    const { role, envDigests, keepAliveMs, keepAliveTimeoutMs } = options;
    const { nodeId } = identity;
    this.nextSample = new Deadline(timers, () => this.sample());
    this.members = new MeshMembers(environment, options.members, role !== 'client', {
      onMember: (id) => this.onMember(id),
      onBarred: (id) => this.onBarred(id),
      onOwnRights: () => this.onOwnRights(),
      onSettled: (link) => this.onStatementsSettled(link),
      onPunish: (link, error, isBan) => {
        if (isBan) this.gossip.ban(link.peerId);
        link.destroy(error);
      },
    });
    const { rights } = this.members;
    this.flags = (options.relay && this.members.own.mayRelay ? NodeFlag.RELAY : 0) | (options.abilities ?? 0);
    this.routing = new Routing(nodeId, timers, this, { mayRelay: (id) => rights.mayRelay(id) });
    this.gossip = new Gossip(
      environment,
      {
        ...options,
        announces: role !== 'client',
        rights,
        statements: this.members,
        isReachable: (id) => this.routing.isReachable(id),
      },
      this,
    );
    const { access } = options;
    this.registry = new Registry({ nodeId, envDigests, access, rights }, this.gossip.store, this.routing, owner);
    this.offers = new OwnOffers({
      mayOffer: (service) => this.members.own.mayOffer(service),
      announce: (entry) => {
        const { service, port, weight, meta, instance } = entry;
        this.gossip.own.bind(entry);
        this.registry.bind(service, port, weight, meta, instance);
      },
      withdraw: ({ service, port }) => {
        this.gossip.own.unbind(service, port);
        this.registry.unbind(service, port);
      },
      warn: (error) => environment.warn(error),
    });
    this.neighbourhood = new Neighbourhood({
      environment,
      network,
      view: this,
      options: { role, seeds: options.seeds, backOff: options.backOff },
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
      eligible: () => this.neighbourhood.admission.announced(),
      isStalled: (link) => this.watch.isStalled(link),
      onChange: (links, urgency) => {
        this.gossip.own.describe({ links }, urgency);
        this.updateRoutes();
      },
    });
    this.gossip.own.describe({ flags: this.flags, addresses: network.listenAddresses }, 'soon');
  }

  /** Joins seeds and looks for neighbours. */
  start(): void {
    this.isStarted = true;
    this.neighbourhood.start();
  }

  /** Ends all activity. Links stay up. */
  dispose(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.nextSample.clear();
    this.neighbourhood.dispose();
    this.shortcuts.dispose();
    this.watch.dispose();
    this.announced.dispose();
    this.routing.dispose();
    this.registry.dispose();
    this.gossip.dispose();
    this.members.dispose();
  }

  /**
   * Publishes that this node drains: other nodes do not see its services any more, and prefer paths around it. Links stay up, and no more
   * are sought as long as there is one.
   */
  drain(): void {
    if (this.isDraining || this.hasLeft || this.isClosed) return;
    this.isDraining = true;
    this.flags |= NodeFlag.DRAIN;
    this.neighbourhood.drain();
    this.gossip.own.describe({ flags: this.flags }, 'now');
  }

  /** Publishes that this node leaves, so that no node dials it or relays through it any more. Open circuits continue. */
  leave(): void {
    if (this.hasLeft || this.isClosed) return;
    this.hasLeft = true;
    this.neighbourhood.dispose();
    this.shortcuts.dispose();
    this.gossip.leave();
  }

  // --- services and addresses of this node ---

  /** Seeds that are kept joined. */
  get seedCount(): number {
    return this.isStarted && !this.hasLeft ? this.neighbourhood.seeds.size : 0;
  }

  get table(): ServiceTable {
    return this.registry.table;
  }

  /** @throws ERR_STARLANE_MESSAGE when meta is not JSON or too large; EACCES when the certificate of this node does not allow it */
  bind(service: string, port: number, weight: number, meta: unknown, instance?: string): void {
    this.offers.bind({ service, port, weight, meta, instance });
  }

  /** Returns an error that explains why no instance of a service is found. */
  absenceOf(service: string, port: number | undefined): Error {
    const now = this.setup.environment.timers.now();
    const { lastAbsence } = this;
    // Many dials may wait for the same name, and fail together.
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

  /** Returns the digest of an env that this node shares with another. */
  sharedEnv(nodeId: NodeId): string | undefined {
    const { envDigests } = this.setup.options;
    return this.gossip.store.node(nodeId)?.envDigests.find((digest) => envDigests.includes(digest));
  }

  unbind(service: string, port: number): void {
    this.offers.unbind(service, port);
  }

  onListening(): void {
    this.gossip.own.describe({ addresses: this.setup.network.listenAddresses }, 'soon');
  }

  // --- links ---

  /** Whether to accept a link that a peer makes. */
  mayAccept(applicant: Applicant): boolean {
    if (this.isBanned(applicant.peerId)) return false;
    if (applicant.purpose === 'direct') return this.shortcuts.mayAccept(applicant.peerId);
    return this.neighbourhood.admission.mayAccept(applicant);
  }

  onLink(link: MeshLink): void {
    // A peer that this node did not reach was not reached by the nodes around it either: it is new, or of another partition.
    const isNew = !this.routing.isReachable(link.peerId);
    this.links.add(link);
    this.watch.onLink(link);
    this.members.onLink(link);
    if (link.purpose !== 'direct') this.gossip.onLink(link);
    else this.settleDirect(link);
    this.updateRoutes();
    this.neighbourhood.onLink(link);
    this.shortcuts.onLink(link);
    this.measure(link, isNew);
    if (!this.nextSample.isSet) this.nextSample.set(SAMPLE_INTERVAL_MS, REST_SLACK_MS);
  }

  /** Called when a direct link becomes one that carries gossip. */
  onPromoted(link: MeshLink): void {
    if (!this.links.has(link)) return;
    this.gossip.onLink(link);
    this.neighbourhood.onPromoted();
    this.shortcuts.onPromoted(link);
    this.announce(link, false);
    this.updateRoutes();
  }

  /** `isLoss`: neither of the two nodes has closed it on purpose. */
  onUnlink(link: MeshLink, isLoss: boolean): void {
    if (!this.links.delete(link)) return;
    this.watch.onUnlink(link);
    this.members.onUnlink(link);
    if (link.purpose !== 'direct') this.gossip.onUnlink(link);
    this.updateRoutes();
    // Nobody uses a link to a node that has left, or is no member any more.
    const isGone = this.neighbourhood.neighbours.hasLeft(link.peerId) || !this.isMember(link.peerId);
    this.announced.onDown(link, isLoss && this.isMember(link.peerId), isGone);
    this.neighbourhood.onUnlink(link);
    this.shortcuts.onUnlink(link);
  }

  onMessage(link: MeshLink, message: Message): void {
    if (this.members.onMessage(link, message)) return;
    if (link.purpose !== 'direct') this.gossip.onMessage(link, message);
    else if (message.type === MessageType.SYNCED) {
      this.answered.add(link);
      this.settleDirect(link);
    }
  }

  onUnblocked(link: MeshLink): void {
    this.members.onUnblocked(link);
    if (link.purpose !== 'direct') this.gossip.onUnblocked(link);
  }

  // --- what the members report ---

  private onMember(nodeId: NodeId): void {
    this.routing.onRights(nodeId);
    this.gossip.onMember(nodeId);
    if (this.isPeer(nodeId)) this.updateRoutes();
    this.registry.onNodeChanged(nodeId);
  }

  private onBarred(nodeId: NodeId): void {
    this.gossip.onBarred(nodeId);
    if (this.isPeer(nodeId)) this.updateRoutes();
    this.routing.update();
    this.registry.onNodeChanged(nodeId);
  }

  private onOwnRights(): void {
    const { relay } = this.setup.options;
    this.flags = relay && this.members.own.mayRelay ? this.flags | NodeFlag.RELAY : this.flags & ~NodeFlag.RELAY;
    this.gossip.own.describe({ flags: this.flags }, 'now');
    this.offers.review();
  }

  private onStatementsSettled(link: MeshLink): void {
    if (!this.links.has(link)) return;
    if (link.purpose !== 'direct') this.gossip.onStatementsSettled(link);
    else this.settleDirect(link);
  }

  /** A direct link has nothing to sync but statements about members. */
  private settleDirect(link: MeshLink): void {
    if (!this.greeted.has(link) && !this.members.goesAhead(link)) {
      this.greeted.add(link);
      link.send({ type: MessageType.SYNCED });
    }
    if (this.answered.has(link) && !this.members.isChecking(link)) this.onSynced(link);
  }

  // --- what the gossip reports ---

  onRecord(record: MeshRecord, previous: MeshRecord | undefined): void {
    const { nodeId } = record;
    if (record.kind === RecordKind.NODE) {
      this.routing.onRecord(record);
      if (startsToDrain(record, previous) && this.isPeer(nodeId)) this.neighbourhood.onPeerDrains();
      // A link is announced once there is a record of its peer.
      if (previous === undefined && this.isPeer(nodeId)) this.announced.update('soon');
      if (previous !== undefined && record.bootId !== previous.bootId) this.findRival(record, previous.bootId);
    }
    this.registry.onNodeChanged(nodeId);
  }

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

  onEpoch(epoch: number): void {
    this.setup.owner.onEpoch(epoch);
  }

  // --- what the routes report ---

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

  // --- what the link watch reports ---

  onSuspect(): void {
    this.updateRoutes();
  }

  onStalled(): void {
    this.announced.update('metric');
  }

  onOverload(isOverloaded: boolean): void {
    this.flags = isOverloaded ? this.flags | NodeFlag.OVERLOAD : this.flags & ~NodeFlag.OVERLOAD;
    this.gossip.own.describe({ flags: this.flags }, 'soon');
  }

  // --- the view of the neighbourhood ---

  get reachable(): number {
    return this.routing.size;
  }

  isReachable(nodeId: NodeId): boolean {
    return this.routing.isReachable(nodeId);
  }

  isBanned(nodeId: NodeId): boolean {
    return this.gossip.isBanned(nodeId);
  }

  isMember(nodeId: NodeId): boolean {
    return this.members.rights.isMember(nodeId);
  }

  mayRelay(nodeId: NodeId): boolean {
    return this.members.rights.mayRelay(nodeId);
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

  private sample(): void {
    if (this.links.size === 0) return;
    const isRestSampled = this.samples++ % REST_SAMPLES === 0;
    for (const link of this.links) {
      this.announced.onSample(link, this.watch.isLagging);
      // Nothing else measures a link that only carries gossip, since it is never idle. Without this ping a value from a minute
      // ago, or one that a pause has spoiled, would decide how long circuits may take.
      if (isRestSampled || link.streams > 0) link.ping().catch(() => {});
    }
    this.nextSample.set(SAMPLE_INTERVAL_MS, REST_SLACK_MS);
  }

  /** Announces a link after one round trip: with a measured cost from the start, the mesh is spared a second flood. */
  private measure(link: MeshLink, isNew: boolean): void {
    link.ping().then(
      () => {
        if (this.isClosed || !this.links.has(link)) return;
        if (link.purpose !== 'direct') this.announce(link, isNew);
        this.updateRoutes();
      },
      () => {
        // The link has ended; onUnlink does the rest.
      },
    );
  }

  /** `isNew`: the peer was unreachable before the link came up. */
  private announce(link: MeshLink, isNew: boolean): void {
    this.announced.onUp(link, isNew || this.neighbourhood.neighbours.isOnlyWay(link.peerId));
  }

  private updateRoutes(): void {
    if (this.isClosed) return;
    const links = [...this.links].filter(({ peerId }) => this.isMember(peerId));
    this.routing.setLinks(links.map((link) => this.localLink(link)));
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
   * A record of another run of a linked peer has arrived. If that run is later, the linked one has ended, or both are running.
   * If it is an earlier one (the clock was set back since), nothing follows: the linked run has published newer records.
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
