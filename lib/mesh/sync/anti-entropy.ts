// Finds out whether a neighbour has the same records: each sends a root of 8 bytes when the link comes up, and again when
// it has changed. Stores that differ for longer than records take on their way are compared, see exchange.ts. SYNCED marks
// the end of the initial sync: everything that a node had at link up has been sent.

import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';
import type { Digest } from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { Flooding } from '../gossip/flooding.js';
import type { GossipContext } from '../gossip/gossip.js';
import type { GossipPeer, SyncState } from '../gossip/peer.js';
import type { RecordStore } from '../records/store.js';
import { ANSWER_MS, Exchange, FEW } from './exchange.js';

const CHECK_MS = 1_000;
/** How long stores may differ before they are compared: most differences are records on their way. */
const GRACE_MS = 3_000;
/** A peer that has not sent another root for this long still has the last one. */
const UNCHANGED_MS = 6_000;
/** After this time this node begins, although the peer should. */
const OWN_GRACE_MS = 15_000;
/** The pause before the next exchange with the same peer, doubled while exchanges are in vain. Roots are sent more often. */
const PAUSE_MS = 6_000;
const MAX_PAUSE_MS = 60_000;

interface AntiEntropyOwner {
  /** Called when the records of this node that the peer may have, of an earlier run for example, have been processed. */
  onOwnRecordsReceived(): void;
  /** Called when all that the peer had at link up has been processed. */
  onSynced(peer: GossipPeer): void;
}

export class AntiEntropy {
  private readonly roots = new RecentRoots();
  private rootHigh = 0;
  private rootLow = 0;
  private readonly deadline: Deadline;
  /** This node has not published its own records yet, so it cannot have sent everything. */
  private isListening = true;
  /** Compares two stores. */
  readonly exchange: Exchange;
  private readonly timers: Timers;
  private readonly store: RecordStore;
  private readonly peers: ReadonlySet<GossipPeer>;

  constructor(
    private readonly context: GossipContext,
    private readonly flooding: Flooding,
    private readonly owner: AntiEntropyOwner,
  ) {
    this.timers = context.timers;
    this.deadline = new Deadline(context.timers, (now) => this.checkAll(now));
    this.store = context.store;
    this.peers = context.peers;
    this.exchange = new Exchange(context, flooding, this);
  }

  onLink(peer: GossipPeer): void {
    peer.sync.upMs = this.timers.now();
    peer.sync.servedMs = peer.sync.upMs;
    this.sendDigest(peer);
    this.checkLater();
  }

  /** Called when the store has changed. */
  onChange(): void {
    const { rootHigh, rootLow } = this.store.digest;
    this.roots.add(this.rootHigh, this.rootLow, this.timers.now());
    this.rootHigh = rootHigh;
    this.rootLow = rootLow;
    for (const { sync } of this.peers) {
      if (sync.differsMs !== 0 && isRoot(sync.theirs, rootHigh, rootLow)) noteEqual(sync);
    }
  }

  /** Sends the root to every neighbour that was sent another one. Called every few seconds. */
  tick(): void {
    const { rootHigh, rootLow } = this.store.digest;
    for (const peer of this.peers) {
      if (!peer.sync.isInitial && !peer.link.isBlocked && !isRoot(peer.sync.ours, rootHigh, rootLow))
        this.sendDigest(peer);
    }
  }

  onDigest(peer: GossipPeer, { rootHigh, rootLow, count }: Digest): void {
    const { sync } = peer;
    const isFirstOne = sync.theirs === undefined;
    sync.theirs = { rootHigh, rootLow, count };
    if (isFirstOne) {
      this.onFirstDigest(peer, isRoot(sync.ours, rootHigh, rootLow));
      return;
    }
    const isEqual =
      isRoot(this.store.digest, rootHigh, rootLow) || this.roots.has(rootHigh, rootLow, this.timers.now());
    if (isEqual) noteEqual(sync);
    else if (sync.differsMs === 0) {
      sync.differsMs = this.timers.now();
      this.checkLater();
    } else if (this.timers.now() - sync.differsMs > GRACE_MS) sync.isConfirmed = true;
  }

  onSynced(peer: GossipPeer): void {
    peer.sync.hasReceivedSynced = true;
    peer.sync.awaitsOwn = false;
    this.onProcessed(peer);
  }

  /** Called when all that has arrived from the peer so far has been processed. */
  onProcessed(peer: GossipPeer): void {
    const { sync } = peer;
    if (sync.isInitial || peer.inbox.size > 0 || this.context.statements.isChecking(peer.link)) return;
    if (this.isListening && !sync.awaitsOwn) this.owner.onOwnRecordsReceived();
    if (sync.isSynced || !sync.hasReceivedSynced) return;
    sync.isSynced = true;
    this.exchange.onSynced(peer);
    this.owner.onSynced(peer);
  }

  /** Called when this node has published its own records, or never will. */
  endListening(): void {
    if (!this.isListening) return;
    this.isListening = false;
    for (const peer of this.peers) this.onOutboxEmpty(peer);
  }

  /** Called when nothing waits to be sent to the peer. */
  onOutboxEmpty(peer: GossipPeer): void {
    const { sync } = peer;
    if (this.isListening || sync.isInitial || sync.hasSentSynced || peer.outbox.size > 0 || !peer.isActive) return;
    if (this.context.statements.goesAhead(peer.link)) return;
    sync.hasSentSynced = true;
    peer.link.send({ type: MessageType.SYNCED });
  }

  /** Called when an exchange has ended. `isEqual`: there was nothing to exchange. */
  onCompared({ sync }: GossipPeer, isEqual: boolean): void {
    if (isEqual) {
      noteEqual(sync);
      return;
    }
    // They may be equal now. If not, the next exchange waits.
    const now = this.timers.now();
    sync.differsMs = now;
    sync.isConfirmed = false;
    sync.notBeforeMs = now + Math.min(PAUSE_MS * 2 ** Math.min(sync.vain++, 10), MAX_PAUSE_MS);
    this.checkLater();
  }

  /** Called when all records for the peer are sent or in its outbox, and those of the peer are on their way. */
  onAnswered(peer: GossipPeer): void {
    if (!peer.sync.isInitial) return;
    peer.sync.isInitial = false;
    peer.isHeld = false;
    this.flooding.resume(peer);
    this.onProcessed(peer);
    this.onOutboxEmpty(peer);
  }

  /** Called when an exchange is under way, so that a timer ends it if the peer does not. */
  onBegun(): void {
    this.checkLater();
  }

  dispose(): void {
    this.deadline.clear();
  }

  private checkAll(now: number): void {
    let isWatching = false;
    for (const peer of this.peers) {
      this.exchange.check(peer, now);
      this.check(peer, now);
      isWatching ||= isUnfinished(peer.sync);
    }
    this.exchange.beginWaiting();
    this.flooding.settle();
    if (isWatching) this.checkLater();
  }

  private onFirstDigest(peer: GossipPeer, isEqual: boolean): void {
    const { sync } = peer;
    if (isEqual) this.onAnswered(peer);
    else if (this.begins(peer, sync.ours?.count ?? this.store.size)) {
      sync.mustBegin = true;
      peer.isHeld = sync.isInitial;
      this.exchange.beginWaiting();
    }
  }

  private check(peer: GossipPeer, now: number): void {
    const { sync } = peer;
    if (sync.isExchanging) return;
    if (sync.isInitial) {
      // Other peers may come first for long, or this one accepts nothing: new records are sent nevertheless.
      if (now - sync.upMs > ANSWER_MS) this.endWaiting(peer);
    } else if (sync.differsMs !== 0 && now >= sync.notBeforeMs && !peer.hasPending) {
      const differedMs = now - sync.differsMs;
      const isSure = sync.isConfirmed || differedMs > UNCHANGED_MS;
      if (isSure && (this.begins(peer, this.store.size) || differedMs > OWN_GRACE_MS)) sync.mustBegin = true;
    }
  }

  /** Neither side has begun; perhaps the peer was not ready when the root arrived. */
  private endWaiting(peer: GossipPeer): void {
    const { sync } = peer;
    if (sync.theirs !== undefined) sync.differsMs = this.timers.now();
    sync.ours = undefined;
    this.onAnswered(peer);
  }

  /** Whether this node begins: the one with few records does, else the one with the lower id. Both sides decide by the same numbers. */
  private begins({ sync, link }: GossipPeer, count: number): boolean {
    const theirCount = sync.theirs?.count ?? 0;
    if (count !== theirCount && Math.min(count, theirCount) <= FEW) return count < theirCount;
    return this.context.self < link.peerId;
  }

  private sendDigest(peer: GossipPeer): void {
    const { rootHigh, rootLow } = this.store.digest;
    peer.sync.ours = { rootHigh, rootLow, count: this.store.size };
    peer.link.send({ type: MessageType.DIGEST, ...peer.sync.ours });
  }

  private checkLater(): void {
    if (this.peers.size > 0 && !this.deadline.isSet) this.deadline.set(CHECK_MS);
  }
}

function isRoot(digest: Pick<Digest, 'rootHigh' | 'rootLow'> | undefined, high: number, low: number): boolean {
  return digest !== undefined && digest.rootHigh === high && digest.rootLow === low;
}

function noteEqual(sync: SyncState): void {
  sync.differsMs = 0;
  sync.isConfirmed = false;
  sync.vain = 0;
}

function isUnfinished(sync: SyncState): boolean {
  const isWaiting = sync.mustBegin || sync.request !== undefined || sync.gathering !== undefined;
  return sync.isInitial || sync.isExchanging || sync.differsMs !== 0 || isWaiting;
}

/** Longer than a record takes to a neighbour. */
const RECENT_MS = 2_000;
const MAX_ROOTS = 64;

/** Recent roots of the store. A peer that sends one of them does not differ: the newest records are on their way to it. */
class RecentRoots {
  private readonly high = new Uint32Array(MAX_ROOTS);
  private readonly low = new Uint32Array(MAX_ROOTS);
  private readonly untilMs = new Float64Array(MAX_ROOTS);
  private next = 0;

  /** Called with a root that has just changed. */
  add(high: number, low: number, now: number): void {
    this.high[this.next] = high;
    this.low[this.next] = low;
    this.untilMs[this.next] = now + RECENT_MS;
    this.next = (this.next + 1) % MAX_ROOTS;
  }

  has(high: number, low: number, now: number): boolean {
    for (let index = 0; index < MAX_ROOTS; index++) {
      if (this.high[index] === high && this.low[index] === low && this.untilMs[index] > now) return true;
    }
    return false;
  }
}
