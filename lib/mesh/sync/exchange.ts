// One comparison of two databases, as far as it takes more than a root:
//
//   BUCKETS --->                  by the node with the lower id, if both know much
//           <--- ENTRIES          of the buckets that differ; or by the one that knows little, of all buckets
//   RECORDS --->                  what the other lacks or has an older version of
//   WANT    --->                  keys that this side lacks
//           <--- RECORDS
//
// When one begins is decided in anti-entropy.ts. Here: how it goes, how many go on at once, and what they may cost.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import { BUCKETS, type Buckets, type Entries, type Want } from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { MeshRecord, RecordVersion } from '../../wire/records.js';
import type { Floors } from '../admission/floors.js';
import type { Refusals } from '../admission/refusals.js';
import type { GossipCounters } from '../gossip/counters.js';
import type { Flooding } from '../gossip/flooding.js';
import type { Gathering, GossipPeer } from '../gossip/peer.js';
import { compareVersions } from '../records/order.js';
import type { RecordStore } from '../records/store.js';
import type { AnswerBudget } from './answer-budget.js';
import { BucketSet, differingBuckets } from './digest-tree.js';
import { ENTRY_COST_BYTES, entriesMessages, recordsIn, wantMessages } from './entries.js';

/** A database of so few records is compared as a whole. */
export const FEW = 64;
const MAX_EXCHANGES = 4;
/** Without an answer for that long, an exchange is given up. */
export const ANSWER_MS = 10_000;
/** While one neighbour tells a newcomer everything, the others wait for so long at most: they would tell the same. */
const BULK_MS = 3_000;
const MAX_LACKING = 65_536;
/** A bucket may hold so many times as much as another: a node may have many records. */
const UNEVEN = 4;
/** What it costs to compare all buckets. */
const COMPARISON_BYTES = 2_048;

export interface ExchangeOwner {
  /** It is over. `isEqual`: there was nothing to exchange. */
  onCompared(peer: GossipPeer, isEqual: boolean): void;
  /** What there was to tell the peer has been told, or is in its box. What the peer had to tell is on its way. */
  onAnswered(peer: GossipPeer): void;
  /** An exchange is under way: somebody has to see to it that it ends. */
  onBegun(): void;
}

export interface ExchangeParts {
  readonly self: NodeId;
  readonly timers: Timers;
  readonly store: RecordStore;
  readonly floors: Floors;
  readonly refusals: Refusals;
  readonly flooding: Flooding;
  readonly budget: AnswerBudget;
  readonly counters: GossipCounters;
  readonly peers: ReadonlySet<GossipPeer>;
  /** False: this node tells nothing. */
  readonly tells: boolean;
}

export class Exchange {
  /** Who tells this node nearly everything at the moment, and since when. */
  private bulk: GossipPeer | undefined;
  private bulkMs = 0;

  constructor(
    private readonly parts: ExchangeParts,
    private readonly owner: ExchangeOwner,
  ) {}

  /**
   * Answers and begins what waits, as long as there are not too many exchanges at once. The peer whose last one is longest
   * ago comes first: in the order of their links, the first few could keep the others waiting for ever.
   */
  beginWaiting(): void {
    let exchanges = 0;
    const waiting: GossipPeer[] = [];
    for (const peer of this.parts.peers) {
      const { sync } = peer;
      exchanges += sync.isExchanging ? 1 : 0;
      if (sync.request !== undefined || sync.mustBegin) waiting.push(peer);
    }
    waiting.sort((a, b) => a.sync.servedMs - b.sync.servedMs);
    for (const peer of waiting) {
      const { sync } = peer;
      // A peer that takes nothing gets no answers either: they would pile up.
      if (!peer.isHere || peer.link.isBlocked || this.isBulkElsewhere(peer)) continue;
      const wasExchanging = sync.isExchanging;
      if (!wasExchanging && exchanges >= MAX_EXCHANGES) continue;
      // Two that ask each other at the same time both get an answer, or both would wait for one.
      if (sync.request !== undefined && sync.awaitsWantMs === 0) this.answer(peer, sync.request);
      else if (sync.mustBegin && !wasExchanging) this.begin(peer);
      if (sync.isExchanging && !wasExchanging) exchanges++;
    }
  }

  onBuckets(peer: GossipPeer, buckets: Buckets): void {
    const isEqual = differingBuckets(buckets, this.parts.store.digest).isEmpty;
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
    // Looking for what is not mentioned takes a walk through everything.
    const scanned = message.entries.length + (message.isLast ? this.parts.store.size : 0);
    if (!this.parts.budget.take(peer, ENTRY_COST_BYTES * scanned)) return;
    sync.gathering ??= { covered: new BucketSet(), mentioned: new Set(), lacking: [], sinceMs: 0 };
    sync.gathering.sinceMs = this.parts.timers.now();
    sync.gathering.covered.addAll(message.bitmap);
    for (const entry of message.entries) this.onEntry(peer, sync.gathering, entry);
    if (message.isLast) this.onLastEntry(peer, sync.gathering);
    else this.owner.onBegun();
  }

  onWant(peer: GossipPeer, want: Want): void {
    for (const key of want.keys) {
      const record = this.parts.store.get(key);
      if (record !== undefined) this.tell(peer, record);
    }
    if (!want.isLast || peer.sync.awaitsWantMs === 0) return;
    peer.sync.awaitsWantMs = 0;
    this.end(peer, false);
    this.beginWaiting();
  }

  /** The peer takes messages again. */
  onDrain(peer: GossipPeer): void {
    if (peer.sync.wants !== undefined) this.sendWants(peer);
    if (peer.sync.request !== undefined || peer.sync.mustBegin) this.beginWaiting();
  }

  /** All that the peer had to tell has been looked at. */
  onSynced(peer: GossipPeer): void {
    if (this.bulk !== peer) return;
    this.bulk = undefined;
    this.beginWaiting();
  }

  onUnlink(peer: GossipPeer): void {
    if (this.bulk === peer) this.bulk = undefined;
    this.beginWaiting();
  }

  /** Gives up what the peer does not answer. */
  check(peer: GossipPeer, now: number): void {
    const { sync } = peer;
    if (sync.gathering !== undefined && now - sync.gathering.sinceMs > ANSWER_MS) sync.gathering = undefined;
    // Each by itself: one that is answered again and again must not hold the place of the other.
    const isUnanswered = isLate(sync.awaitsEntriesMs, now);
    const isUnwanted = isLate(sync.awaitsWantMs, now);
    if (isUnanswered) sync.awaitsEntriesMs = 0;
    if (isUnwanted) sync.awaitsWantMs = 0;
    if (!isUnanswered && !isUnwanted) return;
    peer.forgetAsked();
    this.end(peer, false);
  }

  /** Another neighbour is telling this node nearly everything: then there will be less to ask of this one. */
  private isBulkElsewhere(peer: GossipPeer): boolean {
    if (this.bulk === undefined || this.bulk === peer || !peer.sync.isFirst) return false;
    return this.parts.timers.now() - this.bulkMs < BULK_MS;
  }

  private begin(peer: GossipPeer): void {
    const { sync } = peer;
    const theirCount = sync.theirs?.count ?? 0;
    sync.mustBegin = false;
    sync.servedMs = this.parts.timers.now();
    this.parts.counters.syncs++;
    if (sync.isFirst) {
      startOver(peer);
      if (theirCount > 2 * this.parts.store.size + FEW) {
        this.bulk = peer;
        this.bulkMs = this.parts.timers.now();
      }
    }
    if (this.parts.store.size <= FEW || theirCount <= FEW) this.sendEntries(peer, BucketSet.all());
    else {
      sync.awaitsEntriesMs = this.parts.timers.now();
      // Copies: in a simulation the message is what the peer reads, and the tree goes on changing.
      const { high, low } = this.parts.store.digest;
      peer.link.send({ type: MessageType.BUCKETS, high: high.slice(), low: low.slice() });
    }
    this.owner.onBegun();
  }

  private answer(peer: GossipPeer, request: Buckets): void {
    const { sync } = peer;
    sync.request = undefined;
    // Both have begun: the question of the peer is as good as the own one.
    sync.mustBegin = false;
    const differing = differingBuckets(request, this.parts.store.digest);
    const entriesBytes = differing.isEmpty ? 0 : ENTRY_COST_BYTES * this.parts.store.size;
    if (!this.parts.budget.take(peer, COMPARISON_BYTES + entriesBytes)) return;
    sync.servedMs = this.parts.timers.now();
    if (sync.isFirst) startOver(peer);
    if (differing.isEmpty) {
      // Nothing follows, so there is nothing to wait for.
      for (const message of entriesMessages(differing, [])) peer.link.send(message);
      this.end(peer, true);
      return;
    }
    this.sendEntries(peer, differing);
    this.owner.onBegun();
  }

  private end(peer: GossipPeer, isEqual: boolean): void {
    peer.sync.servedMs = this.parts.timers.now();
    this.owner.onCompared(peer, isEqual);
    this.owner.onAnswered(peer);
  }

  private sendEntries(peer: GossipPeer, buckets: BucketSet): void {
    const { sync, link } = peer;
    sync.awaitsWantMs = this.parts.timers.now();
    const records = recordsIn(this.parts.store, buckets);
    // What is newer there comes without being asked for by name, and what is not known here.
    const theirCount = Math.min(sync.theirs?.count ?? 0, MAX_LACKING);
    const theirShare = buckets.isFull ? theirCount : (UNEVEN * theirCount * buckets.size) / BUCKETS;
    peer.ask(Math.min(theirCount, Math.ceil(theirShare) + records.length), sync.awaitsWantMs);
    for (const message of entriesMessages(buckets, records)) link.send(message);
  }

  private onEntry(peer: GossipPeer, { mentioned, lacking }: Gathering, entry: RecordVersion): void {
    const mine = this.parts.store.get(entry.key);
    const order = mine === undefined ? 1 : compareVersions(entry, mine);
    if (mine !== undefined) {
      mentioned.add(entry.key);
      if (order === 0) peer.knows(mine);
      else if (order < 0) this.tell(peer, mine);
    }
    if (order <= 0 || peer.isListener || lacking.length >= MAX_LACKING) return;
    const { floors, refusals, store, timers } = this.parts;
    if (store.lacks(entry) && floors.mayAdmit(entry) && !refusals.has(entry, timers.now())) lacking.push(entry.key);
  }

  private onLastEntry(peer: GossipPeer, { covered, mentioned, lacking }: Gathering): void {
    const { sync, link } = peer;
    const isAnswer = sync.awaitsEntriesMs !== 0;
    sync.gathering = undefined;
    sync.awaitsEntriesMs = 0;
    if (!covered.isEmpty) {
      for (const record of recordsIn(this.parts.store, covered)) {
        if (!mentioned.has(record.key)) this.tell(peer, record);
      }
    }
    // What is known of the peer itself goes ahead: it may wait for that before it says anything about itself.
    this.parts.flooding.sendNow(peer, link.peerId);
    sync.awaitsOwn = lacking.some((key) => key.startsWith(this.parts.self));
    if (lacking.length > 0) peer.ask(lacking.length, this.parts.timers.now());
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

  private tell(peer: GossipPeer, record: MeshRecord): void {
    if (this.parts.tells && this.parts.budget.take(peer, record.bytes.length)) this.parts.flooding.offer(peer, record);
  }
}

function isLate(sinceMs: number, now: number): boolean {
  return sinceMs !== 0 && now - sinceMs > ANSWER_MS;
}

/** The exchange that begins covers all that there is, so nothing of it needs to be told besides. */
function startOver(peer: GossipPeer): void {
  peer.isHeld = false;
  peer.outbox.clear();
}
