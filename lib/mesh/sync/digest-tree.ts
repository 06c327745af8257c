// The digest of a record store: one number for the whole store, and one for each of 256 buckets. Two nodes that compare them
// learn whether their stores are equal, and where they differ. Adding and removing are the same operation, XOR: every change
// costs the same, and the order does not matter.

import { BUCKETS, bucketOf } from '../../wire/gossip-messages.js';
import type { MeshRecord } from '../../wire/records.js';

export class DigestTree {
  rootHigh = 0;
  rootLow = 0;
  readonly high: Uint32Array = new Uint32Array(BUCKETS);
  readonly low: Uint32Array = new Uint32Array(BUCKETS);

  /** Adds a record that is not in the digest, or removes one that is. */
  toggle(record: MeshRecord): void {
    const { hashHigh, hashLow } = record;
    const bucket = bucketOf(record.nodeId);
    this.high[bucket] ^= hashHigh;
    this.low[bucket] ^= hashLow;
    this.rootHigh = (this.rootHigh ^ hashHigh) >>> 0;
    this.rootLow = (this.rootLow ^ hashLow) >>> 0;
  }
}

/** A bit for each bucket, as in ENTRIES. */
export class BucketSet {
  constructor(readonly bitmap: Uint8Array = new Uint8Array(BUCKETS / 8)) {}

  static all(): BucketSet {
    return new BucketSet(new Uint8Array(BUCKETS / 8).fill(0xff));
  }

  add(bucket: number): void {
    this.bitmap[bucket >> 3] |= 1 << (bucket & 7);
  }

  has(bucket: number): boolean {
    return (this.bitmap[bucket >> 3] & (1 << (bucket & 7))) !== 0;
  }

  addAll(bitmap: Uint8Array): void {
    for (let index = 0; index < this.bitmap.length; index++) this.bitmap[index] |= bitmap[index];
  }

  get size(): number {
    let size = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) if (this.has(bucket)) size++;
    return size;
  }

  get isEmpty(): boolean {
    return this.bitmap.every((byte) => byte === 0);
  }

  get isFull(): boolean {
    return this.bitmap.every((byte) => byte === 0xff);
  }
}

/** Returns the buckets in which two stores differ. */
export function differingBuckets(a: BucketHashes, b: BucketHashes): BucketSet {
  const differing = new BucketSet();
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    if (a.high[bucket] !== b.high[bucket] || a.low[bucket] !== b.low[bucket]) differing.add(bucket);
  }
  return differing;
}

interface BucketHashes {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
}
