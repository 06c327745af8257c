// The control plane of lib/mesh, the whole of it, as the simulation runs it.

import type { NodeId } from '../../lib/address.js';
import type { Routes } from '../../lib/circuit/path.js';
import { ControlPlane } from '../../lib/mesh/control-plane.js';
import type { MeshLink } from '../../lib/mesh/mesh-link.js';
import { DEFAULT_LIMITS } from '../../lib/options.js';
import { envDigests, type Message } from '../../lib/wire/messages.js';
import type { DatabaseDigest, Plane, PlaneSetup, PlaneView } from './plane.js';

/** Losses that one of the two nodes wanted. */
const WANTED = new Set<unknown>([undefined, 'ERR_STARLANE_CLOSED', 'ERR_STARLANE_LINK_SHED']);

export function makeRealPlane(setup: PlaneSetup): Plane {
  return new RealPlane(setup);
}

class RealPlane implements Plane {
  readonly view: PlaneView;
  private readonly plane: ControlPlane;

  constructor(setup: PlaneSetup) {
    const { environment, network, role, relay, env, seeds, firstEpoch } = setup;
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
      },
      owner: {
        onService: () => {},
        onUnservice: () => {},
        onRoute: () => {},
        onUnroute: () => {},
        onSynced: (link) => setup.onSynced(link),
        onWarning: (error) => setup.onWarning(error),
        onEpoch: (epoch) => setup.onEpoch(epoch),
      },
    });
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
    this.plane.onUnlink(link, !WANTED.has((reason as { code?: unknown } | undefined)?.code));
  }

  onMessage(link: MeshLink, message: Message): void {
    this.plane.onMessage(link, message);
  }

  onDrain(link: MeshLink): void {
    this.plane.onDrain(link);
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

  leave(): void {
    this.plane.leave();
  }

  stop(): void {
    this.plane.stop();
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
      ['degree', neighbourhood.degree],
      ['own id', gossip.store.node(this.self) === undefined ? 0 : 1],
    ]);
  }
}
