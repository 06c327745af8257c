// The whole control plane of lib/mesh, as the simulation runs it.

import type { NodeId } from '../../lib/address.js';
import type { Routes } from '../../lib/circuit/paths.js';
import { isLoss } from '../../lib/link/handshake/refusals.js';
import { ControlPlane } from '../../lib/mesh/control-plane.js';
import type { MeshEnvironment, MeshLink, MeshNetwork } from '../../lib/mesh/ports.js';
import { Freshness } from '../../lib/mesh/records/store.js';
import { DEFAULT_LIMITS } from '../../lib/options/options.js';
import { envDigests, type Message } from '../../lib/wire/messages.js';
import type { MeshRecord } from '../../lib/wire/records.js';
import type { DatabaseDigest, Plane, PlaneSetup, PlaneShortcut, PlaneView } from './plane.js';

export function makeRealPlane(setup: PlaneSetup): Plane {
  return new RealPlane(setup);
}

class RealPlane implements Plane {
  readonly shortcut: PlaneShortcut;
  readonly view: PlaneView;
  private readonly plane: ControlPlane;

  constructor(setup: PlaneSetup) {
    const { environment, network, role, relay, env, seeds, members, firstEpoch } = setup;
    const { keepAliveMs, keepAliveTimeoutMs, rejoinMinMs, rejoinMaxMs } = DEFAULT_LIMITS;
    this.plane = new ControlPlane({
      environment,
      network,
      options: {
        role,
        relay,
        envDigests: envDigests(env),
        seeds,
        backOff: { minMs: rejoinMinMs, maxMs: rejoinMaxMs },
        keepAliveMs,
        keepAliveTimeoutMs,
        firstEpoch,
        maxServicesPerNode: DEFAULT_LIMITS.maxServicesPerPeer,
        maxNodes: DEFAULT_LIMITS.maxNodes,
        maxInstances: DEFAULT_LIMITS.maxInstances,
        members,
      },
      owner: {
        onService: () => {},
        onUnservice: ({ service, nodeId }) => setup.onGone?.(`${service} at ${nodeId}`),
        onRoute: () => {},
        onUnroute: ({ nodeId }) => setup.onGone?.(nodeId),
        onSynced: (link) => setup.onSynced(link),
        onEpoch: (epoch) => setup.onEpoch(epoch),
      },
    });
    this.shortcut = new RealShortcut(this.plane, environment, network);
    this.view = new RealView(this.plane, environment.identity.nodeId);
  }

  start(): void {
    this.plane.onListening();
    this.plane.start();
  }

  onLink(link: MeshLink): void {
    this.plane.onLink(link);
  }

  onPromoted(link: MeshLink): void {
    this.plane.onPromoted(link);
  }

  onUnlink(link: MeshLink, reason: Error | undefined): void {
    this.plane.onUnlink(link, isLoss(reason));
  }

  onMessage(link: MeshLink, message: Message): void {
    this.plane.onMessage(link, message);
  }

  onUnblocked(link: MeshLink): void {
    this.plane.onUnblocked(link);
  }

  objection(link: MeshLink): string | undefined {
    return this.plane.mayAccept(link) ? undefined : 'it has links enough';
  }

  bind(service: string, port: number): void {
    this.plane.bind(service, port, 1, undefined);
  }

  unbind(service: string, port: number): void {
    this.plane.unbind(service, port);
  }

  drain(): void {
    this.plane.drain();
  }

  leave(): void {
    this.plane.leave();
  }

  stop(): void {
    this.plane.dispose();
  }
}

class RealShortcut implements PlaneShortcut {
  constructor(
    private readonly plane: ControlPlane,
    private readonly environment: MeshEnvironment,
    private readonly network: MeshNetwork,
  ) {}

  choose(link: MeshLink): void {
    this.plane.neighbourhood.neighbours.choose(link, 'random');
  }

  *ownRecords(): Iterable<MeshRecord> {
    const { store } = this.plane.gossip;
    const { nodeId } = this.environment.identity;
    const node = store.node(nodeId);
    if (node !== undefined) yield node;
    yield* store.shardsOf(nodeId);
  }

  learn(records: Iterable<MeshRecord>): void {
    const { store } = this.plane.gossip;
    const now = this.environment.timers.now();
    for (const record of records) {
      if (store.freshness(record) !== Freshness.NEWER) continue;
      const previous = store.put({ record, remainingLifeS: record.lifeS }, now);
      this.plane.onRecord(record, previous);
    }
  }

  greetAgain(): void {
    for (const link of this.network.links()) {
      this.plane.gossip.onUnlink(link);
      this.plane.members.onUnlink(link);
      this.plane.members.onLink(link);
      this.plane.gossip.onLink(link);
    }
  }
}

class RealView implements PlaneView {
  constructor(
    private readonly plane: ControlPlane,
    private readonly self: NodeId,
  ) {}

  get routes(): Routes {
    return this.plane.routing;
  }

  isReachable(nodeId: NodeId): boolean {
    return this.plane.routing.isReachable(nodeId);
  }

  reachCount(): number {
    return this.plane.routing.size;
  }

  reachable(): Iterable<NodeId> {
    return this.plane.routing.nodeIds();
  }

  *instances(): Iterable<string> {
    for (const { service, port, nodeId } of this.plane.registry.table.values()) yield `${service}:${port}@${nodeId}`;
  }

  hasInstance(service: string, nodeId: NodeId): boolean {
    return this.plane.registry.table.find(service).some((instance) => instance.nodeId === nodeId);
  }

  digest(): DatabaseDigest {
    const { digest, size } = this.plane.gossip.store;
    return { rootHigh: digest.rootHigh, rootLow: digest.rootLow, count: size };
  }

  versionOf(nodeId: NodeId): string | undefined {
    const record = this.plane.gossip.store.node(nodeId);
    return record === undefined ? undefined : `${record.bootId} ${record.epoch}.${record.seq}`;
  }

  records(): Iterable<MeshRecord> {
    return this.plane.gossip.store.records();
  }

  recordOf(key: string): MeshRecord | undefined {
    return this.plane.gossip.store.get(key);
  }

  isParked({ key, nodeId }: MeshRecord): boolean {
    return this.plane.gossip.store.entry(nodeId)?.parked?.has(key) === true;
  }

  hasLeft(nodeId: NodeId): boolean {
    return this.plane.neighbourhood.neighbours.hasLeft(nodeId);
  }

  linksOf(nodeId: NodeId): readonly NodeId[] {
    return (this.plane.gossip.store.node(nodeId)?.links ?? []).map(({ peerId }) => peerId);
  }

  isSettled(link: MeshLink): boolean {
    return this.plane.gossip.isSettled(link);
  }

  counters(): ReadonlyMap<string, number> {
    const { gossip, neighbourhood } = this.plane;
    return new Map<string, number>([
      ...(Object.entries(gossip.counters) as Array<[string, number]>),
      ['origins', gossip.store.originCount],
      ['records', gossip.store.size],
      ['degree', neighbourhood.neighbours.degree],
      ['own id', gossip.store.node(this.self) === undefined ? 0 : 1],
    ]);
  }
}
