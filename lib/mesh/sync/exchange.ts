// One comparison of two stores whose roots differ:
//
//   BUCKETS --->                  from the node with the lower id, if both have many records
//           <--- ENTRIES          of the buckets that differ; or of all buckets, from the node with few records
//   RECORDS --->                  that the other lacks or has in an older version
//   WANT    --->                  keys that this side lacks
//           <--- RECORDS
//
// anti-entropy.ts decides when one begins; this file does it, and limits how many run at once and what they may cost.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';
import type { Timers } from '../../util/timers.js';
import { afterTaking, canTake } from '../../util/token-bucket.js';
import {
  BUCKETS,
  type Buckets,
  bucketOf,
  type Entries,
  type GossipMessage,
  MAX_ENTRIES,
  MAX_WANTED,
  type Want,
} from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { MeshRecord, RecordVersion } from '../../wire/records.js';
import type { Flooding } from '../gossip/flooding.js';
import type { GossipContext, GossipCounters } from '../gossip/gossip.js';
import type { Gathering, GossipPeer } from '../gossip/peer.js';
import type { MeshLink } from '../ports.js';
import { compareVersions } from '../records/order.js';
import type { RecordStore } from '../records/store.js';
import type { AntiEntropy } from './anti-entropy.js';
import { BucketSet, differingBuckets } from './digest-tree.js';

/** A store of so few records is compared as a whole. */
export const FEW = 64;
const MAX_EXCHANGES = 4;
/** An exchange without an answer is given up after this time. */
export const ANSWER_MS = 10_000;
/** While one neighbour sends everything to a new node, the others wait this long at most: they would send the same. */
const BULK_MS = 3_000;
const MAX_LACKING = 65_536;
/** A bucket may hold this many times as much as another, since a node may have many records. */
const UNEVEN = 4;
/** The cost of comparing all buckets. */
const COMPARISON_BYTES = 2_048;

export class Exchange {
  /** The peer that is sending nearly everything to this node, and since when. */
  private bulk: GossipPeer | undefined;
  private bulkMs = 0;

  constructor(
    private readonly context: GossipContext,
    private readonly flooding: Flooding,
    private readonly owner: AntiEntropy,
  ) {}

  /**
   * Answers and begins exchanges that wait, up to a number at once. The peer that was served longest ago comes first: in
   * the order of their links, the first few could keep the others waiting without end.
   */
  beginWaiting(): void {
    let exchanges = 0;
    const waiting: GossipPeer[] = [];
    for (const peer of this.context.peers) {
      const { sync } = peer;
      exchanges += sync.isExchanging ? 1 : 0;
      if (sync.request !== undefined || sync.mustBegin) waiting.push(peer);
    }
    waiting.sort((a, b) => a.sync.servedMs - b.sync.servedMs);
    for (const peer of waiting) {
      const { sync } = peer;
      // A blocked peer gets no answers: they would pile up.
      if (!peer.isActive || peer.link.isBlocked || this.isBulkElsewhere(peer)) continue;
      const wasExchanging = sync.isExchanging;
      if (!wasExchanging && exchanges >= MAX_EXCHANGES) continue;
      // Two nodes that ask each other at the same time both answer, or both would wait.
      if (sync.request !== undefined && sync.awaitsWantMs === 0) this.answer(peer, sync.request);
      else if (sync.mustBegin && !wasExchanging) this.begin(peer);
      if (sync.isExchanging && !wasExchanging) exchanges++;
    }
  }

  onBuckets(peer: GossipPeer, buckets: Buckets): void {
    const isEqual = differingBuckets(buckets, this.context.store.digest).isEmpty;
    if (isEqual && !peer.link.isBlocked && peer.sync.awaitsWantMs === 0) {
      this.answer(peer, buckets);
      return;
    }
    peer.sync.request = buckets;
    this.beginWaiting();
    if (peer.sync.request !== undefined) this.owner.onBegun();
  }

  onEntries(peer: GossipPeer, message: Entries): void {
    const { sync } = peer;
    // To find records that are not mentioned, all records are read.
    const scanned = message.entries.length + (message.isLast ? this.context.store.size : 0);
    if (!this.context.budget.take(peer, ENTRY_COST_BYTES * scanned)) return;
    sync.gathering ??= { covered: new BucketSet(), mentioned: new Set(), lacking: [], sinceMs: 0 };
    sync.gathering.sinceMs = this.context.timers.now();
    sync.gathering.covered.addAll(message.bitmap);
    for (const entry of message.entries) this.onEntry(peer, sync.gathering, entry);
    if (message.isLast) this.onLastEntry(peer, sync.gathering);
    else this.owner.onBegun();
  }

  onWant(peer: GossipPeer, want: Want): void {
    for (const key of want.keys) {
      const record = this.context.store.get(key);
      if (record !== undefined) this.send(peer, record);
    }
    if (!want.isLast || peer.sync.awaitsWantMs === 0) return;
    peer.sync.awaitsWantMs = 0;
    this.end(peer, false);
    this.beginWaiting();
  }

  /** Called when the peer accepts messages again. */
  onUnblocked(peer: GossipPeer): void {
    if (peer.sync.wants !== undefined) this.sendWants(peer);
    if (peer.sync.request !== undefined || peer.sync.mustBegin) this.beginWaiting();
  }

  /** Called when all that the peer had at link up has been processed. */
  onSynced(peer: GossipPeer): void {
    if (this.bulk !== peer) return;
    this.bulk = undefined;
    this.beginWaiting();
  }

  onUnlink(peer: GossipPeer): void {
    if (this.bulk === peer) this.bulk = undefined;
    this.beginWaiting();
  }

  /** Gives up an exchange that the peer does not answer. */
  check(peer: GossipPeer, now: number): void {
    const { sync } = peer;
    if (sync.gathering !== undefined && now - sync.gathering.sinceMs > ANSWER_MS) sync.gathering = undefined;
    // Each on its own: one that is answered again and again must not keep the other open.
    const isUnanswered = isLate(sync.awaitsEntriesMs, now);
    const isUnwanted = isLate(sync.awaitsWantMs, now);
    if (isUnanswered) sync.awaitsEntriesMs = 0;
    if (isUnwanted) sync.awaitsWantMs = 0;
    if (!isUnanswered && !isUnwanted) return;
    peer.forgetAsked();
    this.end(peer, false);
  }

  /** Whether another peer is sending nearly everything, so that there will be less to request from this one. */
  private isBulkElsewhere(peer: GossipPeer): boolean {
    if (this.bulk === undefined || this.bulk === peer || !peer.sync.isInitial) return false;
    return this.context.timers.now() - this.bulkMs < BULK_MS;
  }

  private begin(peer: GossipPeer): void {
    const { sync } = peer;
    const theirCount = sync.theirs?.count ?? 0;
    sync.mustBegin = false;
    sync.servedMs = this.context.timers.now();
    this.context.counters.syncs++;
    if (sync.isInitial) {
      startOver(peer);
      if (theirCount > 2 * this.context.store.size + FEW) {
        this.bulk = peer;
        this.bulkMs = this.context.timers.now();
      }
    }
    if (this.context.store.size <= FEW || theirCount <= FEW) this.sendEntries(peer, BucketSet.all());
    else {
      sync.awaitsEntriesMs = this.context.timers.now();
      // Copies: in a simulation the peer reads this very object, and the digest goes on changing.
      const { high, low } = this.context.store.digest;
      peer.link.send({ type: MessageType.BUCKETS, high: high.slice(), low: low.slice() });
    }
    this.owner.onBegun();
  }

  private answer(peer: GossipPeer, request: Buckets): void {
    const { sync } = peer;
    sync.request = undefined;
    // Both have begun: the request of the peer replaces the one of this node.
    sync.mustBegin = false;
    const differing = differingBuckets(request, this.context.store.digest);
    const entriesBytes = differing.isEmpty ? 0 : ENTRY_COST_BYTES * this.context.store.size;
    if (!this.context.budget.take(peer, COMPARISON_BYTES + entriesBytes)) return;
    sync.servedMs = this.context.timers.now();
    if (sync.isInitial) startOver(peer);
    if (differing.isEmpty) {
      // Nothing follows.
      for (const message of entriesMessages(differing, [])) peer.link.send(message);
      this.end(peer, true);
      return;
    }
    this.sendEntries(peer, differing);
    this.owner.onBegun();
  }

  private end(peer: GossipPeer, isEqual: boolean): void {
    peer.sync.servedMs = this.context.timers.now();
    this.owner.onCompared(peer, isEqual);
    this.owner.onAnswered(peer);
  }

  private sendEntries(peer: GossipPeer, buckets: BucketSet): void {
    const { sync, link } = peer;
    sync.awaitsWantMs = this.context.timers.now();
    const records = recordsIn(this.context.store, buckets);
    // Records that are newer there, or unknown here, come without being requested by key.
    const theirCount = Math.min(sync.theirs?.count ?? 0, MAX_LACKING);
    const theirShare = buckets.isFull ? theirCount : (UNEVEN * theirCount * buckets.size) / BUCKETS;
    peer.ask(Math.min(theirCount, Math.ceil(theirShare) + records.length), sync.awaitsWantMs);
    for (const message of entriesMessages(buckets, records)) link.send(message);
  }

  private onEntry(peer: GossipPeer, { mentioned, lacking }: Gathering, entry: RecordVersion): void {
    const mine = this.context.store.get(entry.key);
    const order = mine === undefined ? 1 : compareVersions(entry, mine);
    if (mine !== undefined) {
      mentioned.add(entry.key);
      if (order === 0) peer.knows(mine);
      else if (order < 0) this.send(peer, mine);
    }
    if (order <= 0 || peer.isListener || lacking.length >= MAX_LACKING) return;
    const { tombstones, rejected, store, timers, rights, awaited } = this.context;
    if (rights.isBarred(nodeOfKey(entry.key)) || awaited.has(entry)) return;
    if (store.lacks(entry) && tombstones.mayAdmit(entry) && !rejected.has(entry, timers.now())) lacking.push(entry.key);
  }

  private onLastEntry(peer: GossipPeer, { covered, mentioned, lacking }: Gathering): void {
    const { sync, link } = peer;
    const isAnswer = sync.awaitsEntriesMs !== 0;
    sync.gathering = undefined;
    sync.awaitsEntriesMs = 0;
    if (!covered.isEmpty) {
      for (const record of recordsIn(this.context.store, covered)) {
        if (!mentioned.has(record.key)) this.send(peer, record);
      }
    }
    // Records of the peer itself go first: it may wait for them before it publishes its own.
    this.flooding.sendNow(peer, link.peerId);
    sync.awaitsOwn = lacking.some((key) => key.startsWith(this.context.self));
    if (lacking.length > 0) peer.ask(lacking.length, this.context.timers.now());
    sync.wants = lacking;
    if (!link.isBlocked) this.sendWants(peer);
    this.end(peer, isAnswer && covered.isEmpty);
    this.beginWaiting();
  }

  private sendWants({ sync, link }: GossipPeer): void {
    const { wants } = sync;
    sync.wants = undefined;
    if (wants === undefined) return;
    for (const message of wantMessages(wants)) link.send(message);
  }

  private send(peer: GossipPeer, record: MeshRecord): void {
    if (this.context.announces && this.context.budget.take(peer, record.bytes.length))
      this.flooding.offer(peer, record);
  }
}

/** Returns the node of a key: `node id`, or `node id/shard/shards`. */
function nodeOfKey(key: string): NodeId {
  const end = key.indexOf('/');
  return end < 0 ? key : key.slice(0, end);
}

function isLate(sinceMs: number, now: number): boolean {
  return sinceMs !== 0 && now - sinceMs > ANSWER_MS;
}

/** The exchange that begins covers all records, so none of them must be sent beside it. */
function startOver(peer: GossipPeer): void {
  peer.isHeld = false;
  peer.outbox.clear();
}

/** About the bytes of an entry, as counted by the budget. */
const ENTRY_COST_BYTES = 28;

function recordsIn(store: RecordStore, buckets: BucketSet): MeshRecord[] {
  const isAll = buckets.isFull;
  const found: MeshRecord[] = [];
  for (const record of store.records()) {
    if (isAll || buckets.has(bucketOf(record.nodeId))) found.push(record);
  }
  return found;
}

/** Returns at least one message, the last one marked. A record is its own entry. */
function entriesMessages(buckets: BucketSet, records: readonly MeshRecord[]): GossipMessage[] {
  const messages: GossipMessage[] = [];
  for (let at = 0; at === 0 || at < records.length; at += MAX_ENTRIES) {
    const isLast = at + MAX_ENTRIES >= records.length;
    // Only the last message names the buckets: a record that one message leaves out may be in the next.
    const bitmap = isLast ? buckets.bitmap : new Uint8Array(BUCKETS / 8);
    messages.push({ type: MessageType.ENTRIES, isLast, bitmap, entries: records.slice(at, at + MAX_ENTRIES) });
  }
  return messages;
}

/** Returns at least one message, the last one marked. */
function wantMessages(keys: readonly string[]): GossipMessage[] {
  const messages: GossipMessage[] = [];
  for (let at = 0; at === 0 || at < keys.length; at += MAX_WANTED) {
    const isLast = at + MAX_WANTED >= keys.length;
    messages.push({ type: MessageType.WANT, isLast, keys: keys.slice(at, at + MAX_WANTED) });
  }
  return messages;
}

/** The store twice and this burst, then this rate. */
const BYTES_PER_S = 64 * 1024;
const BURST_BYTES = 1024 * 1024;
/** The number of peers that are remembered after their links are gone. */
const MAX_PEERS = 1_024;

/** Rate limit of the answers to each peer: a member that requests everything again and again gets a bounded bandwidth. */
export class AnswerBudget {
  /** By peer and not by link, since new links are cheap. See util/token-bucket.ts. */
  private readonly fullAtMs = new RecentMap<NodeId, number>(MAX_PEERS);

  constructor(
    private readonly timers: Timers,
    /** What can be asked for. */
    private readonly held: { readonly bytes: number },
    private readonly counters: Pick<GossipCounters, 'unanswered'>,
  ) {}

  /** Takes `bytes` from the budget of a peer; false when it is used up. */
  take({ link: { peerId } }: { readonly link: Pick<MeshLink, 'peerId'> }, bytes: number): boolean {
    const rate = { perS: BYTES_PER_S, burst: BURST_BYTES + 2 * this.held.bytes };
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
