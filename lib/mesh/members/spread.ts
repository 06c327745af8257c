// The spread of statements about members: certificates, revocations and successions of authorities. What a node begins to hold, it sends
// to every peer at once; peers compare their books when a link comes up, so that a node that was away learns the rest. On each link,
// statements go ahead of records: a record should not come before the certificate of its node.
//
//   MEMBERS -> intake -> member book -> all other peers
//                             |
//               comparison with each peer

import type { NodeId } from '../../address.js';
import type { StarlaneError } from '../../errors.js';
import type { MemberBook, MemberChange, SpreadStatement } from '../../identity/member-book.js';
import { NextTurn } from '../../util/next-turn.js';
import { RecentMap } from '../../util/recent-map.js';
import type { Timers } from '../../util/timers.js';
import { statementBytes } from '../../wire/member-messages.js';
import { Capability, type Message, MessageType } from '../../wire/messages.js';
import type { MeshLink } from '../ports.js';
import { AnswerBudget } from '../sync/exchange.js';
import { Comparison } from './comparison.js';
import { StatementIntake } from './statement-intake.js';
import { StatementPeer } from './statement-peer.js';

/** How long a member may take to follow a new certificate of its own: its record and its services are published again. */
const FOLLOW_MS = 30_000;
const MAX_CHANGED = 4_096;
/** A message of this size is sent. */
const BATCH_BYTES = 16 * 1024;
/** The most that one peer is sent in one turn. */
const TURN_BYTES = 256 * 1024;
/** About the bytes of a statement, for the budget of answers. */
const STATEMENT_BYTES = 1_024;

interface MemberSpreadOwner {
  /** Called when all statements of one direction have been sent or checked, after {@link MemberSpread.goesAhead} or `isChecking`. */
  onSettled(link: MeshLink): void;
  /** Called with a link that must end for what came over it. */
  onPunish(link: MeshLink, error: StarlaneError, isBan: boolean): void;
}

export class MemberSpread {
  readonly counters = { in: 0, out: 0, unanswered: 0 };
  private readonly peers = new Set<StatementPeer>();
  private readonly byLink = new Map<MeshLink, StatementPeer>();
  private readonly intake: StatementIntake;
  private readonly comparison: Comparison;
  private readonly budget: AnswerBudget;
  private readonly nextTurn: NextTurn;
  /** When members last got another certificate than they had. */
  private readonly changedMs = new RecentMap<NodeId, number>(MAX_CHANGED);
  /** The peer whose statement is being checked. */
  private from: StatementPeer | undefined;
  private readonly forget: () => void;

  constructor(
    private readonly timers: Timers,
    private readonly book: MemberBook,
    /** False for a client: it passes on nothing but its own. */
    private readonly passesOn: boolean,
    private readonly owner: MemberSpreadOwner,
  ) {
    const onPunish = (peer: StatementPeer, error: StarlaneError, isBan: boolean): void =>
      this.punish(peer, error, isBan);
    const held = {
      get bytes(): number {
        return STATEMENT_BYTES * book.digest().count;
      },
    };
    this.budget = new AnswerBudget(timers, held, this.counters);
    this.comparison = new Comparison(timers, book, this.peers, this.budget, {
      onShown: (peer, theirs) => this.sendRest(peer, theirs),
      onCompared: (peer) => this.flush(peer),
      onPunish,
    });
    this.intake = new StatementIntake(timers, book, {
      onCheck: (from) => {
        this.from = from;
      },
      onChecked: (peer) => {
        this.comparison.onChecked(peer);
        this.settle(peer);
      },
      onPunish,
    });
    this.nextTurn = new NextTurn(timers.clock, () => {
      for (const peer of this.peers) this.flush(peer);
    });
    this.forget = book.onStatement((statement) => this.flood(statement));
  }

  /** Called when a link of any purpose is up. */
  onLink(link: MeshLink): void {
    if (((link.capabilities ?? 0) & Capability.MEMBERS) === 0 || this.byLink.has(link)) return;
    const peer = new StatementPeer(link, this.timers.now());
    this.byLink.set(link, peer);
    this.peers.add(peer);
    this.comparison.onLink(peer);
  }

  onUnlink(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer === undefined) return;
    this.drop(peer);
    this.byLink.delete(link);
  }

  /** Returns false for a message that is none of these. */
  onMessage(link: MeshLink, message: Message): boolean {
    const peer = this.byLink.get(link);
    switch (message.type) {
      case MessageType.MEMBERS:
        this.counters.in += message.statements.length;
        if (peer?.isActive) this.intake.take(peer, message.statements);
        return true;
      case MessageType.MEMBERS_DIGEST:
        if (peer?.isActive) this.comparison.onDigest(peer, message);
        return true;
      case MessageType.MEMBER_HASHES:
        if (peer?.isActive) this.comparison.onHashes(peer, message.hashes, message.isLast);
        return true;
      default:
        return false;
    }
  }

  /** Called when the peer accepts messages again. */
  onUnblocked(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer !== undefined) this.flush(peer);
  }

  /** Called when the book has forgotten statements. */
  onSwept(): void {
    this.comparison.onChange();
  }

  /** Whether statements have to be sent over a link ahead of everything else. */
  goesAhead(link: MeshLink): boolean {
    const peer = this.byLink.get(link);
    return peer !== undefined && (!peer.isCompared || peer.outbox.size > 0);
  }

  /** Whether statements of a peer wait for their check: what came after them has to wait as well. */
  isChecking(link: MeshLink): boolean {
    return (this.byLink.get(link)?.inbox.length ?? 0) > 0;
  }

  /** Whether the peer of a link knows its newest certificate, and has had the time to follow it. */
  isInformed(link: MeshLink): boolean {
    const now = this.timers.now();
    const changedMs = this.changedMs.peek(link.peerId);
    if (changedMs !== undefined && now - changedMs < FOLLOW_MS) return false;
    const peer = this.byLink.get(link);
    return peer === undefined || peer.isInformed || now - peer.upMs >= FOLLOW_MS;
  }

  onMemberChange(change: MemberChange): void {
    if (change.type !== 'member') return;
    const { member, previous } = change;
    if (previous !== undefined || this.book.acceptsSecret) this.changedMs.set(member.nodeId, this.timers.now());
    else if (this.from?.link.peerId === member.nodeId) this.from.isInformed = true;
  }

  dispose(): void {
    this.forget();
    this.intake.dispose();
    this.comparison.dispose();
    this.peers.clear();
    this.byLink.clear();
  }

  /** Sends a new statement to all but its sender, at once: its change may end links. */
  private flood(statement: SpreadStatement): void {
    const { from } = this;
    this.comparison.onChange();
    if (from !== undefined && !this.passesOn) return;
    for (const peer of this.peers) {
      if (peer === from || !peer.isActive) continue;
      if (peer.link.isBlocked) peer.outbox.put(statement);
      else this.send(peer, [statement]);
    }
  }

  private sendRest(peer: StatementPeer, theirs: ReadonlySet<string>): void {
    for (const statement of this.book.statements()) {
      if (!theirs.has(statement.hash) && this.budget.take(peer, statementBytes(statement.bytes)))
        peer.outbox.put(statement);
    }
  }

  private flush(peer: StatementPeer): void {
    const { outbox, link } = peer;
    for (let sent = 0; outbox.size > 0 && peer.isActive && !link.isBlocked; sent += BATCH_BYTES) {
      if (sent >= TURN_BYTES) {
        this.nextTurn.request();
        return;
      }
      this.send(
        peer,
        outbox.take(BATCH_BYTES, ({ hash }) => this.book.has(hash)),
      );
    }
    this.settle(peer);
  }

  private send({ link }: StatementPeer, statements: readonly SpreadStatement[]): void {
    if (statements.length === 0) return;
    this.counters.out += statements.length;
    link.send({ type: MessageType.MEMBERS, statements: statements.map(({ bytes }) => bytes) });
  }

  private settle(peer: StatementPeer): void {
    if (peer.isActive) this.owner.onSettled(peer.link);
  }

  private punish(peer: StatementPeer, error: StarlaneError, isBan: boolean): void {
    if (!peer.isActive) return;
    this.drop(peer);
    this.owner.onPunish(peer.link, error, isBan);
  }

  private drop(peer: StatementPeer): void {
    peer.isActive = false;
    peer.outbox.clear();
    this.peers.delete(peer);
    this.intake.drop(peer);
    this.comparison.onUnlink(peer);
  }
}
