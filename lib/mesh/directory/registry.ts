// What can be dialled by name: the services of this node, and those that reachable nodes announce. Nodes announce services in
// shards; a changed shard is compared with its last version, and nothing else is read.

import type { NodeId } from '../../address.js';
import { NodeFlag, type NodeRecord, type ServiceEntry, type ShardRecord, serviceKey } from '../../wire/records.js';
import { BindAccess, type BindAccessSetup } from './bind-access.js';
import { ServiceInstance, type ServiceVia } from './service.js';
import { ServiceTable } from './service-table.js';

/** What the registry calls. Functions must not throw. */
interface RegistryOwner {
  onService(instance: ServiceInstance): void;
  onUnservice(instance: ServiceInstance): void;
}

/** The record store. */
export interface RecordSource {
  node(nodeId: NodeId): NodeRecord | undefined;
  /** Returns all shards of the largest complete layout. */
  shardsOf(nodeId: NodeId): readonly ShardRecord[];
}

/** The routes. */
interface Reachability {
  isReachable(nodeId: NodeId): boolean;
  distance(nodeId: NodeId): number | undefined;
  hopCount(nodeId: NodeId): number | undefined;
}

interface RegistryOptions {
  readonly nodeId: NodeId;
  readonly envDigests: readonly string[];
  /** Which services of others are visible; undefined for all. */
  readonly access?: BindAccessSetup | undefined;
  /** Default: any node may offer anything. */
  readonly rights?: OfferRights;
}

/** What nodes may offer. */
interface OfferRights {
  /** Returns an object that changes with the rights of a node; undefined when nothing of it counts. */
  rightsOf(nodeId: NodeId): object | undefined;
  mayOffer(nodeId: NodeId, service: string): boolean;
}

const EVERYTHING: object = {};
const ALL_OFFERS: OfferRights = { rightsOf: () => EVERYTHING, mayOffer: () => true };

/** The services of a node in the table. There is one for each node of a mesh, so it is small. */
interface Offer {
  readonly bootId: string;
  /** The rights by which its services were read. */
  readonly rights: object;
  readonly via: NodeDistance;
  /** One for each shard of the layout, by its number. */
  readonly applied: Array<AppliedShard | undefined>;
}

interface AppliedShard {
  readonly record: ShardRecord;
  readonly instances: readonly ServiceInstance[];
}

/** An event that waits to be reported. */
interface PendingEvent {
  readonly isService: boolean;
  readonly instance: ServiceInstance;
}

export class Registry {
  readonly table = new ServiceTable();
  private readonly local = new Map<string, ServiceInstance>();
  private readonly offers = new Map<NodeId, Offer>();
  private readonly access: BindAccess | undefined;
  private readonly rights: OfferRights;
  private readonly pending: PendingEvent[] = [];
  /** Instances in the table that are not reported yet. */
  private readonly unreported = new Set<ServiceInstance>();
  private isNotifying = false;

  constructor(
    private readonly options: RegistryOptions,
    private readonly records: RecordSource,
    private readonly reachability: Reachability,
    private readonly owner: RegistryOwner,
  ) {
    this.rights = options.rights ?? ALL_OFFERS;
    if (options.access === undefined) return;
    this.access = new BindAccess(options.access, (instance) => {
      this.add(instance);
      this.notify();
    });
  }

  /** The number of instances of others that are denied, or whose decision is pending. */
  get hiddenCount(): number {
    return this.access?.size ?? 0;
  }

  /** Returns these instances. */
  hidden(): Iterable<ServiceInstance> {
    return this.access?.instances() ?? [];
  }

  dispose(): void {
    this.access?.dispose();
  }

  /** Whether this node shares an env with one that has these. */
  sharesEnv(envDigests: readonly string[]): boolean {
    return envDigests.some((digest) => this.options.envDigests.includes(digest));
  }

  /** Adds a service of this node; `port` 0 when it answers for any port; `name`: of the instance. */
  bind(service: string, port: number, weight: number, meta: unknown, name?: string): void {
    const instance = new ServiceInstance(service, this.options.nodeId, port, weight, meta, undefined, name);
    this.local.set(serviceKey(service, port), instance);
    this.add(instance);
    this.notify();
  }

  unbind(service: string, port: number): void {
    const key = serviceKey(service, port);
    const instance = this.local.get(key);
    if (instance === undefined) return;
    this.local.delete(key);
    this.remove(instance);
    this.notify();
  }

  /** Called when a record or the reachability of a node has changed. */
  onNodeChanged(nodeId: NodeId): void {
    this.onNodesChanged([nodeId]);
  }

  /** The same for several nodes: the table holds all changes before the first event. */
  onNodesChanged(nodeIds: Iterable<NodeId>): void {
    for (const nodeId of nodeIds) this.apply(nodeId);
    this.askAbout();
    this.notify();
  }

  private apply(nodeId: NodeId): void {
    if (nodeId === this.options.nodeId) return;
    const record = this.records.node(nodeId);
    const known = this.offers.get(nodeId);
    const rights = this.rights.rightsOf(nodeId);
    const isOffered = record !== undefined && rights !== undefined && this.isOffered(record);
    const shards = isOffered ? this.shardsOf(record) : [];
    // A node that has restarted is another server, although the name may be the same.
    const kept = known?.bootId === record?.bootId ? known : undefined;
    if (known !== undefined && (kept === undefined || shards.length === 0)) {
      this.offers.delete(nodeId);
      for (const shard of known.applied) this.removeAll(shard?.instances ?? []);
    }
    if (record === undefined || rights === undefined || shards.length === 0) return;
    const isSameLayout = kept?.applied.length === shards[0].shards && kept.rights === rights;
    if (kept !== undefined && isSameLayout) this.applyShards(kept, shards);
    else this.offers.set(nodeId, this.layOut(record, shards, rights, kept));
  }

  private isOffered(record: NodeRecord): boolean {
    if ((record.flags & (NodeFlag.LEAVING | NodeFlag.DRAIN)) !== 0) return false;
    return this.sharesEnv(record.envDigests) && this.reachability.isReachable(record.nodeId);
  }

  /** Returns the shards of the run of the node record. */
  private shardsOf({ nodeId, bootId }: NodeRecord): readonly ShardRecord[] {
    const shards = this.records.shardsOf(nodeId);
    return shards.every((shard) => shard.bootId === bootId) ? shards : shards.filter((one) => one.bootId === bootId);
  }

  /** Applies shards of the same layout. */
  private applyShards({ via, applied }: Offer, shards: readonly ShardRecord[]): void {
    for (const record of shards) {
      const before = applied[record.shard];
      if (before?.record === record) continue;
      const known = new Map<string, ServiceInstance>();
      remember(known, before?.instances ?? []);
      applied[record.shard] = { record, instances: this.instancesOf(record, via, known) };
      this.removeAll(known.values());
    }
    if (applied.length === shards.length) return;
    const numbers = new Set(shards.map(({ shard }) => shard));
    applied.forEach((before, shard) => {
      if (before === undefined || numbers.has(shard)) return;
      applied[shard] = undefined;
      this.removeAll(before.instances);
    });
  }

  /** Applies a first or another layout, or other rights. Services that are unchanged stay, although they may be in other shards. */
  private layOut(
    { nodeId, bootId }: NodeRecord,
    shards: readonly ShardRecord[],
    rights: object,
    before: Offer | undefined,
  ): Offer {
    const via = before?.via ?? new NodeDistance(nodeId, this.reachability);
    const known = new Map<string, ServiceInstance>();
    for (const shard of before?.applied ?? []) remember(known, shard?.instances ?? []);
    const applied = new Array<AppliedShard | undefined>(shards[0].shards);
    for (const record of shards) {
      applied[record.shard] = { record, instances: this.instancesOf(record, via, known) };
    }
    this.removeAll(known.values());
    return { bootId, rights, via, applied };
  }

  /** Removes unchanged instances from `known`, and adds new ones to the table. */
  private instancesOf(
    { nodeId, services }: ShardRecord,
    via: NodeDistance,
    known: Map<string, ServiceInstance>,
  ): ServiceInstance[] {
    const allowed = services.filter(({ service }) => this.rights.mayOffer(nodeId, service));
    return allowed.map((entry) => {
      const { service, port, weight, meta, instance: name } = entry;
      const key = serviceKey(service, port);
      const same = known.get(key);
      if (same !== undefined) {
        known.delete(key);
        if (isSame(same, entry)) return same;
      }
      const instance = new ServiceInstance(service, nodeId, port, weight, meta, via, name);
      this.offer(instance, same);
      return instance;
    });
  }

  /** @param before the instance that it replaces */
  private offer(instance: ServiceInstance, before: ServiceInstance | undefined): void {
    const { access } = this;
    if (before === undefined) {
      if (access === undefined) this.add(instance);
      else access.hide(instance, this.records.node(instance.nodeId)?.envDigests ?? []);
    } else if (access?.replace(before, instance) !== true) {
      this.remove(before);
      this.add(instance);
    }
  }

  /** Starts decisions. Events wait until all immediate ones are made. */
  private askAbout(): void {
    const { access } = this;
    if (access === undefined) return;
    const wasNotifying = this.isNotifying;
    this.isNotifying = true;
    try {
      access.ask();
    } finally {
      this.isNotifying = wasNotifying;
    }
  }

  private add(instance: ServiceInstance): void {
    this.table.add(instance);
    this.unreported.add(instance);
    this.pending.push({ isService: true, instance });
  }

  private remove(instance: ServiceInstance): void {
    this.table.delete(instance);
    if (!this.unreported.delete(instance)) this.pending.push({ isService: false, instance });
  }

  private removeAll(instances: Iterable<ServiceInstance>): void {
    const { access } = this;
    for (const instance of instances) if (access?.forget(instance) !== true) this.remove(instance);
  }

  /** Reports events in order, also those that a listener causes meanwhile. */
  private notify(): void {
    if (this.isNotifying) return;
    this.isNotifying = true;
    try {
      for (let at = 0; at < this.pending.length; at++) {
        const { isService, instance } = this.pending[at];
        if (!isService) this.owner.onUnservice(instance);
        else if (this.unreported.delete(instance)) this.owner.onService(instance);
      }
    } finally {
      this.pending.length = 0;
      this.isNotifying = false;
    }
  }
}

/** The cost of the route to a node: the current one, or the last one. */
class NodeDistance implements ServiceVia {
  private lastRttMs = 0;
  private lastHops = 1;

  constructor(
    private readonly nodeId: NodeId,
    private readonly reachability: Reachability,
  ) {}

  get rttMs(): number {
    this.lastRttMs = this.reachability.distance(this.nodeId) ?? this.lastRttMs;
    return this.lastRttMs;
  }

  get hops(): number {
    this.lastHops = this.reachability.hopCount(this.nodeId) ?? this.lastHops;
    return this.lastHops;
  }
}

function remember(known: Map<string, ServiceInstance>, instances: readonly ServiceInstance[]): void {
  for (const instance of instances) known.set(serviceKey(instance.service, instance.port), instance);
}

function isSame(instance: ServiceInstance, { weight, meta, instance: name }: ServiceEntry): boolean {
  if (instance.weight !== weight || instance.instance !== name) return false;
  return instance.meta === meta || JSON.stringify(instance.meta) === JSON.stringify(meta);
}
