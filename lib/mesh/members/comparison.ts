// Finds out whether a peer holds the same statements about members, and repairs what differs:
//
//   MEMBERS_DIGEST <--> MEMBERS_DIGEST       when the link comes up, and later when the root has changed
//   MEMBER_HASHES  <--> MEMBER_HASHES        if the roots differ
//   MEMBERS        <--> MEMBERS              what the other one lacks
//
// Unlike records, statements hardly ever change, so that all hashes of a thousand members (8 KB) are sent instead of parts.

import { type StarlaneError, starlaneError } from '../../errors.js';
import type { MemberBook } from '../../identity/member-book.js';
import { Deadline } from '../../util/deadline.js';
import { REST_SLACK_MS, type Timers } from '../../util/timers.js';
import { MAX_MEMBER_HASHES, type MembersDigest } from '../../wire/member-messages.js';
import { MessageType } from '../../wire/message.js';
import type { AnswerBudget } from '../sync/exchange.js';
import type { StatementPeer } from './statement-peer.js';

/** How often changed roots are sent. */
const DIGEST_MS = 5_000;
const CHECK_MS = 1_000;
/** How long books may differ before they are compared again: most differences are statements on their way. */
const GRACE_MS = 3_000;
/** A peer without an answer for so long is not waited for. */
const ANSWER_MS = 10_000;
/** The pause before the next comparison with the same peer, doubled while they are in vain: one node may ignore what another keeps. */
const PAUSE_MS = 10_000;
const MAX_PAUSE_MS = 600_000;
/** While one peer sends nearly everything to a new node, the others wait this long at most: they would send the same. */
const BULK_MS = 3_000;
const FEW = 64;
/** As many as any book may hold, and more. */
const MAX_HASHES = 131_072;
const HASH_BYTES = 8;

interface ComparisonOwner {
  /** Called with what a peer holds: it is to be sent the rest. */
  onShown(peer: StatementPeer, theirs: ReadonlySet<string>): void;
  /** Called when all that the peer lacked has been sent, or waits to be. */
  onCompared(peer: StatementPeer): void;
  onPunish(peer: StatementPeer, error: StarlaneError, isBan: boolean): void;
}

export class Comparison {
  private readonly nextCheck: Deadline;
  private readonly nextDigest: Deadline;
  /** The peer that sends nearly everything to this node, and since when. */
  private bulk: StatementPeer | undefined;
  private bulkMs = 0;

  constructor(
    private readonly timers: Timers,
    private readonly book: MemberBook,
    private readonly peers: ReadonlySet<StatementPeer>,
    private readonly budget: AnswerBudget,
    private readonly owner: ComparisonOwner,
  ) {
    this.nextCheck = new Deadline(timers, (now) => this.checkAll(now));
    this.nextDigest = new Deadline(timers, () => this.sendDigests());
  }

  onLink(peer: StatementPeer): void {
    this.sendDigest(peer);
    this.checkLater();
  }

  onUnlink(peer: StatementPeer): void {
    if (this.bulk === peer) this.endBulk();
  }

  /** Called when the book has changed. */
  onChange(): void {
    if (!this.nextDigest.isSet && this.peers.size > 0) this.nextDigest.set(DIGEST_MS, REST_SLACK_MS);
    const digest = this.book.digest();
    for (const peer of this.peers) if (peer.differsMs !== 0 && isSame(peer.theirs, digest)) noteEqual(peer);
  }

  onDigest(peer: StatementPeer, { rootHigh, rootLow, count }: MembersDigest): void {
    const isFirst = peer.theirs === undefined;
    peer.theirs = { rootHigh, rootLow, count };
    if (isFirst) {
      // Both sides compare the same two roots.
      if (isSame(peer.theirs, peer.ours)) {
        peer.isNew = false;
        peer.isInformed = true;
        this.end(peer);
      } else {
        peer.mustShow = true;
        this.showWaiting();
      }
      return;
    }
    if (isSame(peer.theirs, this.book.digest())) noteEqual(peer);
    else if (peer.differsMs === 0) peer.differsMs = this.timers.now();
    if (peer.differsMs !== 0) this.checkLater();
  }

  onHashes(peer: StatementPeer, hashes: readonly string[], isLast: boolean): void {
    peer.gathered ??= new Set();
    for (const hash of hashes) peer.gathered.add(hash);
    if (peer.gathered.size > MAX_HASHES) {
      this.owner.onPunish(peer, starlaneError('ERR_STARLANE_GOSSIP_FLOOD', 'hashes of statements'), false);
      return;
    }
    if (isLast) this.onLastHash(peer, peer.gathered);
  }

  /** Called when no statement of this peer waits any more. */
  onChecked(peer: StatementPeer): void {
    if (this.bulk === peer && peer.askedFor === 0) this.endBulk();
  }

  dispose(): void {
    this.nextCheck.clear();
    this.nextDigest.clear();
  }

  private onLastHash(peer: StatementPeer, theirs: ReadonlySet<string>): void {
    peer.gathered = undefined;
    const wasShown = peer.shownMs !== 0;
    peer.shownMs = 0;
    const own = this.book.certificateHash(peer.link.peerId);
    if (own !== undefined && theirs.has(own)) peer.isInformed = true;
    let lacking = 0;
    for (const hash of theirs) if (!this.book.has(hash)) lacking++;
    if (!this.budget.take(peer, HASH_BYTES * (theirs.size + this.book.digest().count))) return;
    if (!wasShown && !peer.mustShow && lacking > 0) this.show(peer);
    peer.shownMs = 0;
    peer.askedFor = lacking;
    this.owner.onShown(peer, theirs);
    if (peer.mustShow) this.showWaiting();
    else if (lacking === 0 && this.bulk === peer) this.endBulk();
    this.end(peer);
  }

  /** Sends hashes to the peers that wait for them. */
  private showWaiting(): void {
    for (const peer of this.peers) {
      if (!peer.mustShow || !peer.isActive || this.isBulkElsewhere(peer)) continue;
      if ((peer.theirs?.count ?? 0) > 2 * this.book.digest().count + FEW && this.bulk === undefined) {
        this.bulk = peer;
        this.bulkMs = this.timers.now();
      }
      this.show(peer);
    }
  }

  private isBulkElsewhere(peer: StatementPeer): boolean {
    if (this.bulk === undefined || this.bulk === peer || !peer.isNew) return false;
    return this.timers.now() - this.bulkMs < BULK_MS;
  }

  private endBulk(): void {
    this.bulk = undefined;
    this.showWaiting();
  }

  private show(peer: StatementPeer): void {
    peer.mustShow = false;
    peer.isNew = false;
    peer.shownMs = this.timers.now();
    const hashes = [...this.book.statements()].map(({ hash }) => hash);
    for (let at = 0; at === 0 || at < hashes.length; at += MAX_MEMBER_HASHES) {
      const isLast = at + MAX_MEMBER_HASHES >= hashes.length;
      peer.link.send({
        type: MessageType.MEMBER_HASHES,
        isLast,
        hashes: hashes.slice(at, at + MAX_MEMBER_HASHES),
      });
    }
    this.checkLater();
  }

  private end(peer: StatementPeer): void {
    const now = this.timers.now();
    peer.isCompared = true;
    peer.differsMs = isSame(peer.theirs, this.book.digest()) ? 0 : now;
    peer.notBeforeMs = Math.max(peer.notBeforeMs, now + PAUSE_MS);
    this.owner.onCompared(peer);
  }

  private sendDigest(peer: StatementPeer): void {
    peer.ours = this.book.digest();
    peer.link.send({ type: MessageType.MEMBERS_DIGEST, ...peer.ours });
  }

  private sendDigests(): void {
    const digest = this.book.digest();
    for (const peer of this.peers) {
      if (peer.isCompared && !peer.link.isBlocked && !isSame(peer.ours, digest)) this.sendDigest(peer);
    }
  }

  private checkAll(now: number): void {
    let isWatching = false;
    for (const peer of this.peers) {
      if (!peer.isCompared && now - peer.upMs > ANSWER_MS) this.end(peer);
      if (peer.shownMs !== 0 && now - peer.shownMs > ANSWER_MS) {
        peer.shownMs = 0;
        peer.gathered = undefined;
      }
      this.check(peer, now);
      isWatching ||= !peer.isCompared || peer.mustShow || peer.shownMs !== 0 || peer.differsMs !== 0;
    }
    this.showWaiting();
    if (isWatching) this.checkLater();
  }

  private check(peer: StatementPeer, now: number): void {
    const { differsMs } = peer;
    if (differsMs === 0 || now - differsMs < GRACE_MS || now < peer.notBeforeMs || peer.link.isBlocked) return;
    if (peer.outbox.size > 0 || peer.inbox.length > 0 || peer.shownMs !== 0) return;
    peer.notBeforeMs = now + Math.min(PAUSE_MS * 2 ** Math.min(peer.vain++, 10), MAX_PAUSE_MS);
    peer.mustShow = true;
  }

  private checkLater(): void {
    if (!this.nextCheck.isSet && this.peers.size > 0) this.nextCheck.set(CHECK_MS);
  }
}

function isSame(one: MembersDigest | undefined, other: MembersDigest | undefined): boolean {
  return one !== undefined && one.rootHigh === other?.rootHigh && one.rootLow === other.rootLow;
}

function noteEqual(peer: StatementPeer): void {
  peer.differsMs = 0;
  peer.vain = 0;
}
