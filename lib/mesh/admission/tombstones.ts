// Tombstones: the last versions of records that were forgotten. Nothing below them is admitted again, so that an old copy on
// another node does not bring a record back.

import { RecentMap } from '../../util/recent-map.js';
import type { MeshRecord, RecordVersion } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

/** Longer than a record can wander between nodes that were cut off. */
const KEPT_MS = 2 * 3_600_000;
const MAX_TOMBSTONES = 100_000;

/**
 * The same version is admitted again when others will keep it for this long: its node and all its neighbours were cut off
 * for so long that it was forgotten here, and are back. A version that others are about to forget as well is not.
 */
const REVIVAL_LIFE_S = 60;

interface Tombstone extends RecordVersion {
  readonly untilMs: number;
}

export class Tombstones {
  private readonly tombstones = new RecentMap<string, Tombstone>(MAX_TOMBSTONES);

  get size(): number {
    return this.tombstones.size;
  }

  add({ key, epoch, seq, hashHigh, hashLow }: MeshRecord, now: number): void {
    this.tombstones.set(key, { key, epoch, seq, hashHigh, hashLow, untilMs: now + KEPT_MS });
  }

  /** Whether an unknown record may be stored. */
  admits(record: MeshRecord, remainingLifeS: number): boolean {
    const tombstone = this.tombstones.peek(record.key);
    if (tombstone === undefined) return true;
    const order = compareVersions(record, tombstone);
    return order > 0 || (order === 0 && remainingLifeS >= REVIVAL_LIFE_S);
  }

  /** Whether a record of this version may be stored, depending on its remaining life. */
  mayAdmit(entry: RecordVersion): boolean {
    const tombstone = this.tombstones.peek(entry.key);
    return tombstone === undefined || compareVersions(entry, tombstone) >= 0;
  }

  delete(key: string): void {
    this.tombstones.delete(key);
  }

  /** Drops tombstones that are old enough. */
  sweep(now: number): void {
    for (const { untilMs } of this.tombstones.values()) {
      if (untilMs > now) return;
      this.tombstones.dropOldest();
    }
  }
}
