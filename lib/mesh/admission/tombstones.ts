// What was known of nodes that are forgotten: the version below which nothing of theirs is taken again, so that an old
// record which somebody kept does not bring them back.

import type { MeshRecord, RecordVersion } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

/** As long as a record can wander about between nodes that were cut off, with room to spare. */
const FLOOR_MS = 2 * 3_600_000;
const MAX_FLOORS = 100_000;

/**
 * A record as old as its floor is taken again when others mean to keep it for that long: its node was cut off with all
 * its neighbours for so long that it was forgotten here, and is back. One that others are about to forget as well is not.
 */
const REVIVAL_LIFE_S = 60;

interface Floor extends RecordVersion {
  readonly untilMs: number;
}

export class Floors {
  /** The oldest first. */
  private readonly floors = new Map<string, Floor>();

  get size(): number {
    return this.floors.size;
  }

  add({ key, epoch, seq, hashHigh, hashLow }: MeshRecord, now: number): void {
    this.floors.delete(key);
    if (this.floors.size >= MAX_FLOORS) this.dropOldest();
    this.floors.set(key, { key, epoch, seq, hashHigh, hashLow, untilMs: now + FLOOR_MS });
  }

  /** May a record come in that is not known (any more)? */
  admits(record: MeshRecord, remainingLifeS: number): boolean {
    const floor = this.floors.get(record.key);
    if (floor === undefined) return true;
    const order = compareVersions(record, floor);
    return order > 0 || (order === 0 && remainingLifeS >= REVIVAL_LIFE_S);
  }

  /** Could a record of this version come in? */
  mayAdmit(entry: RecordVersion): boolean {
    const floor = this.floors.get(entry.key);
    return floor === undefined || compareVersions(entry, floor) >= 0;
  }

  delete(key: string): void {
    this.floors.delete(key);
  }

  sweep(now: number): void {
    for (const { untilMs } of this.floors.values()) {
      if (untilMs > now) return;
      this.dropOldest();
    }
  }

  private dropOldest(): void {
    for (const key of this.floors.keys()) {
      this.floors.delete(key);
      return;
    }
  }
}
