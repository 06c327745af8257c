// What one neighbour may bring, a second and at once. What a healed split or a cold start floods in a moment grows with the
// network, and an honest neighbour must not look like a flood for that.

import { afterTaking, canTake, type Rate, waitMs } from '../../util/token-bucket.js';
import { recordCopyBytes } from '../../wire/gossip-messages.js';
import type { MeshRecord } from '../../wire/records.js';
import type { GossipPeer } from '../gossip/peer.js';
import type { RecordStore } from '../records/store.js';

/** Of what nobody asked for. */
const RECORDS_PER_S = 200;
const RECORD_BURST = 4_096;
const BYTES_PER_S = 256 * 1024;
const BYTE_BURST = 4 * 1024 * 1024;

/** Of what is known already. Every neighbour has each record once, so there is much of that. */
const USELESS_PER_S = 2_000;
const USELESS_BURST = 50_000;

/** What may wait in the queue of a neighbour that nobody asked for, and all in all. */
const MAX_UNASKED = 20_000;
const MAX_UNASKED_BYTES = 8 * 1024 * 1024;
const QUEUE_BYTES = 64 * 1024 * 1024;
/** In all queues together, of those of that many neighbours. */
const FULL_QUEUES = 4;

export class LinkLimits {
  /** @param queueBytes what may wait in the queue of one neighbour */
  constructor(
    private readonly store: RecordStore,
    private readonly queueBytes = QUEUE_BYTES,
  ) {}

  /** How long the neighbour has to wait before a record that it was not asked for is looked at, in ms; 0 and less: not. */
  waitMs(peer: GossipPeer, record: MeshRecord, now: number): number {
    const records = waitMs(peer.recordsFullAtMs, now, this.recordRate());
    return Math.max(records, waitMs(peer.bytesFullAtMs, now, this.byteRate(), recordCopyBytes(record)));
  }

  /** It is looked at. */
  count(peer: GossipPeer, record: MeshRecord, now: number): void {
    peer.recordsFullAtMs = afterTaking(peer.recordsFullAtMs, now, this.recordRate());
    peer.bytesFullAtMs = afterTaking(peer.bytesFullAtMs, now, this.byteRate(), recordCopyBytes(record));
  }

  /** It has brought so many records that are known. Is that bearable? */
  countUseless(peer: GossipPeer, count: number, now: number): boolean {
    const { size } = this.store;
    const rate = { perS: USELESS_PER_S + size / 2, burst: USELESS_BURST + 8 * size };
    if (!canTake(peer.uselessFullAtMs, now, rate, count)) return false;
    peer.uselessFullAtMs = afterTaking(peer.uselessFullAtMs, now, rate, count);
    return true;
  }

  /** Has more piled up than can be looked at? */
  isFull({ inbox }: GossipPeer, waiting: Iterable<GossipPeer>): boolean {
    const { queueBytes } = this;
    if (inbox.unasked > MAX_UNASKED + 2 * this.store.size) return true;
    if (inbox.unaskedBytes > MAX_UNASKED_BYTES + this.store.bytes || inbox.bytes > queueBytes) return true;
    if (inbox.bytes < Math.min(MAX_UNASKED_BYTES, queueBytes / 2)) return false;
    let bytes = 0;
    for (const peer of waiting) bytes += peer.inbox.bytes;
    return bytes > FULL_QUEUES * queueBytes;
  }

  // By half of what is known, or whatever a flood brings would make room for more of it.

  private recordRate(): Rate {
    return { perS: RECORDS_PER_S, burst: RECORD_BURST + this.store.size / 2 };
  }

  private byteRate(): Rate {
    return { perS: BYTES_PER_S, burst: BYTE_BURST + this.store.bytes / 2 };
  }
}
