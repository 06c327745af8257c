// Which of two versions of a record is the newer one, and whether news cannot wait. Pure.

import { type MeshRecord, NodeFlag, type NodeRecord, RecordKind, type RecordVersion } from '../../wire/records.js';

/** More than 0 when `a` is the newer one: by epoch, then by seq. Between twins the larger hash wins everywhere. */
export function compareVersions(a: RecordVersion, b: RecordVersion): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.seq !== b.seq) return a.seq - b.seq;
  if (a.hashHigh !== b.hashHigh) return a.hashHigh - b.hashHigh;
  return a.hashLow - b.hashLow;
}

/** Two records under one number: whoever wrote them exists twice, or lies. */
export function areTwins(a: RecordVersion, b: RecordVersion): boolean {
  return a.epoch === b.epoch && a.seq === b.seq && (a.hashHigh !== b.hashHigh || a.hashLow !== b.hashLow);
}

/** Bad news is passed on at once: a way that is gone, a node that leaves or begins anew. */
export function isBadNews(record: MeshRecord, previous: MeshRecord | undefined): boolean {
  if (record.kind !== RecordKind.NODE || previous === undefined || previous.kind !== RecordKind.NODE) return false;
  if (record.bootId !== previous.bootId) return true;
  return (record.flags & NodeFlag.LEAVING) !== 0 || losesLinks(record, previous);
}

/** Both lists are sorted by the bytes of the ids, so one walk finds what is missing. */
function losesLinks(record: NodeRecord, previous: NodeRecord): boolean {
  const { links } = record;
  let at = 0;
  for (const { peerId } of previous.links) {
    while (at < links.length && links[at].peerId !== peerId) at++;
    if (at === links.length) return true;
  }
  return false;
}

/** The last record of a run. */
export function isLeaving(record: NodeRecord): boolean {
  return (record.flags & NodeFlag.LEAVING) !== 0;
}
