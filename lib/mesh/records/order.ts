// Which of two versions of a record is newer, and whether a change is urgent. Pure.

import { type MeshRecord, NodeFlag, type NodeRecord, RecordKind, type RecordVersion } from '../../wire/records.js';

/** Returns more than 0 when `a` is newer: by epoch, then by seq. Of two conflicting versions the larger hash wins on every node. */
export function compareVersions(a: RecordVersion, b: RecordVersion): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.seq !== b.seq) return a.seq - b.seq;
  if (a.hashHigh !== b.hashHigh) return a.hashHigh - b.hashHigh;
  return a.hashLow - b.hashLow;
}

/** Whether two different records have the same number: their origin runs twice, or is malicious. */
export function areConflicting(a: RecordVersion, b: RecordVersion): boolean {
  return a.epoch === b.epoch && a.seq === b.seq && (a.hashHigh !== b.hashHigh || a.hashLow !== b.hashLow);
}

/** Whether a record must be passed on at once: it drops a link, or the node drains, leaves or has restarted. */
export function isUrgentChange(record: MeshRecord, previous: MeshRecord | undefined): boolean {
  if (record.kind !== RecordKind.NODE || previous === undefined || previous.kind !== RecordKind.NODE) return false;
  if (record.bootId !== previous.bootId) return true;
  return (record.flags & NodeFlag.LEAVING) !== 0 || startsToDrain(record, previous) || losesLinks(record, previous);
}

interface Flagged {
  readonly flags: number;
}

/** Whether the node drains by this version of its record, and did not by the version before. */
export function startsToDrain({ flags }: Flagged, previous: Flagged | undefined): boolean {
  return (flags & ~(previous?.flags ?? 0) & NodeFlag.DRAIN) !== 0;
}

/** Both lists are sorted by the bytes of the ids, so one pass finds what is missing. */
function losesLinks(record: NodeRecord, previous: NodeRecord): boolean {
  const { links } = record;
  let at = 0;
  for (const { peerId } of previous.links) {
    while (at < links.length && links[at].peerId !== peerId) at++;
    if (at === links.length) return true;
  }
  return false;
}

/** Whether this is the last record of a run. */
export function isLeaving(record: NodeRecord): boolean {
  return (record.flags & NodeFlag.LEAVING) !== 0;
}
