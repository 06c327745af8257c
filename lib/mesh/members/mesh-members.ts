// Members, as the control plane needs them: who is one, how statements about them spread, when they expire, and what this node itself may
// do. Without a book of members every node of the network is one, and there is nothing to spread.

import type { NodeId } from '../../address.js';
import type { StarlaneError } from '../../errors.js';
import type { MemberBook, MemberChange } from '../../identity/member-book.js';
import type { Message } from '../../wire/messages.js';
import type { StatementTraffic } from '../gossip/gossip.js';
import type { MeshEnvironment, MeshLink } from '../ports.js';
import { OwnRights } from './own-rights.js';
import { Rights } from './rights.js';
import { MemberSpread } from './spread.js';
import { Sweeper } from './sweeper.js';

interface MeshMembersOwner {
  /** Called when a node has become a member, or has other rights. */
  onMember(nodeId: NodeId): void;
  /** Called when a node is no member any more. */
  onBarred(nodeId: NodeId): void;
  /** Called when the rights of this node have changed. */
  onOwnRights(): void;
  /** Called when no statement waits on a link any more, in one of the two directions. */
  onSettled(link: MeshLink): void;
  /** Called with a link that must end for what came over it. */
  onPunish(link: MeshLink, error: StarlaneError, isBan: boolean): void;
}

export class MeshMembers implements StatementTraffic {
  readonly rights: Rights;
  readonly own: OwnRights;
  readonly spread: MemberSpread | undefined;
  private readonly sweeper: Sweeper | undefined;
  private readonly forget: (() => void) | undefined;

  /** @param passesOn false for a client */
  constructor(
    { identity, timers }: MeshEnvironment,
    book: MemberBook | undefined,
    passesOn: boolean,
    private readonly owner: MeshMembersOwner,
  ) {
    this.rights = new Rights(book);
    this.own = new OwnRights(identity.nodeId, this.rights);
    if (book === undefined) return;
    const spread = new MemberSpread(timers, book, passesOn, owner);
    this.spread = spread;
    this.sweeper = new Sweeper(timers, book, () => spread.onSwept());
    this.forget = book.onChange((change) => this.onChange(change, identity.nodeId));
  }

  onLink(link: MeshLink): void {
    this.spread?.onLink(link);
  }

  onUnlink(link: MeshLink): void {
    this.spread?.onUnlink(link);
  }

  /** Returns false for a message that is not about members. */
  onMessage(link: MeshLink, message: Message): boolean {
    return this.spread?.onMessage(link, message) ?? false;
  }

  onUnblocked(link: MeshLink): void {
    this.spread?.onUnblocked(link);
  }

  goesAhead(link: MeshLink): boolean {
    return this.spread?.goesAhead(link) ?? false;
  }

  isChecking(link: MeshLink): boolean {
    return this.spread?.isChecking(link) ?? false;
  }

  isInformed(link: MeshLink): boolean {
    return this.spread?.isInformed(link) ?? false;
  }

  dispose(): void {
    this.forget?.();
    this.spread?.dispose();
    this.sweeper?.dispose();
  }

  private onChange(change: MemberChange, self: NodeId): void {
    this.rights.onChange(change);
    this.spread?.onMemberChange(change);
    this.sweeper?.onChange(change);
    if (change.type === 'authority') return;
    const nodeId = change.type === 'member' ? change.member.nodeId : change.nodeId;
    if (nodeId === self && this.own.update()) this.owner.onOwnRights();
    // In a network that is gaining an authority, a node is a member without a certificate as well.
    if (this.rights.isMember(nodeId)) this.owner.onMember(nodeId);
    else this.owner.onBarred(nodeId);
  }
}
