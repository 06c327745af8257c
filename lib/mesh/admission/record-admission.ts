// The last gate of a record whose signature is right: how fast its origin may speak, and how much it may say. What comes
// too fast is parked, the newest of each key, and let in later.

import type { NodeId } from '../../address.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { afterTaking, canTake, type Rate } from '../../util/token-bucket.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import { MAX_SHARDS, type MeshRecord, RecordKind } from '../../wire/records.js';
import { wholeLifeS } from '../gossip/expiry.js';
import type { GossipCounters } from '../gossip/gossip.js';
import type { GossipPeer } from '../gossip/peer.js';
import { compareVersions } from '../records/order.js';
import { type KnownOrigin, type RecordStore, Standing } from '../records/store.js';
import { GivingWay } from './eviction.js';
import type { Refusals } from './rejected.js';
import type { Floors } from './tombstones.js';

/** Parked records of all origins: what is over that is lost, and comes again by comparison. */
const MAX_PARKED_BYTES = 8 * 1024 * 1024;
const RETRY_MS = 1_000;

export interface RecordAdmissionOwner {
  onAdmitted(record: MeshRecord, previous: MeshRecord | undefined, from: GossipPeer | undefined): void;
  onRejected(record: MeshRecord, reason: string): void;
  /** A node that cannot be reached has to give way to another one. */
  onReplaced(nodeId: NodeId): void;
  isReachable(nodeId: NodeId): boolean;
}

export class RecordAdmission implements Timed {
  private timer: Timer | undefined;
  private readonly waiting = new Set<NodeId>();
  private parkedBytes = 0;
  private readonly givingWay: GivingWay;
  private isStopped = false;

  constructor(
    private readonly self: NodeId,
    private readonly timers: Timers,
    private readonly store: RecordStore,
    private readonly floors: Floors,
    private readonly refusals: Refusals,
    private readonly limits: RecordLimits,
    private readonly counters: GossipCounters,
    private readonly owner: RecordAdmissionOwner,
  ) {
    this.givingWay = new GivingWay(self, timers, store, (nodeId) => owner.isReachable(nodeId));
  }

  /** A record that is newer than what is known, as far as one knew before its check. */
  admit(copy: RecordCopy, from: GossipPeer | undefined): void {
    const { record } = copy;
    if (this.isStopped || this.store.standing(record) !== Standing.NEWER) return;
    const now = this.timers.now();
    const origin = this.store.origin(record.nodeId);
    if (!isInTime(record, origin, now)) {
      this.park(copy, origin!);
      return;
    }
    const isTooMany = isNodeTooMany(record, this.store, this.limits);
    const replaced = isTooMany ? this.givingWay.next() : undefined;
    const exceeded = exceededLimit(record, this.store, this.limits, replaced !== undefined);
    if (exceeded !== undefined) {
      this.reject(record, exceeded);
      return;
    }
    if (replaced !== undefined) this.owner.onReplaced(replaced);
    // What a neighbour says of its life counts for a node that is not there.
    const remainingLifeS = this.owner.isReachable(record.nodeId) ? wholeLifeS(record) : copy.remainingLifeS;
    const previous = this.store.put({ record, remainingLifeS }, now);
    countRecord(record, this.store.origin(record.nodeId)!, now);
    this.floors.delete(record.key);
    this.counters.accepted++;
    this.owner.onAdmitted(record, previous, from);
  }

  /** To be asked before a record is checked, which takes longer. */
  hasRoom(record: MeshRecord): boolean {
    if (record.nodeId === this.self) return true;
    const mayReplace = isNodeTooMany(record, this.store, this.limits) && this.givingWay.next() !== undefined;
    const exceeded = exceededTotal(record, this.store, this.limits, mayReplace);
    if (exceeded !== undefined) this.reject(record, exceeded);
    return exceeded === undefined;
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
    this.waiting.clear();
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    for (const nodeId of this.waiting) {
      const origin = this.store.origin(nodeId);
      for (const [key, copy] of origin?.parked ?? []) {
        if (!isInTime(copy.record, origin, now)) continue;
        this.unpark(origin!, key, copy);
        this.admit(copy, undefined);
      }
      if (origin?.parked === undefined) this.waiting.delete(nodeId);
    }
    this.retryLater();
  }

  /** The origin is forgotten, and what it has in waiting. */
  onForgotten(nodeId: NodeId): void {
    this.waiting.delete(nodeId);
    const origin = this.store.origin(nodeId);
    for (const [key, copy] of origin?.parked ?? []) this.unpark(origin!, key, copy);
  }

  private reject(record: MeshRecord, reason: string): void {
    this.counters.rejected++;
    this.refusals.add(record, this.timers.now());
    this.owner.onRejected(record, reason);
  }

  private park(copy: RecordCopy, origin: KnownOrigin): void {
    const { record } = copy;
    const parked = origin.parked?.get(record.key);
    if (parked !== undefined && compareVersions(parked.record, record) >= 0) return;
    this.counters.parked++;
    const bytes = recordCopyBytes(record);
    const freed = parked === undefined ? 0 : recordCopyBytes(parked.record);
    // With no room for it the older one stays: better than none.
    if (this.parkedBytes - freed + bytes > MAX_PARKED_BYTES) return;
    if (parked !== undefined) this.unpark(origin, record.key, parked);
    origin.parked ??= new Map();
    origin.parked.set(record.key, copy);
    this.parkedBytes += bytes;
    this.waiting.add(record.nodeId);
    this.retryLater();
  }

  private unpark(origin: KnownOrigin, key: string, copy: RecordCopy): void {
    this.parkedBytes -= recordCopyBytes(copy.record);
    origin.parked?.delete(key);
    if (origin.parked?.size === 0) origin.parked = undefined;
  }

  private retryLater(): void {
    if (this.waiting.size > 0) this.timer ??= this.timers.schedule(RETRY_MS, this);
  }
}

// How much and how fast one node may fill the databases of all others.

export interface RecordLimits {
  readonly maxNodes: number;
  /** Services of all nodes together. */
  readonly maxInstances: number;
  readonly maxServicesPerNode: number;
}

/** Of all shards of one node, in all layouts. */
const MAX_SHARD_BYTES = 10 * 1024 * 1024;

/** Above what a node of ours makes, so that batching on the way does not make an honest one look hasty. */
const NODE_RATE: Rate = { perS: 1, burst: 10 };
/**
 * A whole set of shards four times: bound, withdrawn, and each again. Then by what it costs: a node with few services may often
 * change.
 */
const SHARD_RATE: Rate = { perS: 10, burst: 4 * MAX_SHARDS };
const SHARD_BYTE_RATE: Rate = { perS: 4_096, burst: 2 * MAX_SHARD_BYTES };

/** Is it of a node more than there may be? */
export function isNodeTooMany({ nodeId }: MeshRecord, store: RecordStore, { maxNodes }: RecordLimits): boolean {
  return store.originCount >= maxNodes && store.origin(nodeId) === undefined;
}

/**
 * Says whether a record goes beyond what all nodes together may have. Blames nobody, so its signature may be wrong.
 * `mayReplace`: another node would give way.
 */
export function exceededTotal(
  record: MeshRecord,
  store: RecordStore,
  limits: RecordLimits,
  mayReplace: boolean,
): string | undefined {
  if (!mayReplace && isNodeTooMany(record, store, limits)) return `more than ${limits.maxNodes} nodes`;
  const origin = store.origin(record.nodeId);
  const added = addedServices(record, origin);
  if (added > 0 && store.instances + added > limits.maxInstances) return `more than ${limits.maxInstances} services`;
  return undefined;
}

/** Says which limit a record goes beyond, if any. */
export function exceededLimit(
  record: MeshRecord,
  store: RecordStore,
  limits: RecordLimits,
  mayReplace: boolean,
): string | undefined {
  const exceeded = exceededTotal(record, store, limits, mayReplace);
  if (exceeded !== undefined || record.kind === RecordKind.NODE) return exceeded;
  const origin = store.origin(record.nodeId);
  const layout = origin?.layout(record.shards);
  const previous = layout?.records[record.shard];
  const added = addedServices(record, origin);
  // Fewer services than before are welcome in any case: refused, they would be dialled for ever.
  if (added > 0 && (layout?.services ?? 0) + added > limits.maxServicesPerNode) {
    return `more than ${limits.maxServicesPerNode} services of ${record.nodeId}`;
  }
  const bytes = (origin?.shardBytes ?? 0) + record.bytes.length - (previous === undefined ? 0 : previous.bytes.length);
  if (bytes > MAX_SHARD_BYTES) return `more than ${MAX_SHARD_BYTES} bytes of services of ${record.nodeId}`;
  return undefined;
}

function addedServices(record: MeshRecord, origin: KnownOrigin | undefined): number {
  if (record.kind === RecordKind.NODE) return 0;
  return record.services.length - (origin?.shard(record.shard, record.shards)?.services.length ?? 0);
}

/** May its origin say something again already? */
export function isInTime(record: MeshRecord, origin: KnownOrigin | undefined, now: number): boolean {
  if (origin === undefined) return true;
  return record.kind === RecordKind.NODE
    ? canTake(origin.nodeFullAtMs, now, NODE_RATE)
    : canTake(origin.shardFullAtMs, now, SHARD_RATE) && canTake(origin.shardBytesFullAtMs, now, SHARD_BYTE_RATE);
}

/** The origin has said something. */
export function countRecord(record: MeshRecord, origin: KnownOrigin, now: number): void {
  if (record.kind === RecordKind.NODE) origin.nodeFullAtMs = afterTaking(origin.nodeFullAtMs, now, NODE_RATE);
  else {
    origin.shardFullAtMs = afterTaking(origin.shardFullAtMs, now, SHARD_RATE);
    origin.shardBytesFullAtMs = afterTaking(origin.shardBytesFullAtMs, now, SHARD_BYTE_RATE, record.bytes.length);
  }
}
