// Admits records whose signatures are right, within the limits of each origin: how fast it may publish, and how much. A
// record that comes too fast is parked, the newest of each key, and admitted later. intake.ts lists all checks in order.

import type { NodeId } from '../../address.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import { afterTaking, canTake, type Rate } from '../../util/token-bucket.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import { MAX_SHARDS, type MeshRecord, RecordKind } from '../../wire/records.js';
import { wholeLifeS } from '../gossip/expiry.js';
import type { GossipContext, GossipCounters } from '../gossip/gossip.js';
import type { GossipPeer } from '../gossip/peer.js';
import { compareVersions } from '../records/order.js';
import { Freshness, type NodeEntry, type RecordStore } from '../records/store.js';
import { Eviction } from './eviction.js';

/** Parked records of all origins. More are dropped, and come again by comparison of the stores. */
const MAX_PARKED_BYTES = 8 * 1024 * 1024;
const RETRY_MS = 1_000;

interface RecordAdmissionOwner {
  onAdmitted(record: MeshRecord, previous: MeshRecord | undefined, from: GossipPeer | undefined): void;
  onRejected(record: MeshRecord, reason: string): void;
  /** Called with an unreachable node that is evicted for another one. */
  onReplaced(nodeId: NodeId): void;
}

export class RecordAdmission {
  private readonly deadline: Deadline;
  private readonly waiting = new Set<NodeId>();
  private parkedBytes = 0;
  private readonly eviction: Eviction;
  private isClosed = false;

  private readonly timers: Timers;
  private readonly store: RecordStore;
  private readonly counters: GossipCounters;

  constructor(
    private readonly context: GossipContext,
    private readonly limits: RecordLimits,
    private readonly owner: RecordAdmissionOwner,
  ) {
    this.timers = context.timers;
    this.deadline = new Deadline(context.timers, (now) => this.retry(now));
    this.store = context.store;
    this.counters = context.counters;
    this.eviction = new Eviction(context);
  }

  /** Stores a checked record, unless a newer one has arrived meanwhile or a limit forbids it. */
  admit(copy: RecordCopy, from: GossipPeer | undefined): void {
    const { record } = copy;
    if (this.isClosed || this.store.freshness(record) !== Freshness.NEWER) return;
    const now = this.timers.now();
    const origin = this.store.entry(record.nodeId);
    if (!isInTime(record, origin, now)) {
      this.park(copy, origin!);
      return;
    }
    const isTooMany = isNodeTooMany(record, this.store, this.limits);
    const replaced = isTooMany ? this.eviction.next() : undefined;
    const exceeded = exceededLimit(record, this.store, this.limits, replaced !== undefined);
    if (exceeded !== undefined) {
      this.reject(record, exceeded);
      return;
    }
    if (replaced !== undefined) this.owner.onReplaced(replaced);
    // The remaining life that a neighbour reports counts only for an unreachable node.
    const remainingLifeS = this.context.isReachable(record.nodeId) ? wholeLifeS(record) : copy.remainingLifeS;
    const previous = this.store.put({ record, remainingLifeS }, now);
    countRecord(record, this.store.entry(record.nodeId)!, now);
    this.context.tombstones.delete(record.key);
    this.counters.accepted++;
    this.owner.onAdmitted(record, previous, from);
  }

  /** Whether there is room for a record; checked before its signature, which takes longer. */
  hasRoom(record: MeshRecord): boolean {
    if (record.nodeId === this.context.self) return true;
    const mayReplace = isNodeTooMany(record, this.store, this.limits) && this.eviction.next() !== undefined;
    const exceeded = exceededTotal(record, this.store, this.limits, mayReplace);
    if (exceeded !== undefined) this.reject(record, exceeded);
    return exceeded === undefined;
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
    this.waiting.clear();
  }

  private retry(now: number): void {
    for (const nodeId of this.waiting) {
      const origin = this.store.entry(nodeId);
      for (const [key, copy] of origin?.parked ?? []) {
        if (!isInTime(copy.record, origin, now)) continue;
        this.unpark(origin!, key, copy);
        this.admit(copy, undefined);
      }
      if (origin?.parked === undefined) this.waiting.delete(nodeId);
    }
    this.retryLater();
  }

  /** Called when an origin is forgotten: drops its parked records. */
  onForgotten(nodeId: NodeId): void {
    this.waiting.delete(nodeId);
    const origin = this.store.entry(nodeId);
    for (const [key, copy] of origin?.parked ?? []) this.unpark(origin!, key, copy);
  }

  private reject(record: MeshRecord, reason: string): void {
    this.counters.rejected++;
    this.context.rejected.add(record, this.timers.now());
    this.owner.onRejected(record, reason);
  }

  private park(copy: RecordCopy, origin: NodeEntry): void {
    const { record } = copy;
    const parked = origin.parked?.get(record.key);
    if (parked !== undefined && compareVersions(parked.record, record) >= 0) return;
    this.counters.parked++;
    const bytes = recordCopyBytes(record);
    const freed = parked === undefined ? 0 : recordCopyBytes(parked.record);
    // Without room the older one stays parked: better than none.
    if (this.parkedBytes - freed + bytes > MAX_PARKED_BYTES) return;
    if (parked !== undefined) this.unpark(origin, record.key, parked);
    origin.parked ??= new Map();
    origin.parked.set(record.key, copy);
    this.parkedBytes += bytes;
    this.waiting.add(record.nodeId);
    this.retryLater();
  }

  private unpark(origin: NodeEntry, key: string, copy: RecordCopy): void {
    this.parkedBytes -= recordCopyBytes(copy.record);
    origin.parked?.delete(key);
    if (origin.parked?.size === 0) origin.parked = undefined;
  }

  private retryLater(): void {
    if (this.waiting.size > 0 && !this.deadline.isSet) this.deadline.set(RETRY_MS);
  }
}

// --- limits of one origin, and of all together ---

interface RecordLimits {
  readonly maxNodes: number;
  /** Services of all nodes together. */
  readonly maxInstances: number;
  readonly maxServicesPerNode: number;
}

/** Of all shards of one node, in all layouts. */
const MAX_SHARD_BYTES = 10 * 1024 * 1024;

/** Above the rate of this implementation, so that batching on the way does not make an honest node exceed it. */
const NODE_RATE: Rate = { perS: 1, burst: 10 };
/** The burst allows four whole sets of shards: bound, withdrawn, and each again. Bytes count as well, so that a node with few services may change often. */
const SHARD_RATE: Rate = { perS: 10, burst: 4 * MAX_SHARDS };
const SHARD_BYTE_RATE: Rate = { perS: 4_096, burst: 2 * MAX_SHARD_BYTES };

/** Whether a record is of an unknown node, and the store is full. */
function isNodeTooMany({ nodeId }: MeshRecord, store: RecordStore, { maxNodes }: RecordLimits): boolean {
  return store.originCount >= maxNodes && store.entry(nodeId) === undefined;
}

/**
 * Returns which limit of all nodes together a record exceeds, if any. The result blames nobody, so the signature need not be
 * checked before. `mayReplace`: another node would be evicted.
 */
function exceededTotal(
  record: MeshRecord,
  store: RecordStore,
  limits: RecordLimits,
  mayReplace: boolean,
): string | undefined {
  if (!mayReplace && isNodeTooMany(record, store, limits)) return `more than ${limits.maxNodes} nodes`;
  const origin = store.entry(record.nodeId);
  const added = addedServices(record, origin);
  if (added > 0 && store.instances + added > limits.maxInstances) return `more than ${limits.maxInstances} services`;
  return undefined;
}

/** Returns which limit a record exceeds, if any. */
function exceededLimit(
  record: MeshRecord,
  store: RecordStore,
  limits: RecordLimits,
  mayReplace: boolean,
): string | undefined {
  const exceeded = exceededTotal(record, store, limits, mayReplace);
  if (exceeded !== undefined || record.kind === RecordKind.NODE) return exceeded;
  const origin = store.entry(record.nodeId);
  const layout = origin?.layout(record.shards);
  const previous = layout?.records[record.shard];
  const added = addedServices(record, origin);
  // Fewer services than before are always accepted: otherwise those that are gone would still be dialled.
  if (added > 0 && (layout?.services ?? 0) + added > limits.maxServicesPerNode) {
    return `more than ${limits.maxServicesPerNode} services of ${record.nodeId}`;
  }
  const bytes = (origin?.shardBytes ?? 0) + record.bytes.length - (previous === undefined ? 0 : previous.bytes.length);
  if (bytes > MAX_SHARD_BYTES) return `more than ${MAX_SHARD_BYTES} bytes of services of ${record.nodeId}`;
  return undefined;
}

function addedServices(record: MeshRecord, origin: NodeEntry | undefined): number {
  if (record.kind === RecordKind.NODE) return 0;
  return record.services.length - (origin?.shard(record.shard, record.shards)?.services.length ?? 0);
}

/** Whether the rate of its origin allows a record now. */
function isInTime(record: MeshRecord, origin: NodeEntry | undefined, now: number): boolean {
  if (origin === undefined) return true;
  return record.kind === RecordKind.NODE
    ? canTake(origin.nodeFullAtMs, now, NODE_RATE)
    : canTake(origin.shardFullAtMs, now, SHARD_RATE) && canTake(origin.shardBytesFullAtMs, now, SHARD_BYTE_RATE);
}

/** Counts a record of its origin. */
function countRecord(record: MeshRecord, origin: NodeEntry, now: number): void {
  if (record.kind === RecordKind.NODE) origin.nodeFullAtMs = afterTaking(origin.nodeFullAtMs, now, NODE_RATE);
  else {
    origin.shardFullAtMs = afterTaking(origin.shardFullAtMs, now, SHARD_RATE);
    origin.shardBytesFullAtMs = afterTaking(origin.shardBytesFullAtMs, now, SHARD_BYTE_RATE, record.bytes.length);
  }
}
