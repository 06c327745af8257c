// Passes new records on: each neighbour is sent the newest record of each key, in batches. Urgent records leave in the same
// turn, the others wait a few milliseconds for more; a neighbour that accepts nothing is sent nothing.

import type { NodeId } from '../../address.js';
import { Deadline } from '../../util/deadline.js';
import { NextTurn } from '../../util/next-turn.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { MeshRecord } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';
import type { RecordStore } from '../records/store.js';
import type { GossipContext, GossipCounters, StatementTraffic } from './gossip.js';
import type { GossipPeer } from './peer.js';
import { DuplicateSuppression } from './suppression.js';

/** How long a record waits for others; the timers add up to 10 ms. */
const BATCH_DELAY_MS = 5;
/** A message of this size is sent. */
const BATCH_BYTES = 16 * 1024;
/** The most that one neighbour is sent in one turn: a store of megabytes must not block the event loop. */
const TURN_BYTES = 256 * 1024;
/** Records that the store has dropped may remain in an outbox; above this number they are removed. */
const MAX_LEFTOVERS = 256;

interface FloodingOwner {
  /** Called when nothing is left to send to a neighbour. */
  onOutboxEmpty(peer: GossipPeer): void;
  /** Returns how long others may keep a record, in s. */
  remainingLifeS(record: MeshRecord): number;
}

export class Flooding {
  private readonly deadline: Deadline;
  private readonly nextTurn: NextTurn;
  private isUrgent = false;
  private readonly suppression: DuplicateSuppression;

  private readonly store: RecordStore;
  private readonly peers: ReadonlySet<GossipPeer>;
  private readonly counters: GossipCounters;
  private readonly statements: StatementTraffic;

  constructor(
    { self, timers, store, peers, counters, statements }: GossipContext,
    private readonly owner: FloodingOwner,
  ) {
    this.deadline = new Deadline(timers, () => this.flushEach());
    this.nextTurn = new NextTurn(timers.clock, () => this.flushEach());
    this.store = store;
    this.peers = peers;
    this.counters = counters;
    this.statements = statements;
    this.suppression = new DuplicateSuppression(
      self,
      timers,
      peers,
      (peer, record, isUrgent) => this.offer(peer, record, isUrgent),
      () => this.settle(),
    );
  }

  /** Sends a record to every neighbour but `from`; undefined for a record of this node. */
  spread(record: MeshRecord, from: GossipPeer | undefined, isUrgent: boolean): void {
    for (const peer of this.peers) {
      if (peer === from || (from !== undefined && this.suppression.suppress(peer, record, isUrgent))) continue;
      this.offer(peer, record, isUrgent);
    }
  }

  /** Sends a record to one neighbour. */
  offer(peer: GossipPeer, record: MeshRecord, isUrgent = false): void {
    if (!peer.isActive) return;
    const { outbox } = peer;
    outbox.put(record, isUrgent);
    if (outbox.size > this.store.size + MAX_LEFTOVERS) outbox.prune((waiting) => this.store.holds(waiting));
    if (peer.isHeld) return;
    if (isUrgent) this.isUrgent = true;
    if (outbox.bytes >= BATCH_BYTES) this.nextTurn.request();
    else if (!this.deadline.isSet) this.deadline.set(BATCH_DELAY_MS);
  }

  /** Sends urgent records. Must be called after anything that may have added some. */
  settle(): void {
    if (!this.isUrgent) return;
    this.isUrgent = false;
    for (const peer of this.peers) {
      if (peer.outbox.isUrgent) this.flush(peer);
    }
  }

  /** Called when the neighbour accepts messages again, or its initial exchange is far enough. */
  resume(peer: GossipPeer): void {
    if (peer.outbox.size === 0) return;
    if (peer.outbox.isUrgent) this.flush(peer);
    else this.nextTurn.request();
  }

  /** Sends the waiting records of one node ahead of all others. */
  sendNow(peer: GossipPeer, nodeId: NodeId): void {
    if (this.statements.goesAhead(peer.link)) return;
    const batch = new Batch();
    for (const record of peer.outbox.prune((waiting) => waiting.nodeId !== nodeId)) this.add(peer, batch, record);
    this.send(peer, batch);
  }

  /** Sends everything to every neighbour, even to blocked ones: the last messages of a node that leaves. */
  flushAll(): void {
    for (const peer of this.peers) {
      const batch = new Batch();
      peer.outbox.drain(
        () => peer.isActive,
        (record) => this.add(peer, batch, record),
      );
      this.send(peer, batch);
    }
  }

  dispose(): void {
    this.suppression.dispose();
    this.deadline.clear();
  }

  private flushEach(): void {
    for (const peer of this.peers) this.flush(peer);
  }

  private flush(peer: GossipPeer): void {
    const { outbox, link } = peer;
    if (outbox.size === 0 || peer.isHeld || this.statements.goesAhead(link)) return;
    const batch = new Batch();
    outbox.drain(
      () => peer.isActive && batch.sentBytes < TURN_BYTES && !link.isBlocked,
      (record) => this.add(peer, batch, record),
    );
    this.send(peer, batch);
    if (!peer.isActive) return;
    if (outbox.size === 0) this.owner.onOutboxEmpty(peer);
    else if (!link.isBlocked) this.nextTurn.request();
  }

  private add(peer: GossipPeer, batch: Batch, record: MeshRecord): void {
    // The store may have replaced or dropped it meanwhile.
    if (!this.store.holds(record)) return;
    const size = recordCopyBytes(record);
    if (batch.bytes > 0 && batch.bytes + size > BATCH_BYTES) this.send(peer, batch);
    batch.copies.push({ record, remainingLifeS: this.owner.remainingLifeS(record) });
    batch.bytes += size;
  }

  private send(peer: GossipPeer, batch: Batch): void {
    const { copies, bytes } = batch;
    if (copies.length === 0 || !peer.isActive) return;
    batch.copies = [];
    batch.bytes = 0;
    batch.sentBytes += bytes;
    this.counters.recordsOut += copies.length;
    this.counters.bytesOut += bytes;
    peer.link.send({ type: MessageType.RECORDS, records: copies });
  }
}

class Batch {
  copies: RecordCopy[] = [];
  bytes = 0;
  sentBytes = 0;
}

/**
 * Records that wait to be sent to one neighbour: the newest of each key. However slow the neighbour is, the outbox cannot
 * grow beyond the store, and a record that was replaced meanwhile is never sent.
 */
export class Outbox {
  /** Urgent records go first. A key is in one of the two maps. */
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
    // In the place of its predecessor, so that a record that changes all the time is not delayed without end.
    if (this.urgent.has(key)) this.urgent.set(key, record);
    else if (!isUrgent) this.others.set(key, record);
    else {
      this.others.delete(key);
      this.urgent.set(key, record);
    }
  }

  /** Drops a record when the neighbour has this version, or a newer one. */
  cancel(record: MeshRecord): void {
    if (this.size === 0) return;
    const { key } = record;
    const waiting = this.urgent.get(key) ?? this.others.get(key);
    if (waiting === undefined || (waiting !== record && compareVersions(waiting, record) > 0)) return;
    if (!this.urgent.delete(key)) this.others.delete(key);
    this.byteCount -= recordCopyBytes(waiting);
  }

  /** Removes records and passes them to `take`, as long as `wantsMore` returns true. */
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

  /** Removes the records for which `isWanted` returns false, and returns them. */
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
