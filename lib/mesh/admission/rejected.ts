// Records that were refused or had to give way a moment ago: while a neighbour keeps them, every comparison would find them
// lacking here, and asking for them would bring the same ones to the same end.

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
