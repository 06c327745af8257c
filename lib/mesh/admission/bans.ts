// Peers that are not linked to for a while, because of what they sent.

import type { NodeId } from '../../address.js';

const BAN_MS = 10 * 60_000;
/** A peer can have any number of identities; only the last ones are remembered. */
const MAX_BANS = 1_024;

export class Bans {
  /** Until when. The oldest first. */
  private readonly until = new Map<NodeId, number>();

  add(nodeId: NodeId, now: number): void {
    this.until.delete(nodeId);
    if (this.until.size >= MAX_BANS) {
      for (const oldest of this.until.keys()) {
        this.until.delete(oldest);
        break;
      }
    }
    this.until.set(nodeId, now + BAN_MS);
  }

  has(nodeId: NodeId, now: number): boolean {
    const until = this.until.get(nodeId);
    if (until === undefined) return false;
    if (until > now) return true;
    this.until.delete(nodeId);
    return false;
  }
}
