// One participant of a broadcast, without circuits and clocks: Plumtree (Leitao, Pereira, Rodrigues: "Epidemic Broadcast Trees", SRDS 2007).
// Messages go to the eager neighbours of a tree at once, and to lazy ones as announcements. A participant that gets a message twice prunes the
// second path. A participant that waits in vain for an announced message asks for it, which makes that path eager: so the tree repairs itself.
//
//   new message ──> deliver in order ──> GOSSIP to eager neighbours, IHAVE to lazy ones
//   duplicate   ──> PRUNE: the neighbour is lazy
//   IHAVE of what is missing ──graftMs──> GRAFT: the neighbour is eager, and answers with the message

import { TokenBucket } from '../../../util/token-bucket.js';
import {
  type Announcement,
  type CounterRange,
  type Format,
  type Frame,
  type Gossip,
  MAX_ENTRIES,
  MAX_RANGE,
  MAX_RANGES,
  type OriginKey,
  type OriginSummary,
  type Summary,
} from '../frames.js';
import { type Kept, keyOf, RepairCache } from './cache.js';
import { type Edges, Trees } from './edges.js';
import type { TreeLimits } from './limits.js';
import { MissingMessages } from './missing.js';
import { type Origin, Origins } from './origins.js';

const MAX_HOPS = 255;
const MAX_HELD_MS = 65_535;
/** What a neighbour has shown to have is asked for at once, but two that come up together are not asked for the same. */
const FETCH_MS = 20;
/** How much longer than usual a message may take to come by itself. With what follows, a repair stays within a second. */
const MOST_GRAFT = 3;

/** What a tree needs of the participant that it belongs to. */
export interface TreeHost {
  /** Milliseconds since any fixed moment. */
  now(): number;
  send(peer: string, frame: Frame): void;
  /** Whether so much waits for the neighbour that it gets announcements instead of messages. */
  isSlow(peer: string): boolean;
  /** Called once for each message of others, in order for each origin. */
  deliver(message: Gossip): void;
  /** `count` messages of an origin, from that number on, will not come any more. */
  gap(origin: OriginKey, from: number, count: number): void;
  /** Called once: this participant knows where the origins are, and misses nothing that is sent from now on. */
  established(): void;
  /** Asks for a call of {@link BroadcastTree.onTime} after `delayMs`; it is only called to make that call earlier. */
  wake(delayMs: number): void;
}

interface Peer {
  readonly id: string;
  /** Without the messages: those of a neighbour that takes nothing must not keep them in memory. */
  announcements: Array<Omit<Announcement, 'heldMs'> & { readonly atMs: number }>;
  flushAtMs: number;
  /** What it has asked for and gets when it takes something again, by the key of the message. */
  readonly owed: Map<string, { readonly origin: OriginKey; readonly counter: number; readonly eager: boolean }>;
  /** Announcements were dropped: the neighbour shall compare. */
  needsSummary: boolean;
  readonly origins: TokenBucket;
}

export interface TreeCounts {
  sent: number;
  delivered: number;
  /** Messages that came again. */
  duplicates: number;
  /** Messages that came as answers and left the tree as it was. */
  repaired: number;
  grafts: number;
  prunes: number;
  /** Messages that were given up. */
  lost: number;
}

export class BroadcastTree {
  readonly counts: TreeCounts = {
    sent: 0,
    delivered: 0,
    duplicates: 0,
    repaired: 0,
    grafts: 0,
    prunes: 0,
    lost: 0,
  };
  private readonly peers = new Map<string, Peer>();
  private readonly origins: Origins;
  private readonly trees: Trees;
  private readonly cache: RepairCache;
  private readonly missing: MissingMessages;
  private readonly blocked = new Set<Origin>();
  private heldBytes = 0;
  private graftMs: number;
  private counter = 0;
  private established = false;
  private joinByMs = Number.POSITIVE_INFINITY;
  private compareAtMs = Number.POSITIVE_INFINITY;
  private wakeAtMs = Number.POSITIVE_INFINITY;
  /** Origins of which something has come since the last comparison. */
  private readonly recent = new Set<Origin>();

  constructor(
    /** This run of this participant. */
    private readonly self: OriginKey,
    private readonly limits: TreeLimits,
    private readonly host: TreeHost,
  ) {
    this.origins = new Origins(limits.maxOrigins, (origin) => this.onForgotten(origin));
    this.trees = new Trees(limits.maxOrigins);
    this.cache = new RepairCache(limits.cacheMessages, limits.cacheBytes);
    this.missing = new MissingMessages(limits.maxMissing);
    this.graftMs = limits.graftMs;
  }

  /** Whether this participant has learned from others where the origins are. */
  get isEstablished(): boolean {
    return this.established;
  }

  get peerCount(): number {
    return this.peers.size;
  }

  get originCount(): number {
    return this.origins.size;
  }

  /** Returns how many neighbours are eager in the shared tree. */
  eagerCount(): number {
    let count = 0;
    for (const peer of this.peers.keys()) if (this.trees.shared.isEager(peer)) count++;
    return count;
  }

  /** Sends a message to all others. */
  publish(format: Format, payload: Uint8Array): void {
    const counter = ++this.counter;
    const own = counter > this.limits.sharedFirst;
    const kind = 'gossip';
    const message: Gossip = { kind, origin: this.self, counter, own, fetched: false, hops: 0, format, payload };
    this.counts.sent++;
    const now = this.host.now();
    this.cache.add({ message, from: undefined, atMs: now, asked: false });
    this.spread(message, undefined, now);
    this.compareBy(now);
  }

  /** Returns what this participant has, the origins that were heard last first. */
  private everything(): OriginSummary[] {
    const origins: OriginSummary[] = [];
    if (this.counter > 0) {
      const lowest = this.cache.lowestOf(this.self) ?? this.counter + 1;
      origins.push({ origin: this.self, own: this.counter > this.limits.sharedFirst, lowest, highest: this.counter });
    }
    for (const origin of [...this.origins.values()].reverse()) {
      if (origins.length >= MAX_ENTRIES) break;
      origins.push(this.summaryOf(origin));
    }
    return origins;
  }

  /** A neighbour is there: its HELLO has come. From now on it gets all that is new. */
  onPeer(id: string): void {
    this.peers.set(id, {
      id,
      announcements: [],
      flushAtMs: Number.POSITIVE_INFINITY,
      owed: new Map(),
      needsSummary: false,
      origins: new TokenBucket(this.limits.newOrigins),
    });
    this.host.send(id, { kind: 'summary', established: this.established, origins: this.everything() });
    if (this.established || this.joinByMs !== Number.POSITIVE_INFINITY) return;
    const now = this.host.now();
    this.joinByMs = now + this.limits.joinMs;
    this.wakeBy(this.joinByMs, now);
  }

  onPeerDown(id: string): void {
    if (!this.peers.delete(id)) return;
    this.trees.drop(id);
    this.missing.drop(id);
    this.hurry();
  }

  /** The neighbour takes messages again. */
  onReady(id: string): void {
    const peer = this.peers.get(id);
    if (peer === undefined) return;
    for (const [key, { origin, counter, eager }] of peer.owed) {
      // The rest when it takes more: as fast as it does, without asking again.
      if (this.host.isSlow(id)) return;
      peer.owed.delete(key);
      const kept = this.cache.get(origin, counter);
      if (kept !== undefined) this.answer(peer, kept.message, eager);
    }
    this.flush(peer, this.host.now());
  }

  private answer(peer: Peer, message: Gossip, eager: boolean): void {
    this.host.send(peer.id, eager ? message : { ...message, fetched: true });
  }

  /** @returns what is wrong with the frame; undefined for a good one */
  onFrame(id: string, frame: Frame): string | undefined {
    const peer = this.peers.get(id);
    if (peer === undefined) return undefined;
    switch (frame.kind) {
      case 'gossip':
        return this.onGossip(peer, frame);
      case 'ihave':
        this.onAnnounced(peer, frame.entries);
        return undefined;
      case 'graft':
        this.onGraft(peer, frame);
        return undefined;
      case 'prune':
        this.trees.known(frame.origin, frame.own)?.lazy.add(id);
        return undefined;
      case 'summary':
        if (!this.established) this.learn(frame);
        this.compare(id, frame.origins, this.host.now());
        return undefined;
      case 'hello':
        return 'a second HELLO';
    }
  }

  /** Does what is due. */
  onTime(): void {
    const now = this.host.now();
    this.wakeAtMs = Number.POSITIVE_INFINITY;
    for (const peer of this.peers.values()) if (peer.flushAtMs <= now) this.flush(peer, now);
    this.askForMissing(now);
    for (const origin of this.blocked) this.giveUpLate(origin, now);
    if (this.joinByMs <= now) this.establish();
    if (this.compareAtMs <= now) this.sendSummaries();
    this.wakeForNext(now);
  }

  // Messages that arrive.

  private onGossip(peer: Peer, message: Gossip): string | undefined {
    const now = this.host.now();
    if (message.origin === this.self) {
      if (message.counter > this.counter) return 'a message of this node that it has not sent';
      this.onDuplicate(peer, message);
      return undefined;
    }
    const origin = this.originOf(peer, message, now);
    if (origin === undefined) return undefined;
    const missing = this.missing.take(message.origin, message.counter);
    if (origin.isSeen(message.counter)) {
      this.onDuplicate(peer, message);
      return undefined;
    }
    origin.own = message.own;
    this.origins.touch(origin);
    this.recent.add(origin);
    const edges = this.trees.of(message.origin, message.own);
    if (message.fetched) this.counts.repaired++;
    else {
      edges.lazy.delete(peer.id);
      if (message.own) edges.parent = peer.id;
      edges.isOrphan = false;
    }
    const next: Gossip = { ...message, fetched: false, hops: Math.min(MAX_HOPS, message.hops + 1) };
    const asked = missing !== undefined && missing.tries > 0;
    this.cache.add({ message: next, from: message.fetched ? undefined : peer.id, atMs: now, asked });
    this.spread(next, peer.id, now);
    this.order(origin, next, peer, now);
    if (missing !== undefined && !message.fetched) this.adapt(asked && missing.announcers.at(-1) !== peer.id);
    const first = missing?.first;
    if (first !== undefined && !message.fetched) this.consider(edges, first.peer, peer.id, now - first.atMs, message);
    this.compareBy(now);
    return undefined;
  }

  /** Waits longer before it asks when what was asked for came by itself: the circuits, or the processes, are slow. */
  private adapt(wasTooSoon: boolean): void {
    const { graftMs } = this.limits;
    this.graftMs = wasTooSoon
      ? Math.min(MOST_GRAFT * graftMs, 1.5 * this.graftMs)
      : Math.max(graftMs, 0.97 * this.graftMs);
  }

  private onDuplicate(peer: Peer, message: Gossip): void {
    this.counts.duplicates++;
    if (message.fetched) return;
    const { origin, counter, own } = message;
    // Somebody else was asked for it, and it came by itself all the same.
    if (this.cache.get(origin, counter)?.asked) this.adapt(true);
    this.trees.of(origin, own).lazy.add(peer.id);
    this.counts.prunes++;
    this.host.send(peer.id, { kind: 'prune', origin, own });
  }

  /** Returns the origin of a message; undefined when the neighbour brings too many new ones. */
  private originOf(peer: Peer, { origin: key, counter }: Gossip, now: number): Origin | undefined {
    const known = this.origins.get(key);
    if (known !== undefined) return known;
    if (!peer.origins.canTake(now)) return undefined;
    peer.origins.take(now);
    return this.origins.add(key, this.established ? this.origins.nextOf(key, counter) : counter);
  }

  /** A participant that is new gets what is sent from now on: it was not there when the earlier messages were sent. */
  private learn({ origins, established }: Summary): void {
    for (const { origin, highest } of origins) {
      if (origin !== this.self && this.origins.get(origin) === undefined) this.origins.add(origin, highest + 1);
    }
    if (established) this.establish();
  }

  private establish(): void {
    this.established = true;
    this.joinByMs = Number.POSITIVE_INFINITY;
    this.host.established();
  }

  private order(origin: Origin, message: Gossip, peer: Peer, now: number): void {
    const { counter } = message;
    if (counter === origin.next) {
      origin.next++;
      this.deliver(message);
      this.deliverHeld(origin, now);
      return;
    }
    const tooFar = counter - this.limits.window;
    if (tooFar > origin.next) this.skipTo(origin, tooFar, now);
    origin.hold(message);
    this.heldBytes += message.payload.length;
    if (this.heldBytes > this.limits.heldBytes) {
      this.skipTo(origin, origin.firstHeld(), now);
      if (origin.held.size === 0) return;
    }
    if (origin.blockedSinceMs === undefined) {
      origin.blockedSinceMs = now;
      this.blocked.add(origin);
    }
    // Circuits keep the order: who sends the later message has had the earlier one, or is about to ask for it.
    for (let earlier = origin.next; earlier < counter; earlier++) {
      if (!origin.isSeen(earlier)) this.expect(peer.id, origin, earlier, message.own, now + this.limits.graftMs, now);
    }
    this.wakeBy(now + this.limits.graftMs, now);
  }

  private deliverHeld(origin: Origin, now: number): void {
    for (;;) {
      const bytes = origin.heldBytes;
      const message = origin.takeNext();
      if (message === undefined) break;
      this.heldBytes -= bytes - origin.heldBytes;
      this.deliver(message);
    }
    origin.blockedSinceMs = origin.held.size === 0 ? undefined : now;
    if (origin.held.size === 0) this.blocked.delete(origin);
  }

  private deliver(message: Gossip): void {
    this.counts.delivered++;
    this.host.deliver(message);
  }

  /** Gives up what is missing before that number, and delivers what is held. */
  private skipTo(origin: Origin, counter: number, now: number): void {
    while (origin.next < counter) {
      const to = origin.held.size === 0 ? counter : Math.min(counter, origin.firstHeld());
      const count = to - origin.next;
      if (count > 0) {
        const from = origin.next;
        if (count <= this.limits.window) {
          for (let lost = from; lost < to; lost++) this.missing.take(origin.key, lost);
        }
        origin.next = to;
        this.counts.lost += count;
        this.host.gap(origin.key, from, count);
      }
      this.deliverHeld(origin, now);
    }
    this.deliverHeld(origin, now);
  }

  private giveUpLate(origin: Origin, now: number): void {
    const { blockedSinceMs, next } = origin;
    if (blockedSinceMs === undefined) return;
    const waitedMs = now - blockedSinceMs;
    // Nobody who has it is known: that may change when another neighbour comes up.
    const isHopeless = waitedMs >= this.limits.repairMs / 4 && this.missing.get(origin.key, next) === undefined;
    if (isHopeless || waitedMs >= this.limits.repairMs) this.skipTo(origin, origin.firstHeld(), now);
  }

  private onForgotten(origin: Origin): void {
    this.heldBytes -= origin.heldBytes;
    this.blocked.delete(origin);
    this.recent.delete(origin);
  }

  // The tree.

  private spread(message: Gossip, from: string | undefined, now: number): void {
    const edges = this.trees.of(message.origin, message.own);
    for (const peer of this.peers.values()) {
      if (peer.id === from) continue;
      if (edges.isEager(peer.id) && !this.host.isSlow(peer.id)) this.host.send(peer.id, message);
      else this.announce(peer, message, now);
    }
  }

  private announce(peer: Peer, message: Gossip, now: number): void {
    if (peer.announcements.length >= this.limits.maxAnnouncements) {
      peer.announcements = [];
      peer.needsSummary = true;
    }
    const { origin, counter, own, hops } = message;
    peer.announcements.push({ origin, counter, own, hops, atMs: now });
    if (peer.flushAtMs !== Number.POSITIVE_INFINITY) return;
    peer.flushAtMs = now + this.limits.announceMs;
    this.wakeBy(peer.flushAtMs, now);
  }

  private flush(peer: Peer, now: number): void {
    peer.flushAtMs = Number.POSITIVE_INFINITY;
    // A neighbour that takes nothing hears of it when it does.
    if (this.host.isSlow(peer.id)) return;
    const { announcements } = peer;
    peer.announcements = [];
    for (let start = 0; start < announcements.length; start += MAX_ENTRIES) {
      const entries = announcements.slice(start, start + MAX_ENTRIES).map(({ atMs, ...announced }) => ({
        ...announced,
        heldMs: Math.min(MAX_HELD_MS, Math.max(0, Math.round(now - atMs))),
      }));
      this.host.send(peer.id, { kind: 'ihave', entries });
    }
    if (!peer.needsSummary) return;
    peer.needsSummary = false;
    this.host.send(peer.id, { kind: 'summary', established: this.established, origins: this.everything() });
  }

  private onAnnounced(peer: Peer, entries: readonly Announcement[]): void {
    const now = this.host.now();
    for (const { origin: key, counter, own, heldMs } of entries) {
      if (key === this.self) continue;
      const hadAtMs = now - heldMs;
      const origin = this.origins.get(key);
      if (origin?.isSeen(counter)) {
        this.compareTimes(peer, key, counter, own, hadAtMs);
        continue;
      }
      // The numbers far ahead of an origin come after those before them, or were made up.
      if (origin !== undefined && counter >= origin.next + this.limits.window) continue;
      const isOrphan = this.trees.known(key, own)?.isOrphan === true;
      const about = { own, eager: true, dueMs: now + (isOrphan ? FETCH_MS : this.graftMs), hadAtMs };
      if (this.missing.note(key, counter, peer.id, about)) this.wakeBy(about.dueMs, now);
    }
  }

  private compareTimes(peer: Peer, origin: OriginKey, counter: number, own: boolean, hadAtMs: number): void {
    const kept: Kept | undefined = this.cache.get(origin, counter);
    if (kept?.from === undefined || kept.from === peer.id) return;
    this.consider(this.trees.of(origin, own), peer.id, kept.from, kept.atMs - hadAtMs, kept.message);
  }

  /** A neighbour had a message sooner than the one that brought it. */
  private consider(edges: Edges, peer: string, parent: string, gainMs: number, { origin, own }: Gossip): void {
    // In the shared tree, what is the short way for one origin is a detour for another.
    if (!own || peer === parent || gainMs < this.limits.gainMs) return;
    if (!this.peers.has(peer) || edges.isEager(peer) || !edges.isBetter(peer, parent)) return;
    edges.lazy.delete(peer);
    this.host.send(peer, { kind: 'graft', origin, own, eager: true, ranges: [] });
    if (!this.peers.has(parent)) return;
    edges.lazy.add(parent);
    this.host.send(parent, { kind: 'prune', origin, own });
  }

  private onGraft(peer: Peer, { origin, own, eager, ranges }: Extract<Frame, { kind: 'graft' }>): void {
    if (eager) this.trees.known(origin, own)?.lazy.delete(peer.id);
    const now = this.host.now();
    for (const { from, count } of ranges) {
      for (let counter = from; counter < from + count; counter++) {
        const kept = this.cache.get(origin, counter);
        if (kept === undefined) continue;
        if (!this.host.isSlow(peer.id)) this.answer(peer, kept.message, eager);
        else if (peer.owed.size < this.limits.maxAnnouncements) {
          peer.owed.set(keyOf(origin, counter), { origin, counter, eager });
        } else this.announce(peer, kept.message, now);
      }
    }
  }

  // What is missing.

  private expect(peer: string, { key }: Origin, counter: number, own: boolean, dueMs: number, now: number): void {
    if (this.missing.note(key, counter, peer, { own, eager: false, dueMs, hadAtMs: undefined }))
      this.wakeBy(dueMs, now);
  }

  /** A neighbour is gone: what it would have brought is asked for soon. Those behind this participant wait for it meanwhile. */
  private hurry(): void {
    if (this.missing.size === 0) return;
    const now = this.host.now();
    const dueMs = now + FETCH_MS;
    for (const missing of this.missing.values()) {
      if (missing.tries > 0 || missing.dueMs <= dueMs) continue;
      if (this.trees.known(missing.origin, missing.own)?.isOrphan !== true) continue;
      missing.dueMs = dueMs;
      this.wakeBy(dueMs, now);
    }
  }

  /** Asks for what is due, one neighbour for each message, one frame for each neighbour and origin. */
  private askForMissing(now: number): void {
    const asks = new Map<
      string,
      { peer: string; origin: OriginKey; own: boolean; eager: boolean; counters: number[] }
    >();
    for (const missing of this.missing.due(now)) {
      const peer = this.missing.ask(missing, now, this.limits.graftMs);
      if (peer === undefined) {
        this.missing.take(missing.origin, missing.counter);
        continue;
      }
      const { origin, own, eager } = missing;
      const key = `${peer} ${own} ${eager} ${origin}`;
      const ask = asks.get(key) ?? { peer, origin, own, eager, counters: [] };
      ask.counters.push(missing.counter);
      asks.set(key, ask);
    }
    for (const { peer, origin, own, eager, counters } of asks.values()) {
      // Announced origins may be made up: they get no tree.
      if (eager) this.trees.known(origin, own)?.lazy.delete(peer);
      for (const ranges of rangesOf(counters)) {
        this.counts.grafts++;
        this.host.send(peer, { kind: 'graft', origin, own, eager, ranges });
      }
    }
  }

  // Comparisons.

  private summaryOf({ key, next, own }: Origin): OriginSummary {
    const highest = next - 1;
    return { origin: key, own, lowest: Math.min(this.cache.lowestOf(key) ?? next, next), highest };
  }

  /** Finds what a neighbour has and this participant has not. */
  private compare(peer: string, origins: readonly OriginSummary[], now: number): void {
    for (const { origin: key, own, lowest, highest } of origins) {
      if (key === this.self) continue;
      const origin = this.origins.get(key);
      const next = origin?.next ?? this.origins.nextOf(key, highest + 1);
      const from = Math.max(next, lowest, highest - this.limits.window + 1);
      for (let counter = from; counter <= highest; counter++) {
        if (origin?.isSeen(counter)) continue;
        const about = { own, eager: false, dueMs: now + FETCH_MS, hadAtMs: undefined };
        if (!this.missing.note(key, counter, peer, about)) return;
        this.wakeBy(about.dueMs, now);
      }
    }
  }

  /** Neighbours compare some time after there was something new, in case the announcement of the last message was lost. */
  private compareBy(now: number): void {
    if (this.compareAtMs !== Number.POSITIVE_INFINITY) return;
    this.compareAtMs = now + this.limits.compareMs;
    this.wakeBy(this.compareAtMs, now);
  }

  private sendSummaries(): void {
    this.compareAtMs = Number.POSITIVE_INFINITY;
    const origins = [...this.recent].slice(-MAX_ENTRIES + 1).map((origin) => this.summaryOf(origin));
    this.recent.clear();
    if (this.counter > 0) origins.push(...this.everything().slice(0, 1));
    const frame: Summary = { kind: 'summary', established: this.established, origins };
    for (const peer of this.peers.values()) {
      if (this.host.isSlow(peer.id)) peer.needsSummary = true;
      else this.host.send(peer.id, frame);
    }
  }

  // Time.

  private wakeBy(atMs: number, now: number): void {
    if (atMs >= this.wakeAtMs) return;
    this.wakeAtMs = atMs;
    this.host.wake(Math.max(0, atMs - now));
  }

  private wakeForNext(now: number): void {
    let atMs = Math.min(this.joinByMs, this.compareAtMs, this.missing.dueMs);
    for (const { flushAtMs } of this.peers.values()) atMs = Math.min(atMs, flushAtMs);
    if (this.blocked.size > 0) atMs = Math.min(atMs, now + this.limits.graftMs);
    if (atMs !== Number.POSITIVE_INFINITY) this.wakeBy(atMs, now);
  }
}

/** Returns numbers as ranges, in lists that fit into a frame. */
function rangesOf(counters: number[]): CounterRange[][] {
  counters.sort((a, b) => a - b);
  const lists: CounterRange[][] = [];
  let list: CounterRange[] = [];
  for (let index = 0; index < counters.length; ) {
    const from = counters[index];
    let count = 1;
    while (count < MAX_RANGE && counters[index + count] === from + count) count++;
    if (list.length === 0) lists.push(list);
    list.push({ from, count });
    if (list.length === MAX_RANGES) list = [];
    index += count;
  }
  return lists;
}
