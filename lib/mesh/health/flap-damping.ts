// Flap damping: a link that is lost again and again is not announced for a while, since each loss and each return would flood
// the mesh. The two nodes at its ends use it nevertheless.

import type { NodeId } from '../../address.js';
import { Deadline } from '../../util/deadline.js';
import { RecentMap } from '../../util/recent-map.js';
import type { Timers } from '../../util/timers.js';

const LOSS_PENALTY = 1000;
const HALF_LIFE_MS = 60_000;
const SUPPRESS_ABOVE = 3000;
const REUSE_BELOW = 1000;
const MAX_SUPPRESS_MS = 300_000;
const MAX_PEERS = 1024;

interface Flaps {
  penalty: number;
  atMs: number;
  /** When the peer may be announced again; set while it may not. */
  readonly reuse: Deadline;
  /** The peer is announced again at this time, however often it is lost until then. */
  latestMs: number;
}

export class FlapDamping {
  private readonly peers = new RecentMap<NodeId, Flaps>(MAX_PEERS);

  constructor(
    private readonly timers: Timers,
    /** Called when links to a peer may be announced again. */
    private readonly onReuse: (peerId: NodeId) => void,
  ) {}

  isSuppressed(peerId: NodeId): boolean {
    return this.peers.peek(peerId)?.reuse.isSet === true;
  }

  onLoss(peerId: NodeId): void {
    const now = this.timers.now();
    let flaps = this.peers.get(peerId);
    if (flaps === undefined) {
      const reuse = new Deadline(this.timers, () => this.onReuse(peerId));
      flaps = { penalty: 0, atMs: now, reuse, latestMs: 0 };
      this.peers.set(peerId, flaps);
    }
    flaps.penalty = penaltyAt(flaps, now) + LOSS_PENALTY;
    flaps.atMs = now;
    if (!flaps.reuse.isSet) {
      if (flaps.penalty <= SUPPRESS_ABOVE) return;
      flaps.latestMs = now + MAX_SUPPRESS_MS;
    }
    const waitMs = HALF_LIFE_MS * Math.log2(flaps.penalty / REUSE_BELOW);
    flaps.reuse.set(Math.min(waitMs, flaps.latestMs - now));
  }

  dispose(): void {
    for (const { reuse } of this.peers.values()) reuse.clear();
  }
}

function penaltyAt({ penalty, atMs }: Flaps, now: number): number {
  return penalty * 2 ** ((atMs - now) / HALF_LIFE_MS);
}
