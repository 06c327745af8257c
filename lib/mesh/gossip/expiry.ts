// Forgets nodes that are gone: a record outlives its node by the rest of its life, since the node may come back; after that
// only a tombstone of its version is kept. A reachable node is never forgotten.

import type { NodeId } from '../../address.js';
import { Deadline } from '../../util/deadline.js';
import { type MeshRecord, RecordKind } from '../../wire/records.js';
import { isLeaving } from '../records/order.js';
import type { NodeEntry } from '../records/store.js';
import type { GossipContext } from './gossip.js';

const SWEEP_MS = 30_000;
/** Shorter for a node that has announced its leaving. */
export const LEAVING_LIFE_S = 600;

/** And for a node that was never reachable: anyone can invent nodes. */
const UNREACHED_LIFE_S = 600;

/** Called when the node is reachable: the life of its records starts again. */
export function noteReached(entry: NodeEntry): void {
  entry.wasReached = true;
  if (entry.node !== undefined && !isLeaving(entry.node)) entry.leftS = wholeLifeS(entry.node);
}

/** Returns how long a record is kept from the start, in s. */
export function wholeLifeS(record: MeshRecord): number {
  const isEnding = record.kind === RecordKind.NODE && isLeaving(record);
  return isEnding ? Math.min(record.lifeS, LEAVING_LIFE_S) : record.lifeS;
}

interface ExpiryOwner {
  onExpiring(nodeId: NodeId): void;
  onExpired(records: readonly MeshRecord[]): void;
}

export class Expiry {
  private readonly deadline: Deadline;
  private isClosed = false;

  constructor(
    private readonly context: GossipContext,
    private readonly owner: ExpiryOwner,
  ) {
    this.deadline = new Deadline(context.timers, (now) => this.sweep(now));
  }

  /** Called when records are stored, which may have to be forgotten later. */
  start(): void {
    if (!this.isClosed && !this.deadline.isSet) this.deadline.set(SWEEP_MS);
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
  }

  private sweep(now: number): void {
    this.context.tombstones.sweep(now);
    const expired: NodeId[] = [];
    for (const [nodeId, entry] of this.context.store.entries()) {
      if (nodeId !== this.context.self && this.isExpired(nodeId, entry, now)) expired.push(nodeId);
    }
    for (const nodeId of expired) this.expire(nodeId, now);
    // With no records but its own, there is nothing to sweep.
    if (this.context.store.originCount > 1 || this.context.tombstones.size > 0) this.start();
  }

  /** The life of a node is reduced only while it is unreachable, from the second sweep on that finds it so. */
  private isExpired(nodeId: NodeId, entry: NodeEntry, now: number): boolean {
    const { node, countedMs } = entry;
    const isGone = node === undefined || isLeaving(node) || !this.context.isReachable(nodeId);
    entry.countedMs = isGone ? Math.ceil(now) : 0;
    if (!isGone) noteReached(entry);
    else if (!entry.wasReached) entry.leftS = Math.min(entry.leftS, UNREACHED_LIFE_S);
    if (isGone && countedMs !== 0) entry.leftS -= Math.round((now - countedMs) / 1_000);
    return isGone && countedMs !== 0 && entry.leftS <= 0;
  }

  /** Forgets a node at once, because it is no member any more. */
  expireNow(nodeId: NodeId): void {
    this.expire(nodeId, this.context.timers.now());
  }

  private expire(nodeId: NodeId, now: number): void {
    this.owner.onExpiring(nodeId);
    const records = this.context.store.remove(nodeId);
    for (const record of records) this.context.tombstones.add(record, now);
    this.owner.onExpired(records);
  }
}
