// Of two neighbours that both have a record to pass on, one waits for the other's copy: else each link carries most
// records twice. Which of them waits is drawn for each origin, so that half of all ways are quick for any record, and how
// long is what the other's copy needs if it has the record by now. Whoever has something of its own to tell never waits.

import { hashText, mix } from '../../util/choice.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { MeshRecord } from '../../wire/records.js';
import type { GossipPeer } from './peer.js';

/** Beyond the way of the copy: for what the other end got a little later, and waits for company to send. */
const ALLOWANCE_MS = 25;
/** Nothing waits longer, however long the way. */
const MAX_WAIT_MS = 100;

export class Yielding implements Timed {
  private timer: Timer | undefined;
  private dueMs = Number.POSITIVE_INFINITY;
  private readonly selfHash: number;

  constructor(
    self: string,
    private readonly timers: Timers,
    private readonly peers: ReadonlySet<GossipPeer>,
    /** It is for this node to tell after all. */
    private readonly tell: (peer: GossipPeer, record: MeshRecord, isUrgent: boolean) => void,
    /** That was all that is due. */
    private readonly onReleased: () => void,
  ) {
    this.selfHash = hashText(self);
  }

  /** Lets the neighbour tell a record of somebody else first, if that is how it was drawn. False: it is to be told now. */
  yield(peer: GossipPeer, record: MeshRecord, isUrgent: boolean): boolean {
    const { link, sync } = peer;
    // Who cannot tell it, or is just being told everything, is not waited for.
    if (peer.isListener || !sync.isSynced || link.rttMs === 0 || record.nodeId === link.peerId) return false;
    const origin = hashText(record.nodeId);
    if (mix(this.selfHash ^ mix(origin)) < mix(peer.idHash ^ mix(origin))) return false;
    const dueMs = this.timers.now() + Math.min(link.rttMs / 2 + ALLOWANCE_MS, MAX_WAIT_MS);
    peer.yielded.put(record, isUrgent, dueMs);
    if (dueMs < this.dueMs) this.schedule(dueMs);
    return true;
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    this.dueMs = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const peer of this.peers) {
      if (peer.yielded.size === 0) continue;
      next = Math.min(
        next,
        peer.yielded.release(now, (record, isUrgent) => this.tell(peer, record, isUrgent)),
      );
    }
    this.onReleased();
    if (next < this.dueMs) this.schedule(next);
  }

  private schedule(dueMs: number): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.dueMs = dueMs;
    this.timer = this.timers.schedule(Math.max(0, dueMs - this.timers.now()), this);
  }
}
