// Forgetting nodes that are gone: a record is kept for the rest of its life after its node cannot be reached any more,
// because it may be back; then only its version is remembered. A node that can be reached is never forgotten.

import type { NodeId } from '../../address.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { type MeshRecord, RecordKind } from '../../wire/records.js';
import type { Floors } from '../admission/tombstones.js';
import { isLeaving } from '../records/order.js';
import type { KnownOrigin, RecordStore } from '../records/store.js';

const SWEEP_MS = 30_000;
/** Whoever said that it leaves is not waited for. */
export const LEAVING_LIFE_S = 600;

/** Nor who was never there: anybody can make up nodes. */
const STRANGER_LIFE_S = 600;

/** The node can be reached: it is as if it had come just now. */
export function noteReached(origin: KnownOrigin): void {
  origin.wasReached = true;
  if (origin.node !== undefined && !isLeaving(origin.node)) origin.leftS = wholeLifeS(origin.node);
}

/** How long a record is kept that nothing is known to be wrong with, in s. */
export function wholeLifeS(record: MeshRecord): number {
  const isEnding = record.kind === RecordKind.NODE && isLeaving(record);
  return isEnding ? Math.min(record.lifeS, LEAVING_LIFE_S) : record.lifeS;
}

export interface ExpiryOwner {
  isReachable(nodeId: NodeId): boolean;
  onExpiring(nodeId: NodeId): void;
  onExpired(records: readonly MeshRecord[]): void;
}

export class Expiry implements Timed {
  private timer: Timer | undefined;
  private isStopped = false;

  constructor(
    private readonly self: NodeId,
    private readonly timers: Timers,
    private readonly store: RecordStore,
    private readonly floors: Floors,
    private readonly owner: ExpiryOwner,
  ) {}

  /** Something is known, so something may have to be forgotten. */
  start(): void {
    if (!this.isStopped) this.timer ??= this.timers.schedule(SWEEP_MS, this);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    this.floors.sweep(now);
    const over: NodeId[] = [];
    for (const [nodeId, origin] of this.store.origins()) {
      if (nodeId !== this.self && this.isOver(nodeId, origin, now)) over.push(nodeId);
    }
    for (const nodeId of over) this.expire(nodeId, now);
    // With nothing but the own records there is nothing to sweep until others come.
    if (this.store.originCount > 1 || this.floors.size > 0) this.start();
  }

  /** Life is counted only while the node cannot be reached, and from the second sweep that finds it so. */
  private isOver(nodeId: NodeId, origin: KnownOrigin, now: number): boolean {
    const { node, countedMs } = origin;
    const isGone = node === undefined || isLeaving(node) || !this.owner.isReachable(nodeId);
    origin.countedMs = isGone ? Math.ceil(now) : 0;
    if (!isGone) noteReached(origin);
    else if (!origin.wasReached) origin.leftS = Math.min(origin.leftS, STRANGER_LIFE_S);
    if (isGone && countedMs !== 0) origin.leftS -= Math.round((now - countedMs) / 1_000);
    return isGone && countedMs !== 0 && origin.leftS <= 0;
  }

  private expire(nodeId: NodeId, now: number): void {
    this.owner.onExpiring(nodeId);
    const records = this.store.remove(nodeId);
    for (const record of records) this.floors.add(record, now);
    this.owner.onExpired(records);
  }
}
