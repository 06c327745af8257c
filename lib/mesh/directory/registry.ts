// What can be dialled by name: what is bound here, and what the nodes that are reachable announce. Nodes announce in
// shards, and a shard that has changed is compared with what it was; nothing else is looked at.

import type { NodeId } from '../../address.js';
import { NodeFlag, type NodeRecord, type ServiceEntry, type ShardRecord } from '../../wire/records.js';
import type { BindAccess } from './bind-access.js';
import { ServiceInstance, type ServiceVia } from './service.js';
import { ServiceTable } from './service-table.js';

/** Must not throw. */
export interface RegistryOwner {
  onService(instance: ServiceInstance): void;
  onUnservice(instance: ServiceInstance): void;
}

/** Where records are kept. */
export interface RecordSource {
  node(nodeId: NodeId): NodeRecord | undefined;
  /** All shards of the largest layout of which there are all. */
  shardsOf(nodeId: NodeId): readonly ShardRecord[];
}

/** The routes. */
export interface Reach {
  isReachable(nodeId: NodeId): boolean;
  distance(nodeId: NodeId): number | undefined;
  hopCount(nodeId: NodeId): number | undefined;
}

export interface RegistryOptions {
  readonly nodeId: NodeId;
  readonly envDigests: readonly string[];
  /** Whether what others offer may be seen; undefined: all of it. */
  readonly access?: BindAccess | undefined;
}

/** What a node offers, as far as it is in the table. There is one for each node of a mesh, so it is kept small. */
interface Offer {
  readonly bootId: string;
  readonly way: Way;
  /** As many as the layout has shards, each at its number. */
  readonly applied: Array<AppliedShard | undefined>;
}

interface AppliedShard {
  readonly record: ShardRecord;
  readonly instances: readonly ServiceInstance[];
}

interface News {
  readonly isService: boolean;
  readonly instance: ServiceInstance;
}

export class Registry {
  readonly table = new ServiceTable();
  private readonly local = new Map<string, ServiceInstance>();
  private readonly offers = new Map<NodeId, Offer>();
  private readonly news: News[] = [];
  /** In the table, and nobody has heard of them yet. */
  private readonly untold = new Set<ServiceInstance>();
  private isTelling = false;

  constructor(
    private readonly options: RegistryOptions,
    private readonly records: RecordSource,
    private readonly reach: Reach,
    private readonly owner: RegistryOwner,
  ) {
    const { access } = options;
    if (access === undefined) return;
    access.onAllowed = (instance) => {
      this.add(instance);
      this.tell();
    };
  }

  /** Instances that others offer, and that this node does not see: they are not allowed, or that is not decided. */
  get hiddenCount(): number {
    return this.options.access?.size ?? 0;
  }

  /** They themselves. */
  hidden(): Iterable<ServiceInstance> {
    return this.options.access?.instances() ?? [];
  }

  stop(): void {
    this.options.access?.stop();
  }

  /** Do names of this node and of one with these envs meet? */
  sharesEnv(envDigests: readonly string[]): boolean {
    return envDigests.some((digest) => this.options.envDigests.includes(digest));
  }

  /** A bind by name; `port` 0 when it answers for any port. */
  bind(service: string, port: number, weight: number, meta: unknown): void {
    const instance = new ServiceInstance(service, this.options.nodeId, port, weight, meta, undefined);
    this.local.set(keyOf(service, port), instance);
    this.add(instance);
    this.tell();
  }

  unbind(service: string, port: number): void {
    const key = keyOf(service, port);
    const instance = this.local.get(key);
    if (instance === undefined) return;
    this.local.delete(key);
    this.remove(instance);
    this.tell();
  }

  /** A record of the node, or whether it can be reached, has changed. */
  onNodeChanged(nodeId: NodeId): void {
    this.onNodesChanged([nodeId]);
  }

  /** The same of several nodes: the table has taken in all of it before anyone hears of any. */
  onNodesChanged(nodeIds: Iterable<NodeId>): void {
    for (const nodeId of nodeIds) this.apply(nodeId);
    this.askAbout();
    this.tell();
  }

  private apply(nodeId: NodeId): void {
    if (nodeId === this.options.nodeId) return;
    const record = this.records.node(nodeId);
    const known = this.offers.get(nodeId);
    const isOffered = record !== undefined && this.isOffered(record);
    const shards = isOffered ? this.shardsOf(record) : [];
    // A node that has restarted is another server, although the name may be the same.
    const kept = known?.bootId === record?.bootId ? known : undefined;
    if (known !== undefined && (kept === undefined || shards.length === 0)) {
      this.offers.delete(nodeId);
      for (const shard of known.applied) this.removeAll(shard?.instances ?? []);
    }
    if (record === undefined || shards.length === 0) return;
    if (kept !== undefined && kept.applied.length === shards[0].shards) this.applyShards(kept, shards);
    else this.offers.set(nodeId, this.layOut(record, shards, kept));
  }

  private isOffered(record: NodeRecord): boolean {
    if ((record.flags & (NodeFlag.LEAVING | NodeFlag.DRAIN)) !== 0) return false;
    return this.sharesEnv(record.envDigests) && this.reach.isReachable(record.nodeId);
  }

  /** Those that the run of the node record has written. */
  private shardsOf({ nodeId, bootId }: NodeRecord): readonly ShardRecord[] {
    const shards = this.records.shardsOf(nodeId);
    return shards.every((shard) => shard.bootId === bootId) ? shards : shards.filter((one) => one.bootId === bootId);
  }

  /** The layout is the same. */
  private applyShards({ way, applied }: Offer, shards: readonly ShardRecord[]): void {
    for (const record of shards) {
      const before = applied[record.shard];
      if (before?.record === record) continue;
      const known = new Map<string, ServiceInstance>();
      remember(known, before?.instances ?? []);
      applied[record.shard] = { record, instances: this.instancesOf(record, way, known) };
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

  /** A first or another layout. Services have moved between shards, and those that are the same stay. */
  private layOut({ nodeId, bootId }: NodeRecord, shards: readonly ShardRecord[], before: Offer | undefined): Offer {
    const way = before?.way ?? new Way(nodeId, this.reach);
    const known = new Map<string, ServiceInstance>();
    for (const shard of before?.applied ?? []) remember(known, shard?.instances ?? []);
    const applied = new Array<AppliedShard | undefined>(shards[0].shards);
    for (const record of shards) {
      applied[record.shard] = { record, instances: this.instancesOf(record, way, known) };
    }
    this.removeAll(known.values());
    return { bootId, way, applied };
  }

  /** Takes out of `known` what is as it was; what is new is added. */
  private instancesOf(
    { nodeId, services }: ShardRecord,
    way: Way,
    known: Map<string, ServiceInstance>,
  ): ServiceInstance[] {
    return services.map((entry) => {
      const { service, port, weight, meta } = entry;
      const key = keyOf(service, port);
      const same = known.get(key);
      if (same !== undefined) {
        known.delete(key);
        if (isSame(same, entry)) return same;
      }
      const instance = new ServiceInstance(service, nodeId, port, weight, meta, way);
      this.offer(instance, same);
      return instance;
    });
  }

  /** @param before what it takes the place of */
  private offer(instance: ServiceInstance, before: ServiceInstance | undefined): void {
    const { access } = this.options;
    if (before === undefined) {
      if (access === undefined) this.add(instance);
      else access.hide(instance, this.records.node(instance.nodeId)?.envDigests ?? []);
    } else if (access?.replace(before, instance) !== true) {
      this.remove(before);
      this.add(instance);
    }
  }

  /** In one go, so that nobody hears of a part of what is allowed at once. */
  private askAbout(): void {
    const { access } = this.options;
    if (access === undefined) return;
    const wasTelling = this.isTelling;
    this.isTelling = true;
    try {
      access.ask();
    } finally {
      this.isTelling = wasTelling;
    }
  }

  private add(instance: ServiceInstance): void {
    this.table.add(instance);
    this.untold.add(instance);
    this.news.push({ isService: true, instance });
  }

  private remove(instance: ServiceInstance): void {
    this.table.delete(instance);
    if (!this.untold.delete(instance)) this.news.push({ isService: false, instance });
  }

  private removeAll(instances: Iterable<ServiceInstance>): void {
    const { access } = this.options;
    for (const instance of instances) if (access?.forget(instance) !== true) this.remove(instance);
  }

  /** In the order in which it happened, also when a listener causes more of it. */
  private tell(): void {
    if (this.isTelling) return;
    this.isTelling = true;
    try {
      for (let at = 0; at < this.news.length; at++) {
        const { isService, instance } = this.news[at];
        if (!isService) this.owner.onUnservice(instance);
        else if (this.untold.delete(instance)) this.owner.onService(instance);
      }
    } finally {
      this.news.length = 0;
      this.isTelling = false;
    }
  }
}

/** The way to a node, as it is now, or as it was when there was one. */
class Way implements ServiceVia {
  private lastRttMs = 0;
  private lastHops = 1;

  constructor(
    private readonly nodeId: NodeId,
    private readonly reach: Reach,
  ) {}

  get rttMs(): number {
    this.lastRttMs = this.reach.distance(this.nodeId) ?? this.lastRttMs;
    return this.lastRttMs;
  }

  get hops(): number {
    this.lastHops = this.reach.hopCount(this.nodeId) ?? this.lastHops;
    return this.lastHops;
  }
}

function remember(known: Map<string, ServiceInstance>, instances: readonly ServiceInstance[]): void {
  for (const instance of instances) known.set(keyOf(instance.service, instance.port), instance);
}

/** Names hold no colon, so that no two services have the same key. */
function keyOf(service: string, port: number): string {
  return `${service}:${port}`;
}

function isSame(instance: ServiceInstance, { weight, meta }: ServiceEntry): boolean {
  if (instance.weight !== weight) return false;
  return instance.meta === meta || JSON.stringify(instance.meta) === JSON.stringify(meta);
}
