// All links of one process: what lib/link/link-set.ts is to a node, with its rules. One link to a peer; of two, the node
// with the lower id decides, and keeps the existing one if that answers a ping.

import { randomBytes } from 'node:crypto';
import type { NodeId } from '../../lib/address.js';
import { starlaneError } from '../../lib/errors.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import type { SelfDescription } from '../../lib/link/handshake/handshake.js';
import { isDuplicate, isLoss, type Refusal, refusal, withAddress } from '../../lib/link/handshake/refusals.js';
import { type LinkPurpose, purposeFlags } from '../../lib/link/link-purpose.js';
import { proofMs } from '../../lib/link/link-set.js';
import { Timers } from '../../lib/util/timers.js';
import {
  GoodbyeCode,
  type Hello,
  type Message,
  MessageType,
  MIN_PROTOCOL_VERSION,
  PROTOCOL_VERSION,
} from '../../lib/wire/messages.js';
import type { Paths } from './paths.js';
import type { SimHost } from './sim-host.js';
import type { SimLink } from './sim-link.js';
import type { SimNode } from './sim-node.js';
import type { SimProcess } from './sim-process.js';
import type { Traffic } from './traffic.js';

const MAX_LINKS = 1024;
const MAX_PENDING_HANDSHAKES = 128;
const NONCE = randomBytes(16);

export interface SimLinksOwner {
  readonly node: SimNode;
  objection(link: SimLink): string | undefined;
  onLink(link: SimLink): void;
  onPromoted(link: SimLink): void;
  onMessage(link: SimLink, message: Message): void;
  onUnblocked(link: SimLink): void;
  onUnlink(link: SimLink, reason: Error | undefined): void;
}

interface Waiter {
  resolve(link: SimLink): void;
  reject(error: Error): void;
}

export class SimLinks {
  readonly handshakeTimeoutMs = 5_000;
  /** Of Node's timers this has the granularity and the order. */
  readonly timers: Timers;
  /** Counts since the start: links that came up, that were lost other than gracefully, and attempts that failed. */
  readonly counters = { opened: 0, lost: 0, failed: 0 };
  private readonly byPeer = new Map<NodeId, SimLink>();
  private readonly all = new Set<SimLink>();
  private readonly settling = new Map<SimLink, Waiter>();
  private readonly awaited = new Map<NodeId, Set<Waiter>>();
  private strangers = 0;
  private isClosed = false;

  constructor(
    readonly process: SimProcess,
    readonly host: SimHost,
    readonly self: SelfDescription,
    private readonly paths: Paths,
    private readonly owner: SimLinksOwner,
    private readonly book?: MemberBook,
  ) {
    this.timers = new Timers(process);
    book?.onChange((change) => {
      if (change.type === 'revoked' || change.type === 'expired') this.end(change.nodeId, change.publicKey);
    });
  }

  get node(): SimNode {
    return this.owner.node;
  }

  /** Counted over all lives of the node. */
  get traffic(): Traffic {
    return this.owner.node.traffic;
  }

  get size(): number {
    return this.byPeer.size;
  }

  get(peerId: NodeId): SimLink | undefined {
    return this.byPeer.get(peerId);
  }

  values(): IterableIterator<SimLink> {
    return this.byPeer.values();
  }

  /** Does the machine still answer? */
  get isKernelUp(): boolean {
    return this.host.isUp;
  }

  roundTripMs(other: SimLinks): number {
    return this.paths.roundTripMs(this.host, other.host);
  }

  makeHello(purpose: LinkPurpose): { readonly type: typeof MessageType.HELLO } & Hello {
    const { nodeId, publicKey, bootId, role, envDigests, capabilities = 0 } = this.self;
    return {
      type: MessageType.HELLO,
      version: PROTOCOL_VERSION,
      minVersion: MIN_PROTOCOL_VERSION,
      nodeId,
      publicKey,
      bootId,
      role,
      flags: purposeFlags(purpose),
      capabilities,
      envDigests,
      listenAddresses: this.host.isListening ? [this.host.address] : [],
      nonce: NONCE,
    };
  }

  /** A new end. An inbound one that is too much is undefined. */
  add(link: SimLink): boolean {
    if (link.direction === 'inbound') {
      if (this.isClosed || this.strangers >= MAX_PENDING_HANDSHAKES) return false;
      this.strangers++;
    }
    this.all.add(link);
    return true;
  }

  /** Resolved when a link that this node dials is in sync, or with the existing one instead. */
  established(link: SimLink): Promise<SimLink> {
    return new Promise((resolve, reject) => {
      this.settling.set(link, { resolve, reject });
    });
  }

  /** Links that are up without a handshake. */
  adoptStanding(link: SimLink): void {
    this.all.add(link);
    this.byPeer.set(link.peerId, link);
    this.counters.opened++;
    this.owner.onLink(link);
  }

  /** Closes every link gracefully. */
  close(): void {
    this.isClosed = true;
    for (const link of [...this.all]) {
      if (link.isUp) link.close();
      else if (!link.isLeaving) link.destroy(starlaneError('ERR_STARLANE_CLOSED'));
    }
  }

  /** The process has ended. */
  abandon(isMachineGone: boolean): void {
    this.isClosed = true;
    for (const link of this.all) link.abandon(isMachineGone);
    this.all.clear();
    this.byPeer.clear();
  }

  // --- callbacks of links ---

  onHello(link: SimLink): Refusal | undefined {
    if (this.isClosed) return refusal(GoodbyeCode.NORMAL, 'ERR_STARLANE_CLOSED', undefined, 'the peer is closed');
    if (this.byPeer.size >= MAX_LINKS && !this.byPeer.has(link.peerId)) {
      return refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', `${MAX_LINKS} links`, `${MAX_LINKS} links`);
    }
    const fault = this.faultOf(link);
    if (fault !== undefined) return refusal(GoodbyeCode.NOT_MEMBER, 'ERR_STARLANE_REVOKED', fault.message, '');
    const objection = link.direction === 'inbound' ? this.owner.objection(link) : undefined;
    return objection === undefined
      ? undefined
      : refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', objection, objection);
  }

  onDecide(link: SimLink): void {
    const standing = this.byPeer.get(link.peerId);
    if (standing === undefined || standing.bootId !== link.bootId) {
      link.accept();
      return;
    }
    const { rttMs, lateMs } = standing;
    const timer = this.timers.schedule(proofMs(rttMs, lateMs, this.handshakeTimeoutMs), {
      onDeadline: () =>
        standing.destroy(starlaneError('ERR_STARLANE_LINK_LOST', 'it did not answer when the peer made another')),
    });
    const decide = (): void => {
      this.timers.cancel(timer);
      if (!link.isDeciding) return;
      if (this.byPeer.get(link.peerId) !== standing) this.onDecide(link);
      else link.refuse(refusal(GoodbyeCode.DUPLICATE, 'ERR_STARLANE_DUPLICATE_LINK', link.peerId, ''));
    };
    standing.ping().then(decide, decide);
  }

  onUp(link: SimLink): void {
    const standing = this.byPeer.get(link.peerId);
    this.byPeer.set(link.peerId, link);
    if (link.direction === 'inbound') this.strangers--;
    this.counters.opened++;
    if (standing !== undefined) {
      const how = standing.bootId === link.bootId ? 'the peer has given it up' : 'the peer has restarted';
      standing.destroy(starlaneError('ERR_STARLANE_LINK_LOST', how));
    }
    this.owner.onLink(link);
    const waiters = this.awaited.get(link.peerId);
    this.awaited.delete(link.peerId);
    for (const waiter of waiters ?? []) waiter.resolve(link);
  }

  onPromoted(link: SimLink): void {
    this.owner.onPromoted(link);
  }

  onMessage(link: SimLink, message: Message): void {
    this.owner.onMessage(link, message);
  }

  /** The control plane has applied the initial sync of the peer. */
  onSynced(link: SimLink): void {
    link.synced();
    if (link.isSynced) this.settle(link)?.resolve(link);
  }

  onUnblocked(link: SimLink): void {
    if (link.isUp) this.owner.onUnblocked(link);
  }

  onDown(link: SimLink, reason: Error | undefined): void {
    const wasUp = link.upAtMs !== undefined;
    if (this.byPeer.get(link.peerId) === link) this.byPeer.delete(link.peerId);
    if (wasUp) {
      if (isLoss(reason)) this.counters.lost++;
      this.owner.onUnlink(link, reason);
    } else if (reason !== undefined) this.counters.failed++;

    const failure = reason ?? starlaneError('ERR_STARLANE_CLOSED');
    if (!wasUp && isDuplicate(failure)) this.byPeer.get(link.peerId)?.promote(link.purpose);
    const waiter = this.settle(link);
    if (waiter === undefined) return;
    if (isDuplicate(failure)) this.adopt(link, waiter);
    else waiter.reject(withAddress(failure, link.address));
  }

  onClosed(link: SimLink): void {
    this.all.delete(link);
    if (link.direction === 'inbound' && link.upAtMs === undefined) this.strangers--;
  }

  /** Reads the certificate that the peer shows, which costs no message here. */
  private faultOf({ other }: SimLink): Error | undefined {
    const { setup } = other.node;
    if (this.book === undefined || setup.wide.members === undefined) return undefined;
    this.book.add(setup.wide.members.statementOf(setup.keys));
    return this.book.fault(setup.keys.publicKey);
  }

  private end(nodeId: NodeId, publicKey: Uint8Array): void {
    this.byPeer.get(nodeId)?.destroy(this.book?.fault(publicKey));
  }

  /** Resolved with the established link to the peer, or with the one that is being established. */
  private adopt({ peerId, purpose }: SimLink, waiter: Waiter): void {
    const standing = this.byPeer.get(peerId);
    if (standing !== undefined) {
      waiter.resolve(standing);
      return;
    }
    const waiters = this.awaited.get(peerId) ?? new Set();
    this.awaited.set(peerId, waiters);
    const timer = this.timers.schedule(this.handshakeTimeoutMs, {
      onDeadline: () => {
        waiters.delete(entry);
        waiter.reject(starlaneError('ERR_STARLANE_DUPLICATE_LINK', peerId));
      },
    });
    const entry: Waiter = {
      resolve: (link) => {
        this.timers.cancel(timer);
        link.promote(purpose);
        waiter.resolve(link);
      },
      reject: waiter.reject,
    };
    waiters.add(entry);
  }

  private settle(link: SimLink): Waiter | undefined {
    const waiter = this.settling.get(link);
    if (waiter !== undefined) this.settling.delete(link);
    return waiter;
  }
}
