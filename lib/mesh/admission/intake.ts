// Records as they come in from a neighbour: what is known is seen at once, what is new waits for its signature to be
// checked. A turn checks only so many, a neighbour may bring only so many that nobody asked for; what is over waits in a
// queue of the neighbour, and when that is full, the link ends.

import type { NodeId } from '../../address.js';
import { type StarlaneError, starlaneError } from '../../errors.js';
import type { Timed, Timer } from '../../util/timers.js';
import { afterTaking, canTake, type Rate, waitMs } from '../../util/token-bucket.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import { type MeshRecord, RecordKind } from '../../wire/records.js';
import { wholeLifeS } from '../gossip/expiry.js';
import type { Flooding } from '../gossip/flooding.js';
import type { GossipCounters } from '../gossip/gossip.js';
import type { GossipPeer } from '../gossip/peer.js';
import type { MeshEnvironment } from '../ports.js';
import { compareVersions } from '../records/order.js';
import { type RecordStore, Standing } from '../records/store.js';
import type { RecordAdmission } from './record-admission.js';
import type { Floors } from './tombstones.js';

/** A millisecond of Ed25519. */
const VERIFICATIONS_PER_TURN = 10;
/** What turns out to be known when its turn comes costs little, but not nothing. */
const STEPS_PER_TURN = 250;
const MAX_STRIKES = 3;

/** Who brings an old version has most likely sent it before ours arrived. Only after that long it is told. */
const CROSSING_MS = 2_000;

export interface IntakeOwner {
  /** A record of this very node that it has not made in this run, its signature right. */
  onEcho(record: MeshRecord): void;
  /** Two records under one number, both signed. */
  onTwin(record: MeshRecord): void;
  /** Nothing of this neighbour waits any more. */
  onLookedAt(peer: GossipPeer): void;
  /** May a neighbour that is behind be told, as often as it asks for it in that way? */
  mayCatchUp(peer: GossipPeer, bytes: number): boolean;
  onPunish(peer: GossipPeer, error: StarlaneError, isBan: boolean): void;
  isReachable(nodeId: NodeId): boolean;
}

export class Intake implements Timed {
  private readonly waiting = new Set<GossipPeer>();
  private verifications = 0;
  private isTurnDue = false;
  private timer: Timer | undefined;
  private isStopped = false;
  private readonly limits: LinkLimits;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly store: RecordStore,
    private readonly floors: Floors,
    private readonly flooding: Flooding,
    private readonly admission: RecordAdmission,
    private readonly counters: GossipCounters,
    private readonly owner: IntakeOwner,
    recordQueueBytes: number | undefined,
  ) {
    this.limits = new LinkLimits(store, recordQueueBytes);
  }

  take(peer: GossipPeer, copies: readonly RecordCopy[]): void {
    const { counters } = this;
    counters.recordsIn += copies.length;
    let useless = 0;
    for (const copy of copies) {
      if (!peer.isHere || this.isStopped) return;
      counters.bytesIn += recordCopyBytes(copy.record);
      // A client has no records of its own and passes none on: whatever it sends is not its business.
      if (peer.isListener || !this.isNews(peer, copy)) useless++;
      else this.enqueue(peer, copy);
    }
    if (useless > 0 && peer.isHere) this.countUseless(peer, useless);
  }

  /** The link is gone. */
  drop(peer: GossipPeer): void {
    peer.inbox.clear();
    this.waiting.delete(peer);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== undefined) this.environment.timers.cancel(this.timer);
    this.timer = undefined;
    this.waiting.clear();
  }

  /** Some neighbour may bring more again. */
  onDeadline(): void {
    this.timer = undefined;
    this.work();
  }

  /** Compares before anything is checked: nearly everything that comes in is known. */
  private isNews(peer: GossipPeer, copy: RecordCopy): boolean {
    const { record } = copy;
    switch (this.store.standing(record)) {
      case Standing.SAME:
        this.onSame(peer, copy);
        return false;
      case Standing.OLDER:
        // The twin of a record that is kept is looked at as well: it tells that something is wrong.
        if (this.store.hasTwin(record)) return true;
        this.onOlder(peer, record);
        return false;
      case Standing.STALE:
        this.counters.outdated++;
        return false;
      default:
        return this.isWelcome(copy);
    }
  }

  private isWelcome({ record, remainingLifeS }: RecordCopy): boolean {
    const parked = this.store.origin(record.nodeId)?.parked?.get(record.key);
    if (parked !== undefined && compareVersions(record, parked.record) <= 0) {
      this.counters.duplicates++;
      return false;
    }
    if (this.floors.admits(record, remainingLifeS)) return true;
    this.counters.outdated++;
    return false;
  }

  private onSame(peer: GossipPeer, { record, remainingLifeS }: RecordCopy): void {
    this.counters.duplicates++;
    peer.knows(record);
    // Nobody signs what is left of a life, so it may be shortened and never made longer; and not that of a node that is
    // there, or one relay could make everybody forget whatever it passes on.
    const origin = this.store.origin(record.nodeId);
    if (record.kind !== RecordKind.NODE || origin === undefined || remainingLifeS >= origin.leftS) return;
    if (!this.owner.isReachable(record.nodeId)) origin.leftS = remainingLifeS;
  }

  private onOlder(peer: GossipPeer, record: MeshRecord): void {
    this.counters.outdated++;
    const current = this.store.current(record);
    const changedMs = this.store.origin(record.nodeId)?.changedMs ?? 0;
    if (current === undefined || this.environment.timers.now() - changedMs < CROSSING_MS) return;
    if (this.owner.mayCatchUp(peer, current.bytes.length)) this.flooding.offer(peer, current);
  }

  private countUseless(peer: GossipPeer, count: number): void {
    const isBearable = this.limits.countUseless(peer, count, this.environment.timers.now());
    if (!isBearable) this.punishFlood(peer, 'known records');
  }

  private enqueue(peer: GossipPeer, copy: RecordCopy): void {
    const isAsked = peer.takeAsked(this.environment.timers.now());
    const queued: QueuedCopy = { record: copy.record, remainingLifeS: boundedLifeS(copy), isAsked };
    const { inbox } = peer;
    if (inbox.size === 0 && this.waitMs(peer, queued) <= 0 && this.verifications < VERIFICATIONS_PER_TURN) {
      this.look(peer, queued);
      return;
    }
    inbox.push(queued);
    this.waiting.add(peer);
    if (this.limits.isFull(peer, this.waiting)) {
      this.punishFlood(peer, `${inbox.size} records are waiting`);
      return;
    }
    this.workLater();
  }

  /** How long the neighbour has to wait for its next record. What was asked for may come as fast as it can. */
  private waitMs(peer: GossipPeer, { record, isAsked }: QueuedCopy): number {
    return isAsked ? 0 : this.limits.waitMs(peer, record, this.environment.timers.now());
  }

  /** Another neighbour may have been faster. */
  private isStillNews(peer: GossipPeer, copy: QueuedCopy): boolean {
    const { record } = copy;
    if (this.store.standing(record) === Standing.NEWER || this.store.hasTwin(record)) return true;
    if (this.store.holds(record)) this.onSame(peer, copy);
    else this.counters.outdated++;
    return false;
  }

  /** Is it signed? Then in with it. */
  private look(peer: GossipPeer, copy: QueuedCopy): void {
    const { record } = copy;
    if (!copy.isAsked) this.limits.count(peer, record, this.environment.timers.now());
    // What has no place here anyway is not worth a check.
    if (!this.admission.hasRoom(record)) return;
    if (!this.isSigned(record)) this.strike(peer, record.nodeId);
    else if (record.nodeId === this.environment.identity.nodeId) this.owner.onEcho(record);
    else {
      if (this.store.hasTwin(record)) this.owner.onTwin(record);
      this.admission.admit(copy, peer);
    }
  }

  private isSigned(record: MeshRecord): boolean {
    if (this.environment.isVerified?.(record) === true) return true;
    if (++this.verifications >= VERIFICATIONS_PER_TURN) this.nextTurn();
    this.counters.verified++;
    return this.environment.verify(record);
  }

  private strike(peer: GossipPeer, nodeId: NodeId): void {
    this.counters.invalid++;
    if (++peer.strikes < MAX_STRIKES) return;
    this.owner.onPunish(peer, starlaneError('ERR_STARLANE_RECORD', `records of ${nodeId} that it did not sign`), true);
  }

  private punishFlood(peer: GossipPeer, what: string): void {
    this.owner.onPunish(peer, starlaneError('ERR_STARLANE_GOSSIP_FLOOD', what), false);
  }

  /** The budget of checks counts from one turn to the next, whenever that comes: never more than that in one turn. */
  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    this.environment.timers.clock.setImmediate(() => {
      this.isTurnDue = false;
      this.verifications = 0;
      this.work();
    });
  }

  private workLater(): void {
    if (this.isTurnDue) return;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const peer of this.waiting) {
      const copy = peer.inbox.peek();
      if (copy !== undefined) leastMs = Math.min(leastMs, this.waitMs(peer, copy));
    }
    if (leastMs <= 0) this.nextTurn();
    else if (leastMs < Number.POSITIVE_INFINITY) {
      this.timer ??= this.environment.timers.schedule(leastMs, this);
    }
  }

  /** A record of each neighbour that has one in turn, so that none waits for another's thousands. */
  private work(): void {
    let steps = 0;
    for (let isProgress = true; isProgress; ) {
      isProgress = false;
      for (const peer of this.waiting) {
        if (this.isStopped) return;
        if (this.verifications >= VERIFICATIONS_PER_TURN || steps >= STEPS_PER_TURN) {
          this.nextTurn();
          this.flooding.settle();
          return;
        }
        if (this.step(peer)) isProgress = true;
        steps++;
      }
    }
    this.flooding.settle();
    this.workLater();
  }

  private step(peer: GossipPeer): boolean {
    const { inbox } = peer;
    const copy = inbox.peek();
    if (copy === undefined) return false;
    const isNews = this.isStillNews(peer, copy);
    if (isNews && this.waitMs(peer, copy) > 0) return false;
    inbox.shift();
    if (inbox.size === 0) this.waiting.delete(peer);
    if (isNews) this.look(peer, copy);
    if (inbox.size === 0 && peer.isHere) this.owner.onLookedAt(peer);
    return true;
  }
}

/** Whoever passes a record on may say anything about the rest of its life, but not that it is longer than the whole. */
function boundedLifeS({ record, remainingLifeS }: RecordCopy): number {
  return Math.min(remainingLifeS, wholeLifeS(record));
}

// Records of one neighbour that wait for their check, in the order they came.

export interface QueuedCopy extends RecordCopy {
  /** It came because this node asked for it. */
  readonly isAsked: boolean;
}

/** How many taken places may lie in front before the rest moves up. */
const MAX_SLACK = 1_024;

export class CopyQueue {
  private items: Array<QueuedCopy | undefined> = [];
  private first = 0;
  /** Of all of them, and of those that nobody asked for. */
  bytes = 0;
  unaskedBytes = 0;
  unasked = 0;

  get size(): number {
    return this.items.length - this.first;
  }

  push(copy: QueuedCopy): void {
    this.items.push(copy);
    this.count(copy, 1);
  }

  peek(): QueuedCopy | undefined {
    return this.items[this.first];
  }

  shift(): QueuedCopy | undefined {
    const copy = this.items[this.first];
    if (copy === undefined) return undefined;
    this.items[this.first++] = undefined;
    this.count(copy, -1);
    if (this.first === this.items.length || this.first > MAX_SLACK) {
      this.items = this.items.slice(this.first);
      this.first = 0;
    }
    return copy;
  }

  clear(): void {
    this.items = [];
    this.first = 0;
    this.bytes = 0;
    this.unaskedBytes = 0;
    this.unasked = 0;
  }

  private count(copy: QueuedCopy, sign: 1 | -1): void {
    const bytes = sign * recordCopyBytes(copy.record);
    this.bytes += bytes;
    if (copy.isAsked) return;
    this.unaskedBytes += bytes;
    this.unasked += sign;
  }
}

// What one neighbour may bring, a second and at once. What a healed split or a cold start floods in a moment grows with the
// network, and an honest neighbour must not look like a flood for that.

/** Of what nobody asked for. */
const RECORDS_PER_S = 200;
const RECORD_BURST = 4_096;
const BYTES_PER_S = 256 * 1024;
const BYTE_BURST = 4 * 1024 * 1024;

/** Of what is known already. Every neighbour has each record once, so there is much of that. */
const USELESS_PER_S = 2_000;
const USELESS_BURST = 50_000;

/** What may wait in the queue of a neighbour that nobody asked for, and all in all. */
const MAX_UNASKED = 20_000;
const MAX_UNASKED_BYTES = 8 * 1024 * 1024;
const QUEUE_BYTES = 64 * 1024 * 1024;
/** In all queues together, of those of that many neighbours. */
const FULL_QUEUES = 4;

export class LinkLimits {
  /** @param queueBytes what may wait in the queue of one neighbour */
  constructor(
    private readonly store: RecordStore,
    private readonly queueBytes = QUEUE_BYTES,
  ) {}

  /** How long the neighbour has to wait before a record that it was not asked for is looked at, in ms; 0 and less: not. */
  waitMs(peer: GossipPeer, record: MeshRecord, now: number): number {
    const records = waitMs(peer.recordsFullAtMs, now, this.recordRate());
    return Math.max(records, waitMs(peer.bytesFullAtMs, now, this.byteRate(), recordCopyBytes(record)));
  }

  /** It is looked at. */
  count(peer: GossipPeer, record: MeshRecord, now: number): void {
    peer.recordsFullAtMs = afterTaking(peer.recordsFullAtMs, now, this.recordRate());
    peer.bytesFullAtMs = afterTaking(peer.bytesFullAtMs, now, this.byteRate(), recordCopyBytes(record));
  }

  /** It has brought so many records that are known. Is that bearable? */
  countUseless(peer: GossipPeer, count: number, now: number): boolean {
    const { size } = this.store;
    const rate = { perS: USELESS_PER_S + size / 2, burst: USELESS_BURST + 8 * size };
    if (!canTake(peer.uselessFullAtMs, now, rate, count)) return false;
    peer.uselessFullAtMs = afterTaking(peer.uselessFullAtMs, now, rate, count);
    return true;
  }

  /** Has more piled up than can be looked at? */
  isFull({ inbox }: GossipPeer, waiting: Iterable<GossipPeer>): boolean {
    const { queueBytes } = this;
    if (inbox.unasked > MAX_UNASKED + 2 * this.store.size) return true;
    if (inbox.unaskedBytes > MAX_UNASKED_BYTES + this.store.bytes || inbox.bytes > queueBytes) return true;
    if (inbox.bytes < Math.min(MAX_UNASKED_BYTES, queueBytes / 2)) return false;
    let bytes = 0;
    for (const peer of waiting) bytes += peer.inbox.bytes;
    return bytes > FULL_QUEUES * queueBytes;
  }

  // By half of what is known, or whatever a flood brings would make room for more of it.

  private recordRate(): Rate {
    return { perS: RECORDS_PER_S, burst: RECORD_BURST + this.store.size / 2 };
  }

  private byteRate(): Rate {
    return { perS: BYTES_PER_S, burst: BYTE_BURST + this.store.bytes / 2 };
  }
}
