// Statements that arrive from a peer. Known ones are recognised by their hashes; for the others each turn checks a few signatures. Each
// peer has a queue and rate limits; when the queue is full, its link is closed. A forged statement costs the sender its link, and a ban:
// nodes pass on only what they have checked.

import { type StarlaneError, starlaneError } from '../../errors.js';
import { hashOf, type MemberBook } from '../../identity/member-book.js';
import { Deadline } from '../../util/deadline.js';
import { NextTurn } from '../../util/next-turn.js';
import type { Timers } from '../../util/timers.js';
import { afterTaking, canTake, type Rate, waitMs } from '../../util/token-bucket.js';
import type { StatementPeer } from './statement-peer.js';

/** One and a half milliseconds of X.509 and Ed25519. */
const CHECKS_PER_TURN = 10;
/** Statements that nobody requested. A healed split brings all of one half at once. */
const PER_S = 200;
const BURST = 4_096;
/** Known statements: every peer may send each one once. */
const USELESS_PER_S = 1_000;
const USELESS_BURST = 20_000;
/** The most that may wait of one peer, and of all together. The certificates of 16,384 members take some 10 MB. */
const QUEUE_BYTES = 32 * 1024 * 1024;
const FULL_QUEUES = 2;
/** What a statement takes besides its bytes, about: it may have a single one. */
const OVERHEAD_BYTES = 512;

interface StatementIntakeOwner {
  /** Called around the check of a statement, so that it is not sent back to its sender. */
  onCheck(from: StatementPeer | undefined): void;
  /** Called when no statement of this peer waits any more. */
  onChecked(peer: StatementPeer): void;
  onPunish(peer: StatementPeer, error: StarlaneError, isBan: boolean): void;
}

export class StatementIntake {
  private readonly waiting = new Set<StatementPeer>();
  private checks = 0;
  /** The number of checks is reset in the next turn, so that no turn does more. */
  private readonly nextTurn: NextTurn;
  /** When a peer may send more again. */
  private readonly deadline: Deadline;
  private isClosed = false;

  constructor(
    private readonly timers: Timers,
    private readonly book: MemberBook,
    private readonly owner: StatementIntakeOwner,
  ) {
    this.deadline = new Deadline(timers, () => this.work());
    this.nextTurn = new NextTurn(timers.clock, () => {
      this.checks = 0;
      this.work();
    });
  }

  take(peer: StatementPeer, statements: readonly Uint8Array[]): void {
    let useless = 0;
    for (const statement of statements) {
      if (this.book.has(hashOf(statement))) {
        useless++;
        continue;
      }
      peer.inbox.push(statement);
      peer.inboxBytes += statement.length + OVERHEAD_BYTES;
    }
    if (useless > 0 && !this.countUseless(peer, useless)) return;
    if (peer.inbox.length > 0) this.waiting.add(peer);
    if (this.isFull(peer)) {
      this.owner.onPunish(peer, starlaneError('ERR_STARLANE_GOSSIP_FLOOD', 'statements about members'), false);
    } else this.work();
  }

  /** Called when the link is gone. */
  drop(peer: StatementPeer): void {
    peer.inbox.length = 0;
    peer.inboxBytes = 0;
    this.waiting.delete(peer);
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
    this.waiting.clear();
  }

  private countUseless(peer: StatementPeer, count: number): boolean {
    const rate = { perS: USELESS_PER_S, burst: USELESS_BURST + 8 * this.book.size };
    const now = this.timers.now();
    if (canTake(peer.uselessFullAtMs, now, rate, count)) {
      peer.uselessFullAtMs = afterTaking(peer.uselessFullAtMs, now, rate, count);
      return true;
    }
    this.owner.onPunish(peer, starlaneError('ERR_STARLANE_GOSSIP_FLOOD', 'known statements about members'), false);
    return false;
  }

  private isFull({ inboxBytes }: StatementPeer): boolean {
    if (inboxBytes > QUEUE_BYTES) return true;
    if (inboxBytes < QUEUE_BYTES / FULL_QUEUES) return false;
    let bytes = 0;
    for (const peer of this.waiting) bytes += peer.inboxBytes;
    return bytes > FULL_QUEUES * QUEUE_BYTES;
  }

  /** Takes one statement of each peer in turn. */
  private work(): void {
    for (let isProgress = true; isProgress; ) {
      isProgress = false;
      for (const peer of this.waiting) {
        if (this.isClosed) return;
        if (this.checks >= CHECKS_PER_TURN) {
          this.nextTurn.request();
          return;
        }
        if (this.step(peer)) isProgress = true;
      }
    }
    this.workLater();
  }

  private step(peer: StatementPeer): boolean {
    if (this.waitMs(peer) > 0) return false;
    const statement = peer.inbox.shift() as Uint8Array;
    peer.inboxBytes -= statement.length + OVERHEAD_BYTES;
    if (peer.inbox.length === 0) this.waiting.delete(peer);
    if (peer.askedFor > 0) peer.askedFor--;
    else peer.fullAtMs = afterTaking(peer.fullAtMs, this.timers.now(), this.rate());
    this.check(peer, statement);
    if (peer.inbox.length === 0 && peer.isActive) this.owner.onChecked(peer);
    return true;
  }

  private check(peer: StatementPeer, statement: Uint8Array): void {
    if (++this.checks >= CHECKS_PER_TURN) this.nextTurn.request();
    this.owner.onCheck(peer);
    try {
      this.book.add(statement);
    } catch (error) {
      this.owner.onPunish(peer, error as StarlaneError, true);
    } finally {
      this.owner.onCheck(undefined);
    }
  }

  private workLater(): void {
    if (this.nextTurn.isDue || this.deadline.isSet) return;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const peer of this.waiting) leastMs = Math.min(leastMs, this.waitMs(peer));
    if (leastMs < Number.POSITIVE_INFINITY) this.deadline.set(leastMs);
  }

  private waitMs({ askedFor, fullAtMs }: StatementPeer): number {
    return askedFor > 0 ? 0 : waitMs(fullAtMs, this.timers.now(), this.rate());
  }

  private rate(): Rate {
    return { perS: PER_S, burst: BURST + this.book.size / 2 };
  }
}
