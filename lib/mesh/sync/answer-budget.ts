// What a peer may have for asking: a member that asks for everything again and again costs a bounded bandwidth.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';
import type { Timers } from '../../util/timers.js';
import { afterTaking, canTake } from '../../util/token-bucket.js';
import type { GossipCounters } from '../gossip/counters.js';
import type { GossipPeer } from '../gossip/peer.js';
import type { RecordStore } from '../records/store.js';

/** The database twice, and then some; after that so many bytes a second. */
const BYTES_PER_S = 64 * 1024;
const BURST_BYTES = 1024 * 1024;
/** Peers whose use of it is remembered when their link is gone. */
const MAX_PEERS = 1_024;

export class AnswerBudget {
  /** By peer, and not by link: a new link is quickly made. See token-bucket.ts. */
  private readonly fullAtMs = new RecentMap<NodeId, number>(MAX_PEERS);

  constructor(
    private readonly timers: Timers,
    private readonly store: RecordStore,
    private readonly counters: GossipCounters,
  ) {}

  take(peer: GossipPeer, bytes: number): boolean {
    const { peerId } = peer.link;
    const rate = { perS: BYTES_PER_S, burst: BURST_BYTES + 2 * this.store.bytes };
    const now = this.timers.now();
    const fullAtMs = this.fullAtMs.peek(peerId) ?? Number.NEGATIVE_INFINITY;
    if (!canTake(fullAtMs, now, rate, bytes)) {
      this.counters.unanswered++;
      return false;
    }
    this.fullAtMs.set(peerId, afterTaking(fullAtMs, now, rate, bytes));
    return true;
  }
}
