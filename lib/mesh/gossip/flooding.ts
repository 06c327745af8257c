// Passing on what is new: each neighbour is told the newest record of each key, in batches. Bad news leaves in the same
// turn, the rest waits a few milliseconds for company; to a neighbour that takes nothing, nothing is sent.

import type { NodeId } from '../../address.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { MeshRecord } from '../../wire/records.js';
import type { RecordStore } from '../records/store.js';
import type { GossipCounters } from './counters.js';
import type { GossipPeer } from './peer.js';
import { Yielding } from './yielding.js';

/** How long news waits for company; the timers add up to 10 ms. */
const BATCH_DELAY_MS = 5;
/** A message is sent when it has that much. */
const BATCH_BYTES = 16 * 1024;
/** What one neighbour is sent in one turn: a database of megabytes must not stall the loop. */
const TURN_BYTES = 256 * 1024;
/** Records that are gone from the store may lie in a box; more than that many are looked for. */
const MAX_LEFTOVERS = 256;

export interface FloodingOwner {
  /** Nothing is left to be told to this neighbour. */
  onTold(peer: GossipPeer): void;
}

export class Flooding implements Timed {
  private timer: Timer | undefined;
  private isTurnDue = false;
  private isUrgent = false;
  private readonly yielding: Yielding;

  constructor(
    self: NodeId,
    private readonly timers: Timers,
    private readonly store: RecordStore,
    private readonly peers: ReadonlySet<GossipPeer>,
    private readonly counters: GossipCounters,
    private readonly owner: FloodingOwner,
    /** Says how long others are to keep a record, in s. */
    private readonly remainingLifeS: (record: MeshRecord) => number,
  ) {
    this.yielding = new Yielding(
      self,
      timers,
      peers,
      (peer, record, isUrgent) => this.offer(peer, record, isUrgent),
      () => this.settle(),
    );
  }

  /** To every neighbour but the one that it came from; nobody: it is this node's own. */
  spread(record: MeshRecord, from: GossipPeer | undefined, isUrgent: boolean): void {
    for (const peer of this.peers) {
      if (peer === from || (from !== undefined && this.yielding.yield(peer, record, isUrgent))) continue;
      this.offer(peer, record, isUrgent);
    }
  }

  /** To one neighbour. */
  offer(peer: GossipPeer, record: MeshRecord, isUrgent = false): void {
    if (!peer.isHere) return;
    const { outbox } = peer;
    outbox.put(record, isUrgent);
    if (outbox.size > this.store.size + MAX_LEFTOVERS) outbox.prune((waiting) => this.store.holds(waiting));
    if (peer.isHeld) return;
    if (isUrgent) this.isUrgent = true;
    if (outbox.bytes >= BATCH_BYTES) this.flushNextTurn();
    else this.timer ??= this.timers.schedule(BATCH_DELAY_MS, this);
  }

  /** Sends what cannot wait. To be called at the end of whatever may have brought news. */
  settle(): void {
    if (!this.isUrgent) return;
    this.isUrgent = false;
    for (const peer of this.peers) {
      if (peer.outbox.isUrgent) this.flush(peer);
    }
  }

  /** The neighbour takes messages again, or may be told from now on. */
  resume(peer: GossipPeer): void {
    if (peer.outbox.size === 0) return;
    if (peer.outbox.isUrgent) this.flush(peer);
    else this.flushNextTurn();
  }

  /** Sends what waits in a box and is of one node, ahead of all else. */
  sendNow(peer: GossipPeer, nodeId: NodeId): void {
    const batch = new Batch();
    for (const record of peer.outbox.prune((waiting) => waiting.nodeId !== nodeId)) this.add(peer, batch, record);
    this.send(peer, batch);
  }

  /** Sends everything to everyone, whether they take it or not: the last words of a node. */
  flushAll(): void {
    for (const peer of this.peers) {
      const batch = new Batch();
      peer.outbox.drain(
        () => peer.isHere,
        (record) => this.add(peer, batch, record),
      );
      this.send(peer, batch);
    }
  }

  stop(): void {
    this.yielding.stop();
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.timer = undefined;
    this.flushEach();
  }

  private flushNextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    this.timers.clock.setImmediate(() => {
      this.isTurnDue = false;
      this.flushEach();
    });
  }

  private flushEach(): void {
    for (const peer of this.peers) this.flush(peer);
  }

  private flush(peer: GossipPeer): void {
    const { outbox, link } = peer;
    if (outbox.size === 0 || peer.isHeld) return;
    const batch = new Batch();
    outbox.drain(
      () => peer.isHere && batch.sentBytes < TURN_BYTES && !link.isBlocked,
      (record) => this.add(peer, batch, record),
    );
    this.send(peer, batch);
    if (!peer.isHere) return;
    if (outbox.size === 0) this.owner.onTold(peer);
    else if (!link.isBlocked) this.flushNextTurn();
  }

  private add(peer: GossipPeer, batch: Batch, record: MeshRecord): void {
    // It may have been replaced or dropped without a word to this box.
    if (!this.store.holds(record)) return;
    const size = recordCopyBytes(record);
    if (batch.bytes > 0 && batch.bytes + size > BATCH_BYTES) this.send(peer, batch);
    batch.copies.push({ record, remainingLifeS: this.remainingLifeS(record) });
    batch.bytes += size;
  }

  private send(peer: GossipPeer, batch: Batch): void {
    const { copies, bytes } = batch;
    if (copies.length === 0 || !peer.isHere) return;
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
