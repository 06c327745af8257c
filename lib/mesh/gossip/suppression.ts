// Duplicate suppression: when both ends of a link have the same record to pass on, one end waits for the copy of the other,
// or each link would carry most records twice. Which end waits is drawn for each origin, so that for every record half of the
// links pass it on at once. It waits as long as a copy takes that is on its way by now. A node never delays its own records.

import { hashText, mix } from '../../util/choice.js';
import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import type { MeshRecord } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';
import type { GossipPeer } from './peer.js';

/** Beyond the time on the way: the other end may have got the record a little later, and batches it. */
const ALLOWANCE_MS = 25;
/** The longest wait, however long the link. */
const MAX_WAIT_MS = 100;

export class DuplicateSuppression {
  private readonly deadline: Deadline;
  private dueMs = Number.POSITIVE_INFINITY;
  private readonly selfHash: number;

  constructor(
    self: string,
    private readonly timers: Timers,
    private readonly peers: ReadonlySet<GossipPeer>,
    /** Sends a record that the other end has not sent. */
    private readonly send: (peer: GossipPeer, record: MeshRecord, isUrgent: boolean) => void,
    /** Called after all records that are due. */
    private readonly onReleased: () => void,
  ) {
    this.deadline = new Deadline(timers, (now) => this.release(now));
    this.selfHash = hashText(self);
  }

  /** Holds back a record for the other end to send first, if the draw says so. False: it must be sent now. */
  suppress(peer: GossipPeer, record: MeshRecord, isUrgent: boolean): boolean {
    const { link, sync } = peer;
    // No wait for a peer that cannot send it, or is just receiving everything.
    if (peer.isListener || !sync.isSynced || link.rttMs === 0 || record.nodeId === link.peerId) return false;
    const origin = mix(hashText(record.nodeId));
    if (mix(this.selfHash ^ origin) < mix(peer.idHash ^ origin)) return false;
    const dueMs = this.timers.now() + Math.min(link.rttMs / 2 + ALLOWANCE_MS, MAX_WAIT_MS);
    peer.suppressed.put(record, isUrgent, dueMs);
    if (dueMs < this.dueMs) this.schedule(dueMs);
    return true;
  }

  dispose(): void {
    this.deadline.clear();
  }

  private release(now: number): void {
    this.dueMs = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const peer of this.peers) {
      if (peer.suppressed.size === 0) continue;
      next = Math.min(
        next,
        peer.suppressed.release(now, (record, isUrgent) => this.send(peer, record, isUrgent)),
      );
    }
    this.onReleased();
    if (next < this.dueMs) this.schedule(next);
  }

  private schedule(dueMs: number): void {
    this.dueMs = dueMs;
    this.deadline.set(Math.max(0, dueMs - this.timers.now()));
  }
}

/** A record that is held back. */
interface Waiting {
  readonly record: MeshRecord;
  readonly isUrgent: boolean;
  readonly dueMs: number;
}

/** The records that are held back for one neighbour: the newest version of each, until its own time. */
export class SuppressedRecords {
  private readonly waiting = new Map<string, Waiting>();

  get size(): number {
    return this.waiting.size;
  }

  put(record: MeshRecord, isUrgent: boolean, dueMs: number): void {
    this.waiting.set(record.key, { record, isUrgent, dueMs });
  }

  /** Drops a record when the neighbour has this version, or a newer one. */
  cancel(record: MeshRecord): void {
    const waits = this.waiting.get(record.key);
    if (waits !== undefined && compareVersions(waits.record, record) <= 0) this.waiting.delete(record.key);
  }

  clear(): void {
    this.waiting.clear();
  }

  /** Passes the records that are due to `take`, and returns when the next one is; Infinity when there is none. */
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
