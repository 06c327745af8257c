// The record store: the newest record of each key, grouped by the node that made it, with a digest of all. Decides which of
// two versions stays; admission decides before whether a record comes in, and how fast.

import type { NodeId } from '../../address.js';
import type { RecordCopy } from '../../wire/gossip-messages.js';
import {
  type MeshRecord,
  type NodeRecord,
  RecordKind,
  type RecordVersion,
  type ShardRecord,
} from '../../wire/records.js';
import { DigestTree } from '../sync/digest-tree.js';
import { areConflicting, compareVersions } from './order.js';

/** How a record compares with the version in the store. */
export const Freshness = {
  NEWER: 0,
  SAME: 1,
  /** The store has a newer one. */
  OLDER: 2,
  /** It belongs to an earlier run or layout, which nobody needs. */
  STALE: 3,
} as const;
export type Freshness = (typeof Freshness)[keyof typeof Freshness];

const NO_SHARDS: readonly ShardRecord[] = Object.freeze([]);
const NODE_KEY_LENGTH = 11;

export class RecordStore {
  readonly digest = new DigestTree();
  /** Services in all shards. */
  instances = 0;
  /** Bytes of all records. */
  bytes = 0;
  private count = 0;
  private readonly known = new Map<NodeId, NodeEntry>();

  /** The number of records. */
  get size(): number {
    return this.count;
  }

  /** The number of nodes that they describe. */
  get originCount(): number {
    return this.known.size;
  }

  /** Returns the record of a key: a node id, or `node id/shard/shards`. */
  get(key: string): MeshRecord | undefined {
    if (key.length === NODE_KEY_LENGTH) return this.known.get(key)?.node;
    const [nodeId, shard, shards] = key.split('/');
    return this.known.get(nodeId)?.shard(Number(shard), Number(shards));
  }

  node(nodeId: NodeId): NodeRecord | undefined {
    return this.known.get(nodeId)?.node;
  }

  /** Returns all shards of the largest complete layout of the current run of the node. */
  shardsOf(nodeId: NodeId): readonly ShardRecord[] {
    const origin = this.known.get(nodeId);
    const bootId = origin?.node?.bootId;
    const layout = bootId === undefined ? undefined : origin?.layouts?.findLast((one) => one.completeBoot === bootId);
    return layout === undefined ? NO_SHARDS : (layout.records as ShardRecord[]).slice();
  }

  *nodes(): IterableIterator<NodeRecord> {
    for (const { node } of this.known.values()) {
      if (node !== undefined) yield node;
    }
  }

  *records(): IterableIterator<MeshRecord> {
    for (const origin of this.known.values()) {
      // The node first: shards are of no use without it.
      if (origin.node !== undefined) yield origin.node;
      if (origin.layouts !== undefined) yield* origin.shards();
    }
  }

  entry(nodeId: NodeId): NodeEntry | undefined {
    return this.known.get(nodeId);
  }

  entries(): IterableIterator<[NodeId, NodeEntry]> {
    return this.known.entries();
  }

  /** Returns the stored version of `record`. */
  current(record: MeshRecord): MeshRecord | undefined {
    const origin = this.known.get(record.nodeId);
    if (origin === undefined) return undefined;
    return record.kind === RecordKind.NODE ? origin.node : origin.shard(record.shard, record.shards);
  }

  /** Whether exactly this version is stored. */
  holds(record: MeshRecord): boolean {
    const current = this.current(record);
    return current === record || (current !== undefined && compareVersions(record, current) === 0);
  }

  freshness(record: MeshRecord): Freshness {
    const origin = this.known.get(record.nodeId);
    if (origin === undefined) return Freshness.NEWER;
    if (record.kind === RecordKind.NODE) return orderOf(record, origin.node);
    const { node } = origin;
    if (node !== undefined && node.bootId !== record.bootId && record.epoch <= node.epoch) return Freshness.STALE;
    if (origin.hasOutgrown(record.shards, record.bootId)) return Freshness.STALE;
    return orderOf(record, origin.shard(record.shard, record.shards));
  }

  /** Whether a different record with the same number is stored. */
  hasConflict(record: MeshRecord): boolean {
    const current = this.current(record);
    return current !== undefined && current !== record && areConflicting(record, current);
  }

  /** Whether the record of an entry is missing here, or newer. */
  lacks(entry: RecordVersion): boolean {
    const { key } = entry;
    if (key.length === NODE_KEY_LENGTH) return isNewer(entry, this.known.get(key)?.node);
    const [nodeId, shard, shards] = key.split('/');
    const origin = this.known.get(nodeId);
    if (origin === undefined) return true;
    const bootId = origin.node?.bootId;
    if (bootId !== undefined && origin.hasOutgrown(Number(shards), bootId)) return false;
    return isNewer(entry, origin.shard(Number(shard), Number(shards)));
  }

  /** Stores a record, which must be newer than the stored one, and drops records that it makes obsolete. Returns what it replaces. */
  put(copy: RecordCopy, now: number): MeshRecord | undefined {
    const { record } = copy;
    // Whole numbers are not allocated, and there are thousands of entries.
    const wholeMs = Math.ceil(now);
    let origin = this.known.get(record.nodeId);
    if (origin === undefined) {
      origin = new NodeEntry();
      origin.sinceMs = wholeMs;
      this.known.set(record.nodeId, origin);
    }
    origin.changedMs = wholeMs;
    if (record.kind === RecordKind.SHARD) {
      if (origin.isEmpty) origin.leftS = copy.remainingLifeS;
      return this.putShard(origin, record);
    }
    const previous = origin.node;
    if (previous !== undefined) this.forget(previous);
    origin.node = record;
    origin.leftS = copy.remainingLifeS;
    this.count++;
    this.bytes += record.bytes.length;
    this.digest.toggle(record);
    // Shards of a run in between may have arrived although its node record did not: the epoch shows it.
    if (previous?.bootId !== record.bootId || previous.epoch !== record.epoch) this.dropOldRuns(origin, record);
    return previous;
  }

  /** Removes a node with all its records, and returns them. */
  remove(nodeId: NodeId): MeshRecord[] {
    const origin = this.known.get(nodeId);
    if (origin === undefined) return [];
    this.known.delete(nodeId);
    const records: MeshRecord[] = origin.node === undefined ? [] : [origin.node];
    for (const shard of origin.shards()) {
      this.instances -= shard.services.length;
      records.push(shard);
    }
    for (const record of records) this.forget(record);
    return records;
  }

  private putShard(origin: NodeEntry, record: ShardRecord): ShardRecord | undefined {
    let layout = origin.layout(record.shards);
    if (layout === undefined) {
      layout = new ShardLayout(record.shards);
      origin.layouts = [...(origin.layouts ?? []), layout].sort((a, b) => a.shards - b.shards);
    }
    const previous = layout.records[record.shard];
    this.setShard(origin, layout, record.shard, record);
    if (layout.completeBoot !== undefined) this.dropLayoutsBelow(origin, layout);
    return previous;
  }

  private setShard(origin: NodeEntry, layout: ShardLayout, shard: number, record: ShardRecord | undefined): void {
    const previous = layout.records[shard];
    if (previous !== undefined) {
      this.forget(previous);
      origin.shardBytes -= previous.bytes.length;
    }
    this.instances -= layout.services;
    layout.set(shard, record);
    this.instances += layout.services;
    if (record === undefined) return;
    this.count++;
    this.bytes += record.bytes.length;
    origin.shardBytes += record.bytes.length;
    this.digest.toggle(record);
  }

  /** A node that has restarted offers nothing of what it offered before. */
  private dropOldRuns(origin: NodeEntry, node: NodeRecord): void {
    if (origin.layouts === undefined) return;
    for (const layout of origin.layouts) {
      for (const record of [...layout.known()]) {
        if (record.bootId !== node.bootId && record.epoch <= node.epoch) {
          this.setShard(origin, layout, record.shard, undefined);
        }
      }
    }
    dropEmptyLayouts(origin);
  }

  private dropLayoutsBelow(origin: NodeEntry, whole: ShardLayout): void {
    if (origin.layouts === undefined || origin.layouts[0] === whole) return;
    for (const layout of origin.layouts) {
      if (layout.shards >= whole.shards) break;
      for (const record of [...layout.known()]) {
        // The next run may begin with fewer shards than the one before.
        if (record.bootId === whole.completeBoot) this.setShard(origin, layout, record.shard, undefined);
      }
    }
    dropEmptyLayouts(origin);
  }

  private forget(record: MeshRecord): void {
    this.count--;
    this.bytes -= record.bytes.length;
    this.digest.toggle(record);
  }
}

function dropEmptyLayouts(origin: NodeEntry): void {
  const layouts = origin.layouts?.filter((layout) => layout.count > 0);
  origin.layouts = layouts === undefined || layouts.length === 0 ? undefined : layouts;
}

function orderOf(record: MeshRecord, current: MeshRecord | undefined): Freshness {
  if (current === undefined) return Freshness.NEWER;
  if (current === record) return Freshness.SAME;
  const order = compareVersions(record, current);
  if (order === 0) return Freshness.SAME;
  return order > 0 ? Freshness.NEWER : Freshness.OLDER;
}

function isNewer(entry: RecordVersion, current: RecordVersion | undefined): boolean {
  return current === undefined || compareVersions(entry, current) > 0;
}

/** The shards of one layout: how many there are, and those that have arrived. */
class ShardLayout {
  readonly records: Array<ShardRecord | undefined>;
  count = 0;
  services = 0;
  /** The run of all its shards, when they are complete and of one run. */
  completeBoot: string | undefined;

  constructor(readonly shards: number) {
    // An array that grows would reserve room for sixteen more.
    this.records = new Array(shards);
  }

  set(shard: number, record: ShardRecord | undefined): void {
    const previous = this.records[shard];
    if (previous !== undefined) {
      this.count--;
      this.services -= previous.services.length;
    }
    this.records[shard] = record;
    if (record !== undefined) {
      this.count++;
      this.services += record.services.length;
    }
    if (this.count < this.shards) this.completeBoot = undefined;
    else if (this.completeBoot === undefined || this.completeBoot !== record?.bootId)
      this.completeBoot = this.oneBoot();
  }

  *known(): IterableIterator<ShardRecord> {
    for (const record of this.records) {
      if (record !== undefined) yield record;
    }
  }

  private oneBoot(): string | undefined {
    const first = this.records[0]?.bootId;
    return this.records.every((record) => record?.bootId === first) ? first : undefined;
  }
}

/** What the store holds of one node. There are thousands of these, so they are small and allocate nothing before it is needed. */
export class NodeEntry {
  node: NodeRecord | undefined;
  /** In ascending order; mostly one. */
  layouts: ShardLayout[] | undefined;
  shardBytes = 0;
  /** How long its records are kept while it is unreachable, in s. */
  leftS = 0;
  /** When that was last reduced, by the clock of the timers; 0 while the node is reachable. */
  countedMs = 0;
  /** Whether it has been reachable since its first record. */
  wasReached = false;
  /** When its first record was stored. */
  sinceMs = 0;
  /** When a record of it was last stored. */
  changedMs = 0;
  /** States of its rate limits, see util/token-bucket.ts. */
  nodeFullAtMs = 0;
  shardFullAtMs = 0;
  shardBytesFullAtMs = 0;
  /** Records that arrived too fast, the newest of each key. */
  parked: Map<string, RecordCopy> | undefined;

  layout(shards: number): ShardLayout | undefined {
    return this.layouts?.find((layout) => layout.shards === shards);
  }

  shard(shard: number, shards: number): ShardRecord | undefined {
    return this.layout(shards)?.records[shard];
  }

  /** Whether the same run has a complete layout with more shards, which makes this one obsolete. */
  hasOutgrown(shards: number, bootId: string): boolean {
    return this.layouts?.some((layout) => layout.shards > shards && layout.completeBoot === bootId) ?? false;
  }

  get isEmpty(): boolean {
    return this.node === undefined && this.layouts === undefined;
  }

  *shards(): IterableIterator<ShardRecord> {
    for (const layout of this.layouts ?? []) yield* layout.known();
  }
}
