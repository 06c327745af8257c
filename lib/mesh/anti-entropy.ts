// Comparing databases with a neighbour, when its link comes up and whenever they differ for a while:
//
//   DIGEST  --->  <--- DIGEST     equal roots: done
//   BUCKETS --->                  by the node with the lower id, if both know much
//           <--- ENTRIES          of the buckets that differ; or by the one that knows little, of all buckets
//   RECORDS --->                  what the other lacks or has an older version of
//   WANT    --->                  keys that this side lacks
//           <--- RECORDS
//   SYNCED  --->  <--- SYNCED     once, when all that there was to tell at link up has been told
//
// Records that come by this way are flooded on like all others.

import type { NodeId } from '../address.js';
import type { Timed, Timer } from '../util/timers.js';
import type { Buckets, Digest, Entries, Want } from '../wire/gossip-messages.js';
import { MessageType } from '../wire/message-envelope.js';
import type { MeshRecord, RecordVersion } from '../wire/records.js';
import { BucketSet, differingBuckets } from './digest-tree.js';
import { ENTRY_COST_BYTES, entriesMessages, recordsIn, wantMessages } from './entries.js';
import type { Flooding } from './flooding.js';
import type { Floors } from './floors.js';
import type { GossipCounters } from './gossip-counters.js';
import type { Gathering, GossipPeer, SyncState } from './gossip-peer.js';
import type { MeshEnvironment } from './mesh-environment.js';
import { RecentMap } from './recent-map.js';
import { RecentRoots } from './recent-roots.js';
import { compareVersions } from './record-order.js';
import type { RecordStore } from './record-store.js';
import { afterTaking, canTake } from './token-bucket.js';

/** A database of so few records is compared as a whole. */
const FEW = 64;
const MAX_EXCHANGES = 4;
const CHECK_MS = 1_000;
/** Without an answer for that long, an exchange is given up. */
const ANSWER_MS = 10_000;
/** How long databases may differ before they are compared: most differences are on their way. */
const GRACE_MS = 3_000;
/** When it is for the peer to begin and it does not. */
const OWN_GRACE_MS = 15_000;
/** Before the next exchange with the same peer, doubled as long as they are in vain. Roots are told more often. */
const PAUSE_MS = 6_000;
const MAX_PAUSE_MS = 60_000;
/** While one neighbour tells a newcomer everything, the others wait for so long at most: they would tell the same. */
const BULK_MS = 3_000;
const MAX_LACKING = 65_536;
/** What a peer may have for asking, again and again: the database once or twice, then that many bytes a second. */
const ANSWER_RATE_BYTES = 64 * 1024;
const ANSWER_BURST_BYTES = 1024 * 1024;
/** Peers whose use of that is remembered when their link is gone. */
const MAX_ANSWERED = 1_024;

export interface AntiEntropyOwner {
  /** The first comparison over a link is done, and what came of it is looked at. */
  onSynced(peer: GossipPeer): void;
}

export class AntiEntropy implements Timed {
  private readonly roots = new RecentRoots();
  private rootHigh = 0;
  private rootLow = 0;
  private timer: Timer | undefined;
  /** Who tells this node nearly everything at the moment, and since when. */
  private bulk: GossipPeer | undefined;
  private bulkMs = 0;
  /** By peer, and not by link: a new link is quickly made. See token-bucket.ts. */
  private readonly answersFullAtMs = new RecentMap<NodeId, number>(MAX_ANSWERED);

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly store: RecordStore,
    private readonly floors: Floors,
    private readonly flooding: Flooding,
    private readonly peers: ReadonlySet<GossipPeer>,
    private readonly counters: GossipCounters,
    private readonly owner: AntiEntropyOwner,
    /** False: this node tells nothing. */
    private readonly tells: boolean,
  ) {}

  onLink(peer: GossipPeer): void {
    peer.sync.upMs = this.now();
    this.sendDigest(peer);
    this.checkLater();
  }

  onUnlink(peer: GossipPeer): void {
    if (this.bulk === peer) this.bulk = undefined;
    this.beginWaiting();
  }

  /** The database has changed. */
  onChange(): void {
    const { rootHigh, rootLow } = this.store.digest;
    this.roots.add(this.rootHigh, this.rootLow, this.now());
    this.rootHigh = rootHigh;
    this.rootLow = rootLow;
    for (const { sync } of this.peers) {
      if (sync.differsMs !== 0 && isRoot(sync.theirs, rootHigh, rootLow)) noteEqual(sync);
    }
  }

  /** Tells every neighbour the root, if it was told another one. To be called every few seconds. */
  tick(): void {
    for (const peer of this.peers) {
      const { sync } = peer;
      if (!sync.isFirst && !isRoot(sync.told, this.store.digest.rootHigh, this.store.digest.rootLow)) {
        this.sendDigest(peer);
      }
    }
  }

  onDigest(peer: GossipPeer, digest: Digest): void {
    const { sync } = peer;
    const isFirstDigest = sync.theirs === undefined;
    sync.theirs = { rootHigh: digest.rootHigh, rootLow: digest.rootLow, count: digest.count };
    const { rootHigh, rootLow } = digest;
    if (isFirstDigest) {
      if (isRoot(sync.told, rootHigh, rootLow)) this.noteTold(peer);
      else if (this.begins(peer, sync.told!.count)) {
        sync.mustBegin = true;
        peer.isHeld = true;
        this.beginWaiting();
      }
      return;
    }
    const isEqual = isRoot(this.store.digest, rootHigh, rootLow) || this.roots.has(rootHigh, rootLow, this.now());
    if (isEqual) noteEqual(sync);
    else if (sync.differsMs === 0) {
      sync.differsMs = this.now();
      this.checkLater();
    }
  }

  onBuckets(peer: GossipPeer, buckets: Buckets): void {
    peer.sync.request = buckets;
    this.beginWaiting();
  }

  onEntries(peer: GossipPeer, message: Entries): void {
    const { sync } = peer;
    // Looking for what is not mentioned takes a walk through everything.
    const scanned = message.entries.length + (message.isLast ? this.store.size : 0);
    if (!this.mayAnswer(peer, ENTRY_COST_BYTES * scanned)) return;
    sync.gathering ??= { covered: new BucketSet(), mentioned: new Set(), lacking: [], sinceMs: 0 };
    sync.gathering.sinceMs = this.now();
    sync.gathering.covered.addAll(message.bitmap);
    for (const entry of message.entries) this.onEntry(peer, sync.gathering, entry);
    if (message.isLast) this.onLastEntry(peer, sync.gathering);
    else this.checkLater();
  }

  onWant(peer: GossipPeer, want: Want): void {
    for (const key of want.keys) {
      const record = this.store.get(key);
      if (record !== undefined) this.tell(peer, record);
    }
    if (!want.isLast || peer.sync.awaitsWantMs === 0) return;
    peer.sync.awaitsWantMs = 0;
    this.noteCompared(peer);
    this.noteTold(peer);
    this.beginWaiting();
  }

  onSynced(peer: GossipPeer): void {
    peer.sync.hasHeardSynced = true;
    this.onLookedAt(peer);
  }

  /** All that has come from the peer so far has been looked at. */
  onLookedAt(peer: GossipPeer): void {
    const { sync } = peer;
    if (sync.isSynced || !sync.hasHeardSynced || sync.isFirst || peer.inbox.size > 0) return;
    sync.isSynced = true;
    if (this.bulk === peer) {
      this.bulk = undefined;
      this.beginWaiting();
    }
    this.owner.onSynced(peer);
  }

  /** Nothing waits to be told to the peer. */
  onTold(peer: GossipPeer): void {
    const { sync } = peer;
    if (sync.isFirst || sync.hasSaidSynced || peer.outbox.size > 0 || !peer.isHere) return;
    sync.hasSaidSynced = true;
    peer.link.send({ type: MessageType.SYNCED });
  }

  /** May the peer have that much for asking? */
  mayAnswer(peer: GossipPeer, bytes: number): boolean {
    const rate = { perS: ANSWER_RATE_BYTES, burst: ANSWER_BURST_BYTES + 2 * this.store.bytes };
    const now = this.now();
    const fullAtMs = this.answersFullAtMs.peek(peer.link.peerId) ?? 0;
    if (!canTake(fullAtMs, now, rate, bytes)) {
      this.counters.unanswered++;
      return false;
    }
    this.answersFullAtMs.set(peer.link.peerId, afterTaking(fullAtMs, now, rate, bytes));
    return true;
  }

  stop(): void {
    if (this.timer !== undefined) this.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    let isWatching = false;
    for (const peer of this.peers) {
      this.check(peer, now);
      isWatching ||= isUnfinished(peer.sync);
    }
    this.beginWaiting();
    this.flooding.settle();
    if (isWatching) this.checkLater();
  }

  private check(peer: GossipPeer, now: number): void {
    const { sync } = peer;
    if (sync.gathering !== undefined && now - sync.gathering.sinceMs > ANSWER_MS) sync.gathering = undefined;
    const sinceMs = Math.max(sync.awaitsEntriesMs, sync.awaitsWantMs);
    if (sinceMs !== 0) {
      if (now - sinceMs > ANSWER_MS) this.giveUp(peer);
    } else if (sync.isFirst) {
      // It is for the peer to begin, and it does not.
      if (!sync.mustBegin && now - sync.upMs > ANSWER_MS) this.noteTold(peer);
    } else if (sync.differsMs !== 0 && now >= sync.notBeforeMs && peer.outbox.size === 0) {
      const graceMs = this.begins(peer, this.store.size) ? GRACE_MS : OWN_GRACE_MS;
      if (now - sync.differsMs > graceMs) sync.mustBegin = true;
    }
  }

  private giveUp(peer: GossipPeer): void {
    peer.sync.awaitsEntriesMs = 0;
    peer.sync.awaitsWantMs = 0;
    this.noteCompared(peer);
    this.noteTold(peer);
  }

  /** Answers and begins what waits, the oldest link first, as long as there are not too many exchanges at once. */
  private beginWaiting(): void {
    let exchanges = 0;
    for (const { sync } of this.peers) exchanges += sync.isExchanging ? 1 : 0;
    for (const peer of this.peers) {
      if (exchanges >= MAX_EXCHANGES) return;
      const { sync } = peer;
      if (!peer.isHere || this.isBulkElsewhere(peer)) continue;
      const wasExchanging = sync.isExchanging;
      // Two that ask each other at the same time both get an answer, or both would wait for one.
      if (sync.request !== undefined && sync.awaitsWantMs === 0) this.answer(peer, sync.request);
      else if (sync.mustBegin && !wasExchanging) this.begin(peer);
      if (sync.isExchanging && !wasExchanging) exchanges++;
    }
  }

  /** Another neighbour is telling this node nearly everything: then there will be less to ask of this one. */
  private isBulkElsewhere(peer: GossipPeer): boolean {
    if (this.bulk === undefined || this.bulk === peer || !peer.sync.isFirst) return false;
    return this.now() - this.bulkMs < BULK_MS;
  }

  private begin(peer: GossipPeer): void {
    const { sync } = peer;
    const theirCount = sync.theirs?.count ?? 0;
    sync.mustBegin = false;
    this.counters.syncs++;
    if (sync.isFirst) {
      this.startOver(peer);
      if (theirCount > 2 * this.store.size + FEW) {
        this.bulk = peer;
        this.bulkMs = this.now();
      }
    }
    if (this.store.size <= FEW || theirCount <= FEW) this.sendEntries(peer, BucketSet.all());
    else {
      sync.awaitsEntriesMs = this.now();
      // Copies: in a simulation the message is what the peer reads, and the tree goes on changing.
      const { high, low } = this.store.digest;
      peer.link.send({ type: MessageType.BUCKETS, high: high.slice(), low: low.slice() });
    }
    this.checkLater();
  }

  private answer(peer: GossipPeer, request: Buckets): void {
    const { sync } = peer;
    sync.request = undefined;
    // Both have begun: the question of the peer is as good as the own one.
    sync.mustBegin = false;
    const differing = differingBuckets(request, this.store.digest);
    if (differing.isEmpty) noteEqual(sync);
    else if (!this.mayAnswer(peer, ENTRY_COST_BYTES * this.store.size)) return;
    if (sync.isFirst) this.startOver(peer);
    this.sendEntries(peer, differing);
    this.checkLater();
  }

  /** The exchange that begins covers all that there is, so nothing of it needs to be told besides. */
  private startOver(peer: GossipPeer): void {
    peer.isHeld = false;
    peer.outbox.clear();
  }

  private sendEntries(peer: GossipPeer, buckets: BucketSet): void {
    const { sync, link } = peer;
    sync.awaitsWantMs = this.now();
    // What is newer there comes without being asked for by name.
    peer.askedFor = Math.max(peer.askedFor, Math.min(sync.theirs?.count ?? 0, MAX_LACKING));
    for (const message of entriesMessages(buckets, recordsIn(this.store, buckets))) link.send(message);
  }

  private onEntry(peer: GossipPeer, { mentioned, lacking }: Gathering, entry: RecordVersion): void {
    const mine = this.store.get(entry.key);
    const order = mine === undefined ? 1 : compareVersions(entry, mine);
    if (mine !== undefined) {
      mentioned.add(entry.key);
      if (order === 0) peer.outbox.cancel(mine);
      else if (order < 0) this.tell(peer, mine);
    }
    if (order <= 0 || peer.isListener || lacking.length >= MAX_LACKING) return;
    if (this.store.lacks(entry) && this.floors.mayAdmit(entry)) lacking.push(entry.key);
  }

  private onLastEntry(peer: GossipPeer, { covered, mentioned, lacking }: Gathering): void {
    const { sync, link } = peer;
    const isAnswer = sync.awaitsEntriesMs !== 0;
    sync.gathering = undefined;
    sync.awaitsEntriesMs = 0;
    if (sync.isFirst && covered.isFull) peer.outbox.clear();
    for (const record of recordsIn(this.store, covered)) {
      if (!mentioned.has(record.key)) this.tell(peer, record);
    }
    peer.askedFor = Math.max(peer.askedFor, lacking.length);
    for (const want of wantMessages(lacking)) link.send(want);
    if (isAnswer && covered.isEmpty) noteEqual(sync);
    else this.noteCompared(peer);
    this.noteTold(peer);
    this.beginWaiting();
  }

  private tell(peer: GossipPeer, record: MeshRecord): void {
    if (this.tells && this.mayAnswer(peer, record.bytes.length)) this.flooding.offer(peer, record);
  }

  /** An exchange is over. Whether the databases are equal now is to be seen; if not, the next one takes its time. */
  private noteCompared({ sync }: GossipPeer): void {
    const now = this.now();
    sync.differsMs = now;
    sync.notBeforeMs = now + Math.min(PAUSE_MS * 2 ** Math.min(sync.vain++, 10), MAX_PAUSE_MS);
    this.checkLater();
  }

  /** All that there was to tell at link up has been told, or is in the box. */
  private noteTold(peer: GossipPeer): void {
    if (!peer.sync.isFirst) return;
    peer.sync.isFirst = false;
    peer.isHeld = false;
    this.flooding.resume(peer);
    this.onTold(peer);
    this.onLookedAt(peer);
  }

  /** Who begins, when both go by the same numbers: the one that knows little, else the lower id. */
  private begins({ sync, link }: GossipPeer, count: number): boolean {
    const theirCount = sync.theirs?.count ?? 0;
    if (count !== theirCount && Math.min(count, theirCount) <= FEW) return count < theirCount;
    return this.environment.identity.nodeId < link.peerId;
  }

  private sendDigest(peer: GossipPeer): void {
    const { rootHigh, rootLow } = this.store.digest;
    peer.sync.told = { rootHigh, rootLow, count: this.store.size };
    peer.link.send({ type: MessageType.DIGEST, ...peer.sync.told });
  }

  private checkLater(): void {
    this.timer ??= this.environment.timers.schedule(CHECK_MS, this);
  }

  private now(): number {
    return this.environment.timers.now();
  }
}

function isRoot(digest: Pick<Digest, 'rootHigh' | 'rootLow'> | undefined, high: number, low: number): boolean {
  return digest !== undefined && digest.rootHigh === high && digest.rootLow === low;
}

function noteEqual(sync: SyncState): void {
  sync.differsMs = 0;
  sync.vain = 0;
}

function isUnfinished(sync: SyncState): boolean {
  const isWaiting = sync.mustBegin || sync.request !== undefined || sync.gathering !== undefined;
  return sync.isFirst || sync.isExchanging || sync.differsMs !== 0 || isWaiting;
}
