// How much and how fast one node may fill the databases of all others.

import { afterTaking, canTake, type Rate } from '../../util/token-bucket.js';
import { MAX_SHARDS, type MeshRecord, RecordKind } from '../../wire/records.js';
import type { KnownOrigin } from '../records/known-origin.js';
import type { RecordStore } from '../records/store.js';

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
