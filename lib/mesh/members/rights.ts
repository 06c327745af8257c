// Who is a member, and what it may do, for the parts of the control plane: it asks the book, if there is one. Without a book every node is a
// member with all rights, since links prove the secret of the network.

import type { NodeId } from '../../address.js';
import type { MemberBook, MemberChange } from '../../identity/member-book.js';
import { ALL_RIGHTS, type MemberRights } from '../../identity/member-certificate.js';
import { RecentMap } from '../../util/recent-map.js';
import { type MeshRecord, NodeFlag, RecordKind } from '../../wire/records.js';

const MAX_BARRED = 16_384;

export class Rights {
  /** Nodes whose membership has ended, the latest ones: their records need not be requested. */
  private readonly barred = new RecentMap<NodeId, true>(MAX_BARRED);

  constructor(readonly book: MemberBook | undefined) {}

  /** Returns the rights of a node, an object that changes with its certificate; undefined when it is no member. */
  rightsOf(nodeId: NodeId): MemberRights | undefined {
    return this.book === undefined ? ALL_RIGHTS : this.book.rightsOf(nodeId);
  }

  isMember(nodeId: NodeId): boolean {
    return this.book === undefined || this.book.isMember(nodeId);
  }

  mayRelay(nodeId: NodeId): boolean {
    return this.book === undefined || this.book.mayRelay(nodeId);
  }

  mayOffer(nodeId: NodeId, service: string): boolean {
    return this.book === undefined || this.book.mayOffer(nodeId, service);
  }

  /** Whether a member has signed a record: another key may have the same node id. */
  hasMade({ nodeId, publicKey }: MeshRecord): boolean {
    const { book } = this;
    if (book === undefined) return true;
    const member = book.member(nodeId);
    if (member !== undefined) return Buffer.compare(member.publicKey, publicKey) === 0;
    return book.isMember(nodeId) && !book.isRevoked(publicKey);
  }

  /** Whether a record says what the certificate of its node does not allow; others ignore it in parts. */
  isOverstep(record: MeshRecord): boolean {
    if (this.book === undefined) return false;
    const { nodeId } = record;
    if (record.kind === RecordKind.NODE) return (record.flags & NodeFlag.RELAY) !== 0 && !this.mayRelay(nodeId);
    return !record.services.every(({ service }) => this.mayOffer(nodeId, service));
  }

  /** Whether the membership of a node has ended. */
  isBarred(nodeId: NodeId): boolean {
    return this.book !== undefined && this.barred.has(nodeId) && !this.book.isMember(nodeId);
  }

  /** Must be called with each change, before any other part. */
  onChange(change: MemberChange): void {
    if (change.type === 'member') this.barred.delete(change.member.nodeId);
    else if (change.type !== 'authority') this.barred.set(change.nodeId, true);
  }
}
