// What a node tells of its database in an exchange: an entry for each record in the buckets in question, cut into messages.

import { BUCKETS, bucketOf, type GossipMessage, MAX_ENTRIES, MAX_WANTED } from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { MeshRecord } from '../../wire/records.js';
import type { RecordStore } from '../records/store.js';
import type { BucketSet } from './digest-tree.js';

/** Bytes of an entry, about, for whoever has to pay for them. */
export const ENTRY_COST_BYTES = 28;

export function recordsIn(store: RecordStore, buckets: BucketSet): MeshRecord[] {
  const isAll = buckets.isFull;
  const found: MeshRecord[] = [];
  for (const record of store.records()) {
    if (isAll || buckets.has(bucketOf(record.nodeId))) found.push(record);
  }
  return found;
}

/** At least one message, the last one marked. A record is its own entry. */
export function entriesMessages(buckets: BucketSet, records: readonly MeshRecord[]): GossipMessage[] {
  const messages: GossipMessage[] = [];
  for (let at = 0; at === 0 || at < records.length; at += MAX_ENTRIES) {
    const isLast = at + MAX_ENTRIES >= records.length;
    // The buckets are covered with the last message only: what one message leaves out may be in the next.
    const bitmap = isLast ? buckets.bitmap : new Uint8Array(BUCKETS / 8);
    messages.push({ type: MessageType.ENTRIES, isLast, bitmap, entries: records.slice(at, at + MAX_ENTRIES) });
  }
  return messages;
}

/** At least one message, the last one marked. */
export function wantMessages(keys: readonly string[]): GossipMessage[] {
  const messages: GossipMessage[] = [];
  for (let at = 0; at === 0 || at < keys.length; at += MAX_WANTED) {
    const isLast = at + MAX_WANTED >= keys.length;
    messages.push({ type: MessageType.WANT, isLast, keys: keys.slice(at, at + MAX_WANTED) });
  }
  return messages;
}
