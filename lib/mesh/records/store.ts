// The database: the newest record of each key, and its digest. Decides which of two versions stays; what may come in at
// all, and how fast, is decided before.

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
import { areTwins, compareVersions } from './order.js';

/** What a record is to those that are known. */
export const Standing = {
  NEWER: 0,
  SAME: 1,
  /** There is a newer one. */
  OLDER: 2,
  /** Of a run or layout that is over: nobody needs it. */
  STALE: 3,
} as const;
export type Standing = (typeof Standing)[keyof typeof Standing];

const NO_SHARDS: readonly ShardRecord[] = Object.freeze([]);
const NODE_KEY_LENGTH = 11;

export class RecordStore {
  readonly digest = new DigestTree();
  /** Services in all shards. */
  instances = 0;
  /** Bytes of all records. */
  bytes = 0;
  private count = 0;
  private readonly known = new Map<NodeId, KnownOrigin>();

  /** How many records there are. */
  get size(): number {
    return this.count;
  }

  /** How many nodes they are of. */
  get originCount(): number {
    return this.known.size;
  }

  /** By node id, or `node id/shard/shards`. */
  get(key: string): MeshRecord | undefined {
    if (key.length === NODE_KEY_LENGTH) return this.known.get(key)?.node;
    const [nodeId, shard, shards] = key.split('/');
    return this.known.get(nodeId)?.shard(Number(shard), Number(shards));
  }

  node(nodeId: NodeId): NodeRecord | undefined {
    return this.known.get(nodeId)?.node;
  }

  /** All shards of the highest layout that is whole, if they are of the run that the record of the node is of. */
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
      // The node first: whoever gets its shards alone has no use for them.
      if (origin.node !== undefined) yield origin.node;
      if (origin.layouts !== undefined) yield* origin.shards();
    }
  }

  origin(nodeId: NodeId): KnownOrigin | undefined {
    return this.known.get(nodeId);
  }

  origins(): IterableIterator<[NodeId, KnownOrigin]> {
    return this.known.entries();
  }

  /** The version that is kept under the key of `record`. */
  current(record: MeshRecord): MeshRecord | undefined {
    const origin = this.known.get(record.nodeId);
    if (origin === undefined) return undefined;
    return record.kind === RecordKind.NODE ? origin.node : origin.shard(record.shard, record.shards);
  }

  /** Is it kept, this very version? */
  holds(record: MeshRecord): boolean {
    const current = this.current(record);
    return current === record || (current !== undefined && compareVersions(record, current) === 0);
  }

  standing(record: MeshRecord): Standing {
    const origin = this.known.get(record.nodeId);
    if (origin === undefined) return Standing.NEWER;
    if (record.kind === RecordKind.NODE) return orderOf(record, origin.node);
    const { node } = origin;
    if (node !== undefined && node.bootId !== record.bootId && record.epoch <= node.epoch) return Standing.STALE;
    if (origin.hasOutgrown(record.shards, record.bootId)) return Standing.STALE;
    return orderOf(record, origin.shard(record.shard, record.shards));
  }

  /** Two records of one number, of which one is kept. */
  hasTwin(record: MeshRecord): boolean {
    const current = this.current(record);
    return current !== undefined && current !== record && areTwins(record, current);
  }

  /** Does an entry tell of something that is lacking here, or newer? */
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

  /** Keeps a record, which has to be newer than what is there. What is over by that goes. Returns what it replaces. */
  put(copy: RecordCopy, now: number): MeshRecord | undefined {
    const { record } = copy;
    // Whole numbers take no memory of their own, and there are thousands of origins.
    const wholeMs = Math.ceil(now);
    let origin = this.known.get(record.nodeId);
    if (origin === undefined) {
      origin = new KnownOrigin();
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
    // Shards of a run in between may have come although its record did not: the epoch tells.
    if (previous?.bootId !== record.bootId || previous.epoch !== record.epoch) this.dropOldRuns(origin, record);
    return previous;
  }

  /** Forgets a node with all its records. */
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

  private putShard(origin: KnownOrigin, record: ShardRecord): ShardRecord | undefined {
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

  private setShard(origin: KnownOrigin, layout: ShardLayout, shard: number, record: ShardRecord | undefined): void {
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

  /** A node that has begun anew offers nothing of what it offered before. */
  private dropOldRuns(origin: KnownOrigin, node: NodeRecord): void {
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

  private dropLayoutsBelow(origin: KnownOrigin, whole: ShardLayout): void {
    if (origin.layouts === undefined || origin.layouts[0] === whole) return;
    for (const layout of origin.layouts) {
      if (layout.shards >= whole.shards) break;
      for (const record of [...layout.known()]) {
        // A run that begins anew may begin with fewer shards than the one before.
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

function dropEmptyLayouts(origin: KnownOrigin): void {
  const layouts = origin.layouts?.filter((layout) => layout.count > 0);
  origin.layouts = layouts === undefined || layouts.length === 0 ? undefined : layouts;
}

function orderOf(record: MeshRecord, current: MeshRecord | undefined): Standing {
  if (current === undefined) return Standing.NEWER;
  if (current === record) return Standing.SAME;
  const order = compareVersions(record, current);
  if (order === 0) return Standing.SAME;
  return order > 0 ? Standing.NEWER : Standing.OLDER;
}

function isNewer(entry: RecordVersion, current: RecordVersion | undefined): boolean {
  return current === undefined || compareVersions(entry, current) > 0;
}

// What is known of one node: its record, its shards by layout, and what this node keeps about them for itself. Thousands
// of these exist in each node, so they hold little and make nothing before it is needed.

/** The shards of one layout: how many there are to be, and those that are known. */
export class ShardLayout {
  readonly records: Array<ShardRecord | undefined>;
  count = 0;
  services = 0;
  /** All its shards are known and of one run: that run. */
  completeBoot: string | undefined;

  constructor(readonly shards: number) {
    // Not an array that grows: that would have room for sixteen more.
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

export class KnownOrigin {
  node: NodeRecord | undefined;
  /** Ascending; mostly one. */
  layouts: ShardLayout[] | undefined;
  shardBytes = 0;
  /** How long its records are kept once it cannot be reached, in s. */
  leftS = 0;
  /** Until when that was counted last, by the clock of the timers; 0: it was reachable. */
  countedMs = 0;
  /** It could be reached at some time since it is known. */
  wasReached = false;
  /** When its first record was taken. */
  sinceMs = 0;
  /** When a record of it was taken last. */
  changedMs = 0;
  /** States of its rate limits, see token-bucket.ts. */
  nodeFullAtMs = 0;
  shardFullAtMs = 0;
  shardBytesFullAtMs = 0;
  /** Records that came too fast, the newest of each key. */
  parked: Map<string, RecordCopy> | undefined;

  layout(shards: number): ShardLayout | undefined {
    return this.layouts?.find((layout) => layout.shards === shards);
  }

  shard(shard: number, shards: number): ShardRecord | undefined {
    return this.layout(shards)?.records[shard];
  }

  /** Is there a whole layout with more shards, of the same run? Then this one is of the past. */
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
