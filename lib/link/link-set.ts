// All links of a node: listening, dialling, attaching, limits, and one link to a peer.
//
// Two nodes may come to be linked twice: both join each other, or one has lost a link that the other still counts on.
// Only the node with the lower id decides (see handshake.ts), so they cannot each drop the other's. It keeps the link
// that stands if that answers a ping, and no stream is disturbed; otherwise the new link takes its place.

import type { Duplex } from 'node:stream';
import { formatLinkAddress, type LinkAddress, type NodeId, parseLinkAddress } from '../address.js';
import { starlaneError } from '../errors.js';
import { answerMs } from '../mux/liveness/lateness.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import { debug } from '../util/runtime/debug.js';
import type { Timers } from '../util/timers.js';
import { GoodbyeCode, type Message, MessageType } from '../wire/messages.js';
import { duplicate, duplicateAt, isLaterRun, newerText, OlderRuns, olderText } from './duplicate-identity.js';
import type { SelfDescription } from './handshake/handshake.js';
import {
  countDial,
  countFailure,
  isDuplicate,
  isLoss,
  isNoFault,
  isTaken,
  type LinkCounters,
  newCounters,
  type Refusal,
  refusal,
  withAddress,
} from './handshake/refusals.js';
import { negotiateRole } from './handshake/role.js';
import { Link, type LinkDirection, type LinkOwner } from './link.js';
import type { LinkPurpose } from './link-purpose.js';
import { isSameListener, reachableAddresses } from './transport/address-probe.js';
import { connect, dialTurns } from './transport/connect.js';
import { LinkListener } from './transport/listen.js';
import { type Stranger, Strangers } from './transport/pending-connections.js';
import type { LinkTls, TlsFacts } from './transport/tls.js';

const log = debug('link');

/** How long a link that stands may take to prove it when the peer makes another one, in ms, or {@link answerMs} if that is longer... */
const PROOF_MS = 2_000;
/** ...but not more than this share of the handshake timeout: the peer waits for the decision with its new link. */
const PROOF_SHARE = 2 / 3;

/** How long that is for a link with this round trip, in ms. `lateMs`: how much later answers may come where packets are lost. */
export function proofMs(rttMs: number, lateMs: number, handshakeTimeoutMs: number): number {
  const needed = Math.max(PROOF_MS, answerMs(rttMs, lateMs));
  return Math.min(needed, handshakeTimeoutMs * PROOF_SHARE);
}

/** Whoever says so of links that never come up is not to fill the memory. */
const MAX_PROMOTIONS = 256;

/** Of closeTimeoutMs, what the end of a link has in any case: there and back again. */
const GOODBYE_SHARE = 0.2;

/** How a link comes to be. */
interface LinkOrigin {
  readonly direction: LinkDirection;
  readonly address: string;
  readonly client: boolean;
  readonly purpose: LinkPurpose;
  readonly expect?: NodeId;
  readonly tls?: TlsFacts;
}

export class LinkSet implements LinkOwner<Link> {
  readonly counters: LinkCounters = newCounters();
  /** Why the last link ended or did not come up, unless one has come up since. */
  lastFailure: Error | undefined;
  /** Whoever has connected to a listener and is not up. */
  readonly strangers: Strangers;
  private readonly byPeer = new Map<NodeId, Link>();
  /** Every link with anything left of it, in handshake or leaving included. */
  private readonly all = new Set<Link>();
  readonly listeners = new Set<LinkListener>();
  /** Those of strangers: who has connected, and is not up. */
  private readonly inHandshake = new Map<Link, Stranger>();
  /** Attached by the user, and not links yet. */
  private readonly attaching = new Set<Duplex>();
  private readonly waits: LinkWaits;
  /** What links that are about to stand are to be for besides. */
  private readonly promotions = new Map<NodeId, LinkPurpose>();
  private readonly olderRuns = new OlderRuns();
  private isClosed = false;
  private listenersClosed: Promise<unknown> | undefined;
  private onEmpty: (() => void) | undefined;

  constructor(
    private readonly self: SelfDescription,
    readonly options: ResolvedNodeOptions,
    readonly timers: Timers,
    private readonly owner: LinkSetOwner,
    private readonly means: LinkMeans = { networkKeys: [], tls: undefined },
  ) {
    this.strangers = new Strangers(options.maxPendingHandshakes, timers);
    this.waits = new LinkWaits(timers, options.handshakeTimeoutMs);
  }

  get tls(): LinkTls | undefined {
    return this.means.tls;
  }

  /** The link to a peer, if it is up. */
  get(peerId: NodeId): Link | undefined {
    return this.byPeer.get(peerId);
  }

  /** Links that are up. */
  values(): IterableIterator<Link> {
    return this.byPeer.values();
  }

  get size(): number {
    return this.byPeer.size;
  }

  /** Links in the middle of a handshake, and links that are leaving. */
  get unsettled(): number {
    return this.all.size - this.byPeer.size;
  }

  /** Link addresses at which others reach this node. */
  get listenAddresses(): readonly string[] {
    const { advertise } = this.options;
    if (this.listeners.size === 0) return [];
    if (advertise.length > 0) return advertise.map((address) => formatLinkAddress(this.parse(address)));
    return reachableAddresses([...this.listeners].map((listener) => listener.address));
  }

  /** Link addresses at which this node itself listens, on whatever interface: not those that it only advertises. */
  get ownAddresses(): readonly string[] {
    return reachableAddresses([...this.listeners].map((listener) => listener.address));
  }

  /** Whether it is certain that nobody but this node answers there. */
  isOwn(address: LinkAddress): boolean {
    return [...this.listeners].some((listener) => isSameListener(address, this.parse(listener.address)));
  }

  /** Of an address that says none. */
  get defaultScheme(): 'tcp' | 'tls' {
    return this.tls === undefined ? 'tcp' : 'tls';
  }

  parse(address: string): LinkAddress {
    return parseLinkAddress(address, this.defaultScheme);
  }

  /** Listens for links. @throws as transport.listen, ERR_STARLANE_ADDRESS, ERR_STARLANE_CLOSED */
  async listen(address: string): Promise<LinkListener> {
    this.checkOpen();
    const listener = new LinkListener(this.parse(address), this);
    await listener.start();
    if (this.isClosed) {
      await listener.close();
      throw starlaneError('ERR_STARLANE_CLOSED');
    }
    this.listeners.add(listener);
    return listener;
  }

  /** One attempt at a link to `address`: the link when it is up and synced, or the standing one to the same peer. */
  async dial(address: LinkAddress, request: DialRequest): Promise<Link> {
    this.checkOpen();
    if (address.port === 0) throw starlaneError('ERR_STARLANE_ADDRESS', 'a port to join is from 1 to 65535');
    const turn = dialTurns.take(this.timers) ?? (await dialTurns.wait(this.timers, request.signal));
    try {
      this.checkOpen();
      return await this.dialNow(address, request);
    } finally {
      turn.end();
    }
  }

  private async dialNow(address: LinkAddress, { purpose, expect, signal }: DialRequest): Promise<Link> {
    const { options, timers, tls } = this;
    const insecure = options.insecure || tls === undefined;
    const { duplex, tls: facts } = await connect(address, {
      tls,
      insecure,
      signal,
      timeoutMs: options.handshakeTimeoutMs,
      timers,
    }).catch((error) => {
      countDial(this.counters, error);
      this.lastFailure = error;
      throw error;
    });
    return this.establish(duplex, {
      tls: facts,
      direction: 'outbound',
      address: formatLinkAddress(address),
      client: true,
      purpose,
      expect,
    });
  }

  /** Makes a link of any reliable Duplex, which it owns from then on. */
  async attach(duplex: Duplex, initiator?: boolean): Promise<Link> {
    this.checkOpen();
    const client = initiator ?? (await this.negotiate(duplex));
    return this.establish(duplex, {
      direction: client ? 'outbound' : 'inbound',
      address: 'attached',
      client,
      purpose: 'join',
    });
  }

  /** Someone has connected to a listener, and was admitted. */
  receive(stranger: Stranger, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void {
    if (this.isClosed) {
      duplex.on('error', () => {});
      duplex.destroy();
      this.strangers.leave(stranger);
      return;
    }
    const link = this.add(duplex, { direction: 'inbound', address: remote, client: false, purpose: 'join', tls });
    stranger.turnAway = (error) => link.destroy(error);
    this.inHandshake.set(link, stranger);
    link.start();
  }

  /** Later links are made with other certificates, at either end. @throws ERR_STARLANE_OPTION */
  async renewTls(): Promise<void> {
    await Promise.all([...this.listeners].map((listener) => listener.renewTls()));
  }

  /** A link attempt failed before there was a link. */
  fault(error: Error): void {
    countFailure(this.counters, error);
    this.owner.onWarning(error);
  }

  onListenerFailed(error: Error): void {
    this.owner.onError(error);
  }

  onListenerClosed(listener: LinkListener): void {
    if (this.listeners.delete(listener)) this.owner.onUnlisten(listener);
  }

  /** No new links: listeners close, and whatever is no link yet ends. Those that are up stay. */
  drain(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.listenersClosed = Promise.all([...this.listeners].map((listener) => listener.close()));
    for (const duplex of this.attaching) duplex.destroy();
    for (const link of this.all) {
      // One that leaves has its own deadline.
      if (!this.isStanding(link) && !link.isLeaving) link.destroy(starlaneError('ERR_STARLANE_CLOSED'));
    }
  }

  /**
   * Ends everything in order; resolved when nothing is left. `spentMs` of closeTimeoutMs have passed already, and of the rest
   * goodbyes get a fifth at least.
   */
  async close(spentMs = 0): Promise<void> {
    this.drain();
    const { closeTimeoutMs } = this.options;
    const timeoutMs = Math.max(closeTimeoutMs - spentMs, closeTimeoutMs * GOODBYE_SHARE);
    for (const link of this.all) if (this.isStanding(link)) link.closeWithin(timeoutMs);
    if (this.all.size > 0) {
      await new Promise<void>((resolve) => {
        this.onEmpty = resolve;
      });
    }
    await this.listenersClosed;
  }

  // --- what links tell ---

  onHello(link: Link): Refusal | undefined {
    if (this.isClosed) return refusal(GoodbyeCode.NORMAL, 'ERR_STARLANE_CLOSED', undefined, 'the peer is closed');
    if (this.byPeer.size >= this.options.maxLinks && !this.byPeer.has(link.peerId)) {
      return linkLimit(`has ${this.options.maxLinks} links, which is its limit (maxLinks)`);
    }
    const rival = this.rivalRefusal(link);
    if (rival !== undefined) return rival;
    // What this node dials itself, it wants.
    const objection = link.direction === 'inbound' ? this.owner.objection(link) : undefined;
    return objection === undefined ? undefined : linkLimit(objection);
  }

  onDecide(link: Link): void {
    const standing = this.byPeer.get(link.peerId);
    // Another boot id: the peer has restarted, and what stands is what its last run has left behind.
    if (standing === undefined || standing.bootId !== link.bootId) {
      link.accept();
      return;
    }
    const { rttMs, lateMs } = standing;
    const timer = this.timers.schedule(proofMs(rttMs, lateMs, this.options.handshakeTimeoutMs), {
      onDeadline: () =>
        standing.destroy(starlaneError('ERR_STARLANE_LINK_LOST', 'it did not answer when the peer made another')),
    });
    const decide = (): void => {
      this.timers.cancel(timer);
      if (!link.isDeciding) return;
      if (this.byPeer.get(link.peerId) !== standing) this.onDecide(link);
      else link.refuse(refusal(GoodbyeCode.DUPLICATE, 'ERR_STARLANE_DUPLICATE_LINK', link.peerId, this.self.nodeId));
    };
    standing.ping().then(decide, decide);
  }

  onUp(link: Link): void {
    const standing = this.byPeer.get(link.peerId);
    this.byPeer.set(link.peerId, link);
    this.leaveStrangers(link);
    this.counters.opened++;
    this.lastFailure = undefined;
    if (standing?.bootId === link.bootId)
      standing.destroy(starlaneError('ERR_STARLANE_LINK_LOST', 'the peer has given it up'));
    else if (standing !== undefined) this.replace(standing, link);
    this.owner.onLink(link);
    link.promote(this.promotions.get(link.peerId) ?? link.purpose);
    this.promotions.delete(link.peerId);
    this.waits.onUp(link);
  }

  onPromoted(link: Link): void {
    this.owner.onPromoted(link);
  }

  onMessage(link: Link, message: Message): void {
    this.owner.onMessage(link, message);
  }

  /** A later run of the peer of this link is elsewhere, at `address` as far as anybody knows. */
  onLaterRun(link: Link, address: string): void {
    if (!link.isUp) return;
    this.proveAlive(link, () => {
      if (!link.isUp) return;
      this.reportRivals(link.peerId, link.bootId, link.address, address);
      link.supersede(olderText(address), starlaneError('ERR_STARLANE_LINK_LOST', 'a newer process has the identity'));
    });
  }

  onNotice(link: Link, notice: Error): void {
    this.owner.onWarning(withAddress(notice, link.address));
  }

  onDrain(link: Link): void {
    this.owner.onDrain(link);
  }

  /** What the peer told at the start has been taken in: whoever waits for the link has it. */
  onSynced(link: Link): void {
    link.onSynced();
    this.waits.take(link)?.resolve(link);
  }

  onDown(link: Link, reason: Error | undefined): void {
    const wasUp = link.since > 0;
    if (this.byPeer.get(link.peerId) === link) this.byPeer.delete(link.peerId);
    if (wasUp) {
      if (isLoss(reason)) this.counters.lost++;
      this.owner.onUnlink(link, reason);
      if (reason !== undefined && isTaken(reason)) this.owner.onWarning(withAddress(reason, link.address));
    }
    const failure = reason ?? starlaneError('ERR_STARLANE_CLOSED');
    const isFault = !wasUp && !isNoFault(link, failure);
    if (isFault && reason !== undefined) countFailure(this.counters, reason);
    if (isFault || wasUp) this.lastFailure = withAddress(failure, link.address);
    // Both ends know by this what the other link was for: the one that stands does that as well from now on.
    if (!wasUp && isDuplicate(failure)) this.promote(link);
    const waiter = this.waits.take(link);
    // With nobody to tell, it goes to the log of the user: someone tried to link and failed.
    if (waiter === undefined) {
      if (isFault && !this.isClosed) this.owner.onWarning(withAddress(failure, link.address));
      return;
    }
    if (!isDuplicate(failure)) waiter.reject(withAddress(failure, link.address));
    else {
      const standing = this.byPeer.get(link.peerId);
      // If there is none, it has been taken at the other end, and word of that is still on its way to this one.
      if (standing === undefined) this.waits.addAny(link.peerId, waiter);
      else waiter.resolve(standing);
    }
  }

  onClosed(link: Link): void {
    this.all.delete(link);
    this.leaveStrangers(link);
    if (this.all.size === 0) this.onEmpty?.();
  }

  /** The peer has restarted, which is no rival, or runs a second time: the old link shows which, as only a rival answers. */
  private replace(standing: Link, link: Link): void {
    const { peerId, bootId } = standing;
    // Before the goodbye, after which it answers nothing.
    this.proveAlive(standing, () => {
      this.reportRivals(peerId, bootId, standing.address, link.address);
      link.send({ type: MessageType.NOTICE, code: GoodbyeCode.TAKEN, reason: newerText(standing.address) });
    });
    standing.supersede(olderText(link.address), starlaneError('ERR_STARLANE_LINK_LOST', 'the peer has restarted'));
  }

  /** What speaks against a link of a run that is older than the one that is linked. */
  private rivalRefusal(link: Link): Refusal | undefined {
    const { peerId, bootId, address } = link;
    const newer = this.olderRuns.newerOf(bootId);
    if (newer !== undefined) {
      const text = olderText(newer);
      const error = duplicate(link.direction === 'inbound' ? text : `${peerId}: ${text}`);
      return { code: GoodbyeCode.TAKEN, error, told: text };
    }
    const standing = this.byPeer.get(peerId);
    if (standing === undefined || isLaterRun(standing.bootId, bootId) !== true) return undefined;
    // Or its clock was set back. What stands has to show that it lives; until then the other may try again.
    this.proveAlive(standing, () => {
      if (this.olderRuns.has(bootId)) return;
      this.reportRivals(peerId, bootId, address, standing.address);
      standing.send({ type: MessageType.NOTICE, code: GoodbyeCode.TAKEN, reason: newerText(address) });
    });
    const what = 'a newer process with this identity is linked';
    return refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', what, what);
  }

  /** Calls back when the peer answers; a link whose peer does not in time is given up. */
  private proveAlive(link: Link, onAnswer: () => void): void {
    const timer = this.timers.schedule(proofMs(link.rttMs, link.lateMs, this.options.handshakeTimeoutMs), {
      onDeadline: () =>
        link.destroy(starlaneError('ERR_STARLANE_LINK_LOST', 'it did not answer when its peer came again')),
    });
    link.ping().then(
      () => {
        this.timers.cancel(timer);
        onAnswer();
      },
      () => this.timers.cancel(timer),
    );
  }

  private reportRivals(peerId: NodeId, olderBootId: string, older: string, newer: string): void {
    this.olderRuns.add(olderBootId, newer);
    this.owner.onWarning(duplicateAt(peerId, older, newer));
  }

  /** The standing link does what this one was for; it may be one that is known at the other end only, so far. */
  private promote({ peerId, purpose }: Link): void {
    if (this.byPeer.has(peerId)) this.byPeer.get(peerId)?.promote(purpose);
    else if (this.promotions.size < MAX_PROMOTIONS) this.promotions.set(peerId, purpose);
  }

  private leaveStrangers(link: Link): void {
    const stranger = this.inHandshake.get(link);
    if (stranger === undefined) return;
    this.inHandshake.delete(link);
    this.strangers.leave(stranger);
  }

  private async negotiate(duplex: Duplex): Promise<boolean> {
    this.attaching.add(duplex);
    try {
      return await negotiateRole(duplex, { timers: this.timers, timeoutMs: this.options.handshakeTimeoutMs });
    } finally {
      this.attaching.delete(duplex);
    }
  }

  private establish(duplex: Duplex, origin: LinkOrigin): Promise<Link> {
    return new Promise((resolve, reject) => {
      if (this.isClosed) {
        duplex.destroy();
        throw starlaneError('ERR_STARLANE_CLOSED');
      }
      const link = this.add(duplex, origin);
      this.waits.add(link, { resolve, reject });
      link.start();
    });
  }

  private add(duplex: Duplex, origin: LinkOrigin): Link {
    const { options, self, timers } = this;
    const link = new Link(duplex, {
      ...origin,
      self,
      owner: this,
      networkKeys: this.means.networkKeys,
      timers,
      handshakeTimeoutMs: options.handshakeTimeoutMs,
      maxMessageBytes: options.maxMessageBytes,
      session: {
        maxFrameBytes: options.maxFrameBytes,
        controlQueueBytes: options.controlQueueBytes,
        acceptBacklog: options.acceptBacklog,
        maxStreams: options.maxStreams,
        maxWindowBytes: options.maxWindowBytes,
        receiveBudgetBytes: options.receiveBudgetBytes,
        // The mesh watches over links, and tells a peer that is dead from one that stands still.
        keepAliveMs: 0,
        closeTimeoutMs: options.closeTimeoutMs,
      },
    });
    log('%s %s: handshake', origin.direction, origin.address);
    this.all.add(link);
    return link;
  }

  private isStanding(link: Link): boolean {
    return link.peerId !== '' && this.byPeer.get(link.peerId) === link;
  }

  private checkOpen(): void {
    if (this.isClosed) throw starlaneError('ERR_STARLANE_CLOSED');
  }
}

/** `what` about this node, as in `has enough links`. */
function linkLimit(what: string): Refusal {
  return refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', `this node ${what}`, `the peer ${what}`);
}

// What the links of a node are made for, what with, and who is told of them.

/** What a link is dialled for. */
export interface DialRequest {
  readonly purpose: LinkPurpose;
  /** Who has to be there, or the link is refused with ERR_STARLANE_HANDSHAKE. */
  readonly expect?: NodeId;
  readonly signal?: AbortSignal;
}

export interface LinkSetOwner {
  /** What this node has against a link that a peer makes, beyond the limits here, as in `has enough links`: the peer gets it. */
  objection(link: Link): string | undefined;
  /** A link came up. Set its acceptor here. */
  onLink(link: Link): void;
  /** A link that is up has a stronger purpose now. */
  onPromoted(link: Link): void;
  onMessage(link: Link, message: Message): void;
  onDrain(link: Link): void;
  /** A link that was up is not any more. */
  onUnlink(link: Link, reason: Error | undefined): void;
  /** A link fault that costs the user nothing but this link. */
  onWarning(error: Error): void;
  /** A listener has failed; it is closed. */
  onError(error: Error): void;
  /** A listener is closed, for whatever reason. */
  onUnlisten(listener: LinkListener): void;
}

/** What a node brings to its links besides itself. */
export interface LinkMeans {
  /** 32 bytes, if it is the member of a network with a secret. */
  readonly networkKeys: readonly Buffer[];
  /** Without it, links are plain. */
  readonly tls: LinkTls | undefined;
}

// Who waits for a link: for one of their own to be up and synced, or for any link to a peer.

export interface Waiter {
  resolve(link: Link): void;
  reject(error: Error): void;
}

export class LinkWaits {
  private readonly own = new Map<Link, Waiter>();
  private readonly any = new Map<NodeId, Set<Waiter>>();

  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
  ) {}

  add(link: Link, waiter: Waiter): void {
    this.own.set(link, waiter);
  }

  /** Who waits for this link, and from now on no more. */
  take(link: Link): Waiter | undefined {
    const waiter = this.own.get(link);
    this.own.delete(link);
    return waiter;
  }

  /** Waits for whatever link to the peer comes up next. Rejected with ERR_STARLANE_DUPLICATE_LINK when none does in time. */
  addAny(peerId: NodeId, waiter: Waiter): void {
    const waiters = this.any.get(peerId) ?? new Set();
    this.any.set(peerId, waiters);
    const timer = this.timers.schedule(this.timeoutMs, {
      onDeadline: () => {
        waiters.delete(entry);
        if (waiters.size === 0 && this.any.get(peerId) === waiters) this.any.delete(peerId);
        waiter.reject(starlaneError('ERR_STARLANE_DUPLICATE_LINK', peerId));
      },
    });
    const resolve = (link: Link): void => {
      this.timers.cancel(timer);
      waiter.resolve(link);
    };
    const entry: Waiter = { resolve, reject: waiter.reject };
    waiters.add(entry);
  }

  onUp(link: Link): void {
    const waiters = this.any.get(link.peerId);
    this.any.delete(link.peerId);
    for (const waiter of waiters ?? []) waiter.resolve(link);
  }
}
