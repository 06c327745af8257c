// Finding out whether a neighbour knows the same: by a root of 8 bytes when the link comes up, and again whenever it has
// changed. Databases that differ for longer than records take on their way are compared, see exchange.ts. And the end of
// the beginning: SYNCED says that all there was to tell at link up has been told.

import type { NodeId } from '../../address.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Digest } from '../../wire/gossip-messages.js';
import { MessageType } from '../../wire/message.js';
import type { Flooding } from '../gossip/flooding.js';
import type { GossipPeer, SyncState } from '../gossip/peer.js';
import type { RecordStore } from '../records/store.js';
import { ANSWER_MS, type Exchange, FEW } from './exchange.js';
import { RecentRoots } from './recent-roots.js';

const CHECK_MS = 1_000;
/** How long databases may differ before they are compared: most differences are on their way. */
const GRACE_MS = 3_000;
/** A peer that has not told another root for that long still has the one that it told. */
const UNCHANGED_MS = 6_000;
/** When it is for the peer to begin and it does not. */
const OWN_GRACE_MS = 15_000;
/** Before the next exchange with the same peer, doubled as long as they are in vain. Roots are told more often. */
const PAUSE_MS = 6_000;
const MAX_PAUSE_MS = 60_000;

export interface AntiEntropyOwner {
  /** What the peer knows of this node, from an earlier run perhaps, has been heard. */
  onHeard(): void;
  /** All that the peer had to tell when the link came up has been looked at, and it has been told all. */
  onSynced(peer: GossipPeer): void;
}

export class AntiEntropy implements Timed {
  private readonly roots = new RecentRoots();
  private rootHigh = 0;
  private rootLow = 0;
  private timer: Timer | undefined;
  /** This node has not said anything about itself yet, and cannot have told all. */
  private isListening = true;
  /** Set once, before anything else: each needs the other. */
  exchange!: Exchange;

  constructor(
    private readonly self: NodeId,
    private readonly timers: Timers,
    private readonly store: RecordStore,
    private readonly flooding: Flooding,
    private readonly peers: ReadonlySet<GossipPeer>,
    private readonly owner: AntiEntropyOwner,
  ) {}

  onLink(peer: GossipPeer): void {
    peer.sync.upMs = this.timers.now();
    peer.sync.servedMs = peer.sync.upMs;
    this.sendDigest(peer);
    this.checkLater();
  }

  /** The database has changed. */
  onChange(): void {
    const { rootHigh, rootLow } = this.store.digest;
    this.roots.add(this.rootHigh, this.rootLow, this.timers.now());
    this.rootHigh = rootHigh;
    this.rootLow = rootLow;
    for (const { sync } of this.peers) {
      if (sync.differsMs !== 0 && isRoot(sync.theirs, rootHigh, rootLow)) noteEqual(sync);
    }
  }

  /** Tells every neighbour the root, if it was told another one. To be called every few seconds. */
  tick(): void {
    const { rootHigh, rootLow } = this.store.digest;
    for (const peer of this.peers) {
      if (!peer.sync.isFirst && !peer.link.isBlocked && !isRoot(peer.sync.told, rootHigh, rootLow))
        this.sendDigest(peer);
    }
  }

  onDigest(peer: GossipPeer, { rootHigh, rootLow, count }: Digest): void {
    const { sync } = peer;
    const isFirstOne = sync.theirs === undefined;
    sync.theirs = { rootHigh, rootLow, count };
    if (isFirstOne) {
      this.onFirstDigest(peer, isRoot(sync.told, rootHigh, rootLow));
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
    peer.sync.hasHeardSynced = true;
    peer.sync.awaitsOwn = false;
    this.onLookedAt(peer);
  }

  /** All that has come from the peer so far has been looked at. */
  onLookedAt(peer: GossipPeer): void {
    const { sync } = peer;
    if (sync.isFirst || peer.inbox.size > 0) return;
    if (this.isListening && !sync.awaitsOwn) this.owner.onHeard();
    if (sync.isSynced || !sync.hasHeardSynced) return;
    sync.isSynced = true;
    this.exchange.onSynced(peer);
    this.owner.onSynced(peer);
  }

  /** This node has said about itself what there is to say, or never will. */
  endListening(): void {
    if (!this.isListening) return;
    this.isListening = false;
    for (const peer of this.peers) this.onTold(peer);
  }

  /** Nothing waits to be told to the peer. */
  onTold(peer: GossipPeer): void {
    const { sync } = peer;
    if (this.isListening || sync.isFirst || sync.hasSaidSynced || peer.outbox.size > 0 || !peer.isHere) return;
    sync.hasSaidSynced = true;
    peer.link.send({ type: MessageType.SYNCED });
  }

  onCompared({ sync }: GossipPeer, isEqual: boolean): void {
    if (isEqual) {
      noteEqual(sync);
      return;
    }
    // Whether they are equal now is to be seen; if not, the next exchange takes its time.
    const now = this.timers.now();
    sync.differsMs = now;
    sync.isConfirmed = false;
    sync.notBeforeMs = now + Math.min(PAUSE_MS * 2 ** Math.min(sync.vain++, 10), MAX_PAUSE_MS);
    this.checkLater();
  }

  onAnswered(peer: GossipPeer): void {
    if (!peer.sync.isFirst) return;
    peer.sync.isFirst = false;
    peer.isHeld = false;
    this.flooding.resume(peer);
    this.onLookedAt(peer);
    this.onTold(peer);
  }

  onBegun(): void {
    this.checkLater();
  }

  stop(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.timer = undefined;
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
    else if (this.begins(peer, sync.told?.count ?? this.store.size)) {
      sync.mustBegin = true;
      peer.isHeld = sync.isFirst;
      this.exchange.beginWaiting();
    }
  }

  private check(peer: GossipPeer, now: number): void {
    const { sync } = peer;
    if (sync.isExchanging) return;
    if (sync.isFirst) {
      // Others may be before it for long, or it takes nothing: what is new is told nevertheless.
      if (now - sync.upMs > ANSWER_MS) this.endWaiting(peer);
    } else if (sync.differsMs !== 0 && now >= sync.notBeforeMs && !peer.hasNews) {
      const differedMs = now - sync.differsMs;
      const isSure = sync.isConfirmed || differedMs > UNCHANGED_MS;
      if (isSure && (this.begins(peer, this.store.size) || differedMs > OWN_GRACE_MS)) sync.mustBegin = true;
    }
  }

  /** Nobody has begun; perhaps the peer was not listening yet when it was told the root. */
  private endWaiting(peer: GossipPeer): void {
    const { sync } = peer;
    if (sync.theirs !== undefined) sync.differsMs = this.timers.now();
    sync.told = undefined;
    this.onAnswered(peer);
  }

  /** Who begins, when both go by the same numbers: the one that knows little, else the lower id. */
  private begins({ sync, link }: GossipPeer, count: number): boolean {
    const theirCount = sync.theirs?.count ?? 0;
    if (count !== theirCount && Math.min(count, theirCount) <= FEW) return count < theirCount;
    return this.self < link.peerId;
  }

  private sendDigest(peer: GossipPeer): void {
    const { rootHigh, rootLow } = this.store.digest;
    peer.sync.told = { rootHigh, rootLow, count: this.store.size };
    peer.link.send({ type: MessageType.DIGEST, ...peer.sync.told });
  }

  private checkLater(): void {
    if (this.peers.size > 0) this.timer ??= this.timers.schedule(CHECK_MS, this);
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
  return sync.isFirst || sync.isExchanging || sync.differsMs !== 0 || isWaiting;
}
