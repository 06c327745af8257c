// What is known of one node: its record, its shards by layout, and what this node keeps about them for itself. Thousands
// of these exist in each node, so they hold little and make nothing before it is needed.

import type { RecordCopy } from '../../wire/gossip-messages.js';
import type { NodeRecord, ShardRecord } from '../../wire/records.js';

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
