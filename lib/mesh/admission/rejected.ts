// Negative caches: versions of records that were rejected, and peers that were banned.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';
import type { RecordVersion } from '../../wire/records.js';
import { compareVersions } from '../records/order.js';

const REMEMBERED_MS = 5 * 60_000;
const MAX_REMEMBERED = 16_384;
const BAN_MS = 10 * 60_000;
/** A peer can make any number of identities; only the latest bans are remembered. */
const MAX_BANS = 1_024;

interface Rejected extends RecordVersion {
  readonly untilMs: number;
}

/**
 * Versions that were rejected or evicted recently. While a neighbour keeps them, every comparison of the stores finds them
 * missing here; requesting them again would only reject them again.
 */
export class RejectedVersions {
  private readonly versions = new RecentMap<string, Rejected>(MAX_REMEMBERED);

  add({ key, epoch, seq, hashHigh, hashLow }: RecordVersion, now: number): void {
    this.versions.set(key, { key, epoch, seq, hashHigh, hashLow, untilMs: now + REMEMBERED_MS });
  }

  /** Whether exactly this version was rejected. Its signature may be unchecked, so newer and older versions are not affected. */
  has(entry: RecordVersion, now: number): boolean {
    const rejected = this.versions.peek(entry.key);
    return rejected !== undefined && rejected.untilMs > now && compareVersions(entry, rejected) === 0;
  }
}

/** Peers to which no link is made for a while, because of what they sent. */
export class Bans {
  private readonly untilMs = new RecentMap<NodeId, number>(MAX_BANS);

  add(nodeId: NodeId, now: number): void {
    this.untilMs.set(nodeId, now + BAN_MS);
  }

  has(nodeId: NodeId, now: number): boolean {
    const untilMs = this.untilMs.peek(nodeId);
    if (untilMs === undefined) return false;
    if (untilMs > now) return true;
    this.untilMs.delete(nodeId);
    return false;
  }
}
