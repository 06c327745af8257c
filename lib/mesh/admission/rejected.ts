// Records that were refused or had to give way a moment ago: while a neighbour keeps them, every comparison would find them
// lacking here, and asking for them would bring the same ones to the same end.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';
import type { RecordVersion } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

const REMEMBERED_MS = 5 * 60_000;
const MAX_REMEMBERED = 16_384;

interface Refusal extends RecordVersion {
  readonly untilMs: number;
}

export class Refusals {
  private readonly refused = new RecentMap<string, Refusal>(MAX_REMEMBERED);

  add({ key, epoch, seq, hashHigh, hashLow }: RecordVersion, now: number): void {
    this.refused.set(key, { key, epoch, seq, hashHigh, hashLow, untilMs: now + REMEMBERED_MS });
  }

  /** That very version: nobody may have checked who made it, so it says nothing about newer and older ones. */
  has(entry: RecordVersion, now: number): boolean {
    const refusal = this.refused.peek(entry.key);
    return refusal !== undefined && refusal.untilMs > now && compareVersions(entry, refusal) === 0;
  }
}

// Peers that are not linked to for a while, because of what they sent.

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
