// What one neighbour is to be told unless it tells it itself: the newest version of each record, each until its own time.

import type { MeshRecord } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

interface Waiting {
  readonly record: MeshRecord;
  readonly isUrgent: boolean;
  readonly dueMs: number;
}

export class Yielded {
  private readonly waiting = new Map<string, Waiting>();

  get size(): number {
    return this.waiting.size;
  }

  put(record: MeshRecord, isUrgent: boolean, dueMs: number): void {
    this.waiting.set(record.key, { record, isUrgent, dueMs });
  }

  /** The neighbour has this version, or a newer one. */
  cancel(record: MeshRecord): void {
    const waits = this.waiting.get(record.key);
    if (waits !== undefined && compareVersions(waits.record, record) <= 0) this.waiting.delete(record.key);
  }

  clear(): void {
    this.waiting.clear();
  }

  /** Hands over what is due, and says when the next one is; Infinity: there is none. */
  release(now: number, take: (record: MeshRecord, isUrgent: boolean) => void): number {
    let next = Number.POSITIVE_INFINITY;
    for (const [key, { record, isUrgent, dueMs }] of this.waiting) {
      if (dueMs > now) {
        next = Math.min(next, dueMs);
        continue;
      }
      this.waiting.delete(key);
      take(record, isUrgent);
    }
    return next;
  }
}
