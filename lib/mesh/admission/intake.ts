// Records that arrive from a neighbour. Known ones are recognised at once; new ones wait for the check of their signature, of
// which each turn does a few. Each neighbour has a queue and rate limits for records that nobody requested; when the queue
// is full, its link is closed.
//
// The order of all checks, the cheap ones first:
//
//   1  a client sends no records                              counted as useless
//   2  a version that is stored, replaced or obsolete         counted as useless (too many: the link is closed)
//   3  a version that is parked already, or has a tombstone   counted as useless
//   4  rates and queue of the link                            waits (full queue: the link is closed)
//   5  the version again, when its turn comes                 dropped
//   6  room for the node and its services in the store        rejected (record-admission.ts)
//   7  a node whose membership has ended                      dropped
//   8  the signature                                          dropped (too many wrong: the link is closed, the peer banned)
//   9  a record of this node itself                           its epoch is exceeded (own-records.ts)
//  10  a node that is no member yet                           waits for its certificate (awaited.ts)
//  11  what the certificate of the peer itself forbids        the link is closed, the peer banned
//  12  a conflict with the stored version                     warned about
//  13  the rate of its origin                                 parked (record-admission.ts)
//  14  limits of its origin; room, again                      rejected, or an unreachable node is evicted

import type { NodeId } from '../../address.js';
import { type StarlaneError, starlaneError } from '../../errors.js';
import { Deadline } from '../../util/deadline.js';
import { NextTurn } from '../../util/next-turn.js';
import { afterTaking, canTake, type Rate, waitMs } from '../../util/token-bucket.js';
import { type RecordCopy, recordCopyBytes } from '../../wire/gossip-messages.js';
import { type MeshRecord, RecordKind } from '../../wire/records.js';
import { wholeLifeS } from '../gossip/expiry.js';
import type { Flooding } from '../gossip/flooding.js';
import type { GossipContext, GossipCounters } from '../gossip/gossip.js';
import type { GossipPeer } from '../gossip/peer.js';
import type { MeshEnvironment } from '../ports.js';
import { compareVersions } from '../records/order.js';
import { Freshness, type RecordStore } from '../records/store.js';
import type { RecordAdmission } from './record-admission.js';

/** A millisecond of Ed25519. */
const VERIFICATIONS_PER_TURN = 10;
/** A record that turns out to be known when its turn comes costs little, but not nothing. */
const STEPS_PER_TURN = 250;
const MAX_VIOLATIONS = 3;

/** A peer that sends an old version has most likely sent it before ours arrived. After this time it is sent the new one. */
const CROSSING_MS = 2_000;

export interface IntakeOwner {
  /** Called with a signed record of this node that this run has not made. */
  onOwnRecordConflict(record: MeshRecord): void;
  /** Called with a signed record that differs from the stored one and has the same number. */
  onVersionConflict(record: MeshRecord): void;
  /** Called when no record of this neighbour waits any more. */
  onProcessed(peer: GossipPeer): void;
  onPunish(peer: GossipPeer, error: StarlaneError, isBan: boolean): void;
}

export class Intake {
  private readonly waiting = new Set<GossipPeer>();
  private verifications = 0;
  /** The number of checks is reset in the next turn, so that no turn does more. */
  private readonly nextTurn: NextTurn;
  /** When a neighbour may send more again. */
  private readonly deadline: Deadline;
  private isClosed = false;
  private readonly limits: LinkLimits;

  private readonly environment: MeshEnvironment;
  private readonly store: RecordStore;
  private readonly counters: GossipCounters;

  constructor(
    private readonly context: GossipContext,
    private readonly flooding: Flooding,
    private readonly admission: RecordAdmission,
    private readonly owner: IntakeOwner,
    recordQueueBytes: number | undefined,
  ) {
    this.environment = context.environment;
    this.deadline = new Deadline(context.environment.timers, () => this.work());
    this.nextTurn = new NextTurn(context.environment.timers.clock, () => {
      this.verifications = 0;
      this.work();
    });
    this.store = context.store;
    this.counters = context.counters;
    this.limits = new LinkLimits(context.store, recordQueueBytes);
  }

  take(peer: GossipPeer, copies: readonly RecordCopy[]): void {
    const { counters } = this;
    counters.recordsIn += copies.length;
    let useless = 0;
    for (const copy of copies) {
      if (!peer.isActive || this.isClosed) return;
      counters.bytesIn += recordCopyBytes(copy.record);
      // A client has no records of its own and passes none on.
      if (peer.isListener || !this.isNewer(peer, copy)) useless++;
      else this.enqueue(peer, copy);
    }
    if (useless > 0 && peer.isActive) this.countUseless(peer, useless);
  }

  /** Called when the statements about members that came over a link are checked. */
  resume(): void {
    if (this.waiting.size > 0) this.workLater();
  }

  /** Called when the link is gone. */
  drop(peer: GossipPeer): void {
    peer.inbox.clear();
    this.waiting.delete(peer);
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
    this.waiting.clear();
  }

  /** Compares versions before anything else: nearly every incoming record is known. */
  private isNewer(peer: GossipPeer, copy: RecordCopy): boolean {
    const { record } = copy;
    switch (this.store.freshness(record)) {
      case Freshness.SAME:
        this.onSame(peer, copy);
        return false;
      case Freshness.OLDER:
        // A conflicting version is checked as well: it shows that something is wrong.
        if (this.store.hasConflict(record)) return true;
        this.onOlder(peer, record);
        return false;
      case Freshness.STALE:
        this.counters.outdated++;
        return false;
      default:
        return this.isAcceptable(copy);
    }
  }

  private isAcceptable({ record, remainingLifeS }: RecordCopy): boolean {
    const parked = this.store.entry(record.nodeId)?.parked?.get(record.key);
    if (parked !== undefined && compareVersions(record, parked.record) <= 0) {
      this.counters.duplicates++;
      return false;
    }
    if (this.context.awaited.has(record)) {
      this.counters.duplicates++;
      return false;
    }
    if (this.context.tombstones.admits(record, remainingLifeS)) return true;
    this.counters.outdated++;
    return false;
  }

  private onSame(peer: GossipPeer, { record, remainingLifeS }: RecordCopy): void {
    this.counters.duplicates++;
    peer.knows(record);
    // The remaining life is not signed, so it may only be shortened, and only for an unreachable node: otherwise one relay
    // could make every node forget the records that it passes on.
    const origin = this.store.entry(record.nodeId);
    if (record.kind !== RecordKind.NODE || origin === undefined || remainingLifeS >= origin.leftS) return;
    if (!this.context.isReachable(record.nodeId)) origin.leftS = remainingLifeS;
  }

  private onOlder(peer: GossipPeer, record: MeshRecord): void {
    this.counters.outdated++;
    const current = this.store.current(record);
    const changedMs = this.store.entry(record.nodeId)?.changedMs ?? 0;
    if (current === undefined || this.environment.timers.now() - changedMs < CROSSING_MS) return;
    // Within the budget of the peer, which may send old versions on purpose.
    const { announces, budget } = this.context;
    if (announces && budget.take(peer, current.bytes.length)) this.flooding.offer(peer, current);
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
      this.process(peer, queued);
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

  /** Returns how long the next record of the neighbour must wait. Requested records do not wait. */
  private waitMs(peer: GossipPeer, { record, isAsked }: QueuedCopy): number {
    // Until the statements before it are checked, and resume() is called.
    if (this.context.statements.isChecking(peer.link)) return Number.POSITIVE_INFINITY;
    return isAsked ? 0 : this.limits.waitMs(peer, record, this.environment.timers.now());
  }

  /** Compares again: another neighbour may have been faster. */
  private isStillNewer(peer: GossipPeer, copy: QueuedCopy): boolean {
    const { record } = copy;
    if (this.store.freshness(record) === Freshness.NEWER || this.store.hasConflict(record)) return true;
    if (this.store.holds(record)) this.onSame(peer, copy);
    else this.counters.outdated++;
    return false;
  }

  /** Checks the signature, and admits the record. */
  private process(peer: GossipPeer, copy: QueuedCopy): void {
    const { record } = copy;
    if (!copy.isAsked) this.limits.count(peer, record, this.environment.timers.now());
    // A record without room is not worth a check.
    if (!this.admission.hasRoom(record)) return;
    const isOwn = record.nodeId === this.environment.identity.nodeId;
    const isOfMember = isOwn || this.context.rights.hasMade(record);
    if (!isOfMember) this.counters.strangers++;
    if (!isOfMember && this.context.rights.isBarred(record.nodeId)) return;
    if (!this.isSigned(record)) this.onViolation(peer, record.nodeId);
    else if (isOwn) this.owner.onOwnRecordConflict(record);
    else if (!isOfMember) this.context.awaited.put(copy);
    else if (this.isOverstep(peer, record)) this.punishOverstep(peer);
    else {
      if (this.store.hasConflict(record)) this.owner.onVersionConflict(record);
      this.admission.admit(copy, peer);
    }
  }

  private isSigned(record: MeshRecord): boolean {
    if (this.environment.isVerified?.(record) === true) return true;
    if (++this.verifications >= VERIFICATIONS_PER_TURN) this.nextTurn.request();
    this.counters.verified++;
    return this.environment.verify(record);
  }

  private onViolation(peer: GossipPeer, nodeId: NodeId): void {
    this.counters.invalid++;
    if (++peer.violations < MAX_VIOLATIONS) return;
    this.owner.onPunish(peer, starlaneError('ERR_STARLANE_RECORD', `records of ${nodeId} that it did not sign`), true);
  }

  /** Whether a peer publishes itself what its certificate does not allow. Those who pass it on are not to blame. */
  private isOverstep({ link }: GossipPeer, record: MeshRecord): boolean {
    if (record.nodeId !== link.peerId || !this.context.rights.isOverstep(record)) return false;
    return this.context.statements.isInformed(link);
  }

  private punishOverstep(peer: GossipPeer): void {
    const what = `${peer.link.peerId} publishes what its certificate does not allow`;
    this.owner.onPunish(peer, starlaneError('ERR_STARLANE_RIGHT', what), true);
  }

  private punishFlood(peer: GossipPeer, what: string): void {
    this.owner.onPunish(peer, starlaneError('ERR_STARLANE_GOSSIP_FLOOD', what), false);
  }

  private workLater(): void {
    if (this.nextTurn.isDue) return;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const peer of this.waiting) {
      const copy = peer.inbox.peek();
      if (copy !== undefined) leastMs = Math.min(leastMs, this.waitMs(peer, copy));
    }
    if (leastMs <= 0) this.nextTurn.request();
    else if (leastMs < Number.POSITIVE_INFINITY && !this.deadline.isSet) this.deadline.set(leastMs);
  }

  /** Takes one record of each neighbour in turn, so that none waits for the thousands of another. */
  private work(): void {
    let steps = 0;
    for (let isProgress = true; isProgress; ) {
      isProgress = false;
      for (const peer of this.waiting) {
        if (this.isClosed) return;
        if (this.verifications >= VERIFICATIONS_PER_TURN || steps >= STEPS_PER_TURN) {
          this.nextTurn.request();
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
    const isNewer = this.isStillNewer(peer, copy);
    if (isNewer && this.waitMs(peer, copy) > 0) return false;
    inbox.shift();
    if (inbox.size === 0) this.waiting.delete(peer);
    if (isNewer) this.process(peer, copy);
    if (inbox.size === 0 && peer.isActive) this.owner.onProcessed(peer);
    return true;
  }
}

/** The remaining life that a neighbour claims is not signed: it is at most the whole life. */
function boundedLifeS({ record, remainingLifeS }: RecordCopy): number {
  return Math.min(remainingLifeS, wholeLifeS(record));
}

interface QueuedCopy extends RecordCopy {
  /** It came because this node requested it. */
  readonly isAsked: boolean;
}

/** The number of used places in front after which the rest moves up. */
const MAX_SLACK = 1_024;

/** Records of one neighbour that wait for their check, in the order of arrival. */
export class CopyQueue {
  private items: Array<QueuedCopy | undefined> = [];
  private first = 0;
  /** Bytes of all, and of those that were not requested. */
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

/** Limits of records that were not requested. */
const RECORDS_PER_S = 200;
const RECORD_BURST = 4_096;
const BYTES_PER_S = 256 * 1024;
const BYTE_BURST = 4 * 1024 * 1024;

/** Limits of known records. Every neighbour may send each record once, so there are many. */
const USELESS_PER_S = 2_000;
const USELESS_BURST = 50_000;

/** The most that may wait in the queue of one neighbour: unrequested records, and bytes of all. */
const MAX_UNASKED = 20_000;
const MAX_UNASKED_BYTES = 8 * 1024 * 1024;
const QUEUE_BYTES = 64 * 1024 * 1024;
/** All queues together may hold as much as this number of full queues. */
const FULL_QUEUES = 4;

/**
 * How much one neighbour may send, per second and at once. The limits grow with the network, since a healed split or a cold
 * start floods much in a moment, and an honest neighbour must not look like a flood for that.
 */
class LinkLimits {
  /** @param queueBytes the most that may wait in the queue of one neighbour */
  constructor(
    private readonly store: RecordStore,
    private readonly queueBytes = QUEUE_BYTES,
  ) {}

  /** Returns how long an unrequested record must wait, in ms; 0 or less when it need not. */
  waitMs(peer: GossipPeer, record: MeshRecord, now: number): number {
    const records = waitMs(peer.recordsFullAtMs, now, this.recordRate());
    return Math.max(records, waitMs(peer.bytesFullAtMs, now, this.byteRate(), recordCopyBytes(record)));
  }

  /** Counts a record that is processed now. */
  count(peer: GossipPeer, record: MeshRecord, now: number): void {
    peer.recordsFullAtMs = afterTaking(peer.recordsFullAtMs, now, this.recordRate());
    peer.bytesFullAtMs = afterTaking(peer.bytesFullAtMs, now, this.byteRate(), recordCopyBytes(record));
  }

  /** Counts known records; false when they are too many. */
  countUseless(peer: GossipPeer, count: number, now: number): boolean {
    const { size } = this.store;
    const rate = { perS: USELESS_PER_S + size / 2, burst: USELESS_BURST + 8 * size };
    if (!canTake(peer.uselessFullAtMs, now, rate, count)) return false;
    peer.uselessFullAtMs = afterTaking(peer.uselessFullAtMs, now, rate, count);
    return true;
  }

  /** Whether more records wait than the limits allow. */
  isFull({ inbox }: GossipPeer, waiting: Iterable<GossipPeer>): boolean {
    const { queueBytes } = this;
    if (inbox.unasked > MAX_UNASKED + 2 * this.store.size) return true;
    if (inbox.unaskedBytes > MAX_UNASKED_BYTES + this.store.bytes || inbox.bytes > queueBytes) return true;
    if (inbox.bytes < Math.min(MAX_UNASKED_BYTES, queueBytes / 2)) return false;
    let bytes = 0;
    for (const peer of waiting) bytes += peer.inbox.bytes;
    return bytes > FULL_QUEUES * queueBytes;
  }

  // The limits grow with only half of the store: otherwise a flood would raise its own limit.

  private recordRate(): Rate {
    return { perS: RECORDS_PER_S, burst: RECORD_BURST + this.store.size / 2 };
  }

  private byteRate(): Rate {
    return { perS: BYTES_PER_S, burst: BYTE_BURST + this.store.bytes / 2 };
  }
}
