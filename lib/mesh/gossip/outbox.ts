// What one neighbour is still to be told: the newest record of each key, never two. However slow the neighbour is, it
// cannot grow beyond the database, and what was replaced meanwhile is never sent.

import { recordCopyBytes } from '../../wire/gossip-messages.js';
import type { MeshRecord } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

export class Outbox {
  /** What cannot wait goes first. A key is in one of the two. */
  private readonly urgent = new Map<string, MeshRecord>();
  private readonly others = new Map<string, MeshRecord>();
  private byteCount = 0;

  get size(): number {
    return this.urgent.size + this.others.size;
  }

  get bytes(): number {
    return this.byteCount;
  }

  get isUrgent(): boolean {
    return this.urgent.size > 0;
  }

  put(record: MeshRecord, isUrgent: boolean): void {
    const { key } = record;
    const waiting = this.urgent.get(key) ?? this.others.get(key);
    if (waiting !== undefined) this.byteCount -= recordCopyBytes(waiting);
    this.byteCount += recordCopyBytes(record);
    // In the place that its predecessor had, so that what changes all the time is not put off for ever.
    if (this.urgent.has(key)) this.urgent.set(key, record);
    else if (!isUrgent) this.others.set(key, record);
    else {
      this.others.delete(key);
      this.urgent.set(key, record);
    }
  }

  /** The neighbour has this version, or a newer one: it need not be told. */
  cancel(record: MeshRecord): void {
    if (this.size === 0) return;
    const { key } = record;
    const waiting = this.urgent.get(key) ?? this.others.get(key);
    if (waiting === undefined || (waiting !== record && compareVersions(waiting, record) > 0)) return;
    if (!this.urgent.delete(key)) this.others.delete(key);
    this.byteCount -= recordCopyBytes(waiting);
  }

  /** Hands over one record after the other, out of the box, for as long as `wantsMore`. */
  drain(wantsMore: () => boolean, take: (record: MeshRecord) => void): void {
    for (const box of [this.urgent, this.others]) {
      for (const [key, record] of box) {
        if (!wantsMore()) return;
        box.delete(key);
        this.byteCount -= recordCopyBytes(record);
        take(record);
      }
    }
  }

  /** Drops what `isWanted` refuses, and tells what that was. */
  prune(isWanted: (record: MeshRecord) => boolean): MeshRecord[] {
    const dropped: MeshRecord[] = [];
    for (const box of [this.urgent, this.others]) {
      for (const [key, record] of box) {
        if (isWanted(record)) continue;
        box.delete(key);
        this.byteCount -= recordCopyBytes(record);
        dropped.push(record);
      }
    }
    return dropped;
  }

  clear(): void {
    this.urgent.clear();
    this.others.clear();
    this.byteCount = 0;
  }
}
