// All links of a node: listening, dialling, attaching, limits, and one link to a peer.
//
// Two nodes may make a second link: both join each other, or one has lost a link that the other still counts on. Only the node with the
// lower id decides (see handshake.ts), so the two cannot each drop the link of the other. It keeps the first link if that answers a
// ping, so no stream is disturbed; otherwise the new link takes its place.

import type { Duplex } from 'node:stream';
import { formatLinkAddress, type LinkAddress, type NodeId, parseLinkAddress, parseSeedAddress } from '../address.js';
import { starlaneError } from '../errors.js';
import type { MemberBook, MemberChange } from '../identity/member-book.js';
import { MemberSweeper } from '../identity/member-sweeper.js';
import { answerMs } from '../mux/liveness/liveness.js';
import type { ResolvedNodeOptions } from '../options/options.js';
import type { Via } from '../options/via.js';
import { RecentMap } from '../util/recent-map.js';
import { debug } from '../util/runtime/debug.js';
import type { Timers } from '../util/timers.js';
import { GoodbyeCode, MessageType } from '../wire/messages.js';
import { duplicate, duplicateAt, isLaterRun, newerText, olderText } from './duplicate-identity.js';
import type { SelfDescription } from './handshake/handshake.js';
import { expiredRefusal, revokedRefusal } from './handshake/membership.js';
import {
  countDial,
  countFailure,
  isDuplicate,
  isExpelled,
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
import { Link, type LinkDirection, type LinkOwner, type LinkTraffic } from './link.js';
import type { LinkPurpose } from './link-purpose.js';
import { nodeResolver } from './names/node-resolver.js';
import { type NameResolver, type Resolution, resolveSeed } from './names/seed-records.js';
import { isSameListener, reachableAddresses, resolveAddresses } from './transport/address-probe.js';
import { connect, dialTurns } from './transport/connect.js';
import { LinkListener, type ListenOptions } from './transport/listen.js';
import { type PendingConnection, PendingConnections } from './transport/pending-connections.js';
import type { LinkTls, TlsFacts } from './transport/tls.js';
import { targetVia } from './via/tunnel.js';

const log = debug('link');

/** How long a link may take to answer when the peer makes another one, in ms, or {@link answerMs} if that is longer... */
const PROOF_MS = 2_000;
/** ...but not more than this share of the handshake timeout: the peer waits for the decision with its new link. */
const PROOF_SHARE = 2 / 3;

/** Returns that time for a link with this round trip, in ms. `lateMs`: how much later answers may come where packets are lost. */
export function proofMs(rttMs: number, lateMs: number, handshakeTimeoutMs: number): number {
  const needed = Math.max(PROOF_MS, answerMs(rttMs, lateMs));
  return Math.min(needed, handshakeTimeoutMs * PROOF_SHARE);
}

/** The longest data frame of a peer, in bytes. Nodes send 64 KiB at most. */
const MAX_FRAME_BYTES = 1024 * 1024;

/** Older runs that are remembered. */
const MAX_OLDER_RUNS = 1_024;

/** Addresses of seeds whose names are remembered. */
const MAX_SERVER_NAMES = 1_024;

/** Bounds the memory that a peer can fill with promotions of links that never come up. */
const MAX_PROMOTIONS = 256;

/** The share of closeTimeoutMs that links have for their goodbyes in any case: one round trip. */
const GOODBYE_SHARE = 0.2;

/** A link to dial. */
interface DialRequest {
  readonly purpose: LinkPurpose;
  /** The node that must be there, or the link is refused with ERR_STARLANE_HANDSHAKE. */
  readonly expect?: NodeId;
  readonly signal?: AbortSignal;
}

interface LinkSetOwner extends LinkTraffic {
  /** Returns why this node refuses a link that a peer makes, beyond the limits here, as in `has enough links`: the peer gets it. */
  rejectReason(link: Link): string | undefined;
  /** Called when a link has come up. Set its acceptor here. */
  onLink(link: Link): void;
  /** Called when a link that was up is up no more. */
  onUnlink(link: Link, reason: Error | undefined): void;
  /** Called with a fault that costs the user nothing but one link. */
  onWarning(error: Error): void;
  /** Called when a listener has failed; it is closed. */
  onError(error: Error): void;
  /** Called when a listener is closed, for whatever reason. */
  onUnlisten(listener: LinkListener): void;
}

/** How a node proves on its links that it belongs to the network. */
export interface LinkCredentials {
  /** Keys of 32 bytes, if the network has a secret. */
  readonly networkKeys: readonly Buffer[];
  /** Without it, links are plain. */
  readonly tls: LinkTls | undefined;
  /** Who is a member; undefined where certificates do not decide it. */
  readonly members?: MemberBook | undefined;
}

/** How a link is made. */
interface LinkParams {
  readonly direction: LinkDirection;
  readonly address: string;
  readonly client: boolean;
  readonly purpose: LinkPurpose;
  readonly expect?: NodeId;
  readonly tls?: TlsFacts;
}

export class LinkSet implements LinkOwner {
  readonly counters: LinkCounters = newCounters();
  /** Why the last link ended or did not come up; undefined when one has come up since. */
  lastFailure: Error | undefined;
  /** Connections to listeners that are no links yet. */
  readonly pendingConnections: PendingConnections;
  /**
   * Called with a connection of a machine that asks to become a member, after its tls handshake; its key is that of its certificate. It is
   * counted, and ended after a while in any case. Call `done` to end it. Undefined: such connections are closed.
   */
  onEnrolment: ListenOptions['onEnrolment'];
  /** Bytes of links that are gone. */
  private closedBytesIn = 0;
  private closedBytesOut = 0;
  private readonly byPeer = new Map<NodeId, Link>();
  /** Every link with anything left of it, including those in the handshake and those that leave. */
  private readonly all = new Set<Link>();
  readonly listeners = new Set<LinkListener>();
  /** Links in the handshake that came through a listener. */
  private readonly inHandshake = new Map<Link, PendingConnection>();
  /** Duplexes that the user has attached, and that are no links yet. */
  private readonly attaching = new Set<Duplex>();
  private readonly waits: LinkWaits;
  /** Purposes that links take over when they come up, by peer. */
  private readonly promotions = new Map<NodeId, LinkPurpose>();
  /** Runs that a newer one has been seen beside, by boot id, with the address of the newer one. */
  private readonly olderRuns = new RecentMap<string, string>(MAX_OLDER_RUNS);
  /** The names of which addresses of seeds are: certificates of your own PKI have the one or the other. */
  private readonly serverNames = new RecentMap<string, string>(MAX_SERVER_NAMES);
  private isClosed = false;
  private listenersClosed: Promise<unknown> | undefined;
  private onEmpty: (() => void) | undefined;
  /** Undefined where certificates do not decide who is a member. */
  private readonly sweeper: MemberSweeper | undefined;
  private forgetMembers: (() => void) | undefined;

  constructor(
    private readonly self: SelfDescription,
    readonly options: ResolvedNodeOptions,
    readonly timers: Timers,
    private readonly owner: LinkSetOwner,
    private readonly credentials: LinkCredentials = { networkKeys: [], tls: undefined },
    /** The proxy of this node. */
    readonly via?: Via,
    /** Returns a resolver for seeds. Replaceable in specs. */
    private readonly resolver: () => NameResolver = nodeResolver,
  ) {
    this.pendingConnections = new PendingConnections(options.maxPendingHandshakes, timers);
    this.waits = new LinkWaits(timers, options.handshakeTimeoutMs);
    const { members } = credentials;
    if (members === undefined) return;
    this.forgetMembers = members.onChange((change) => this.onMemberChange(change));
    this.sweeper = new MemberSweeper(members, timers);
  }

  get tls(): LinkTls | undefined {
    return this.credentials.tls;
  }

  /** Returns the link to a peer, if it is up. */
  get(peerId: NodeId): Link | undefined {
    return this.byPeer.get(peerId);
  }

  /** Returns the links that are up. */
  values(): IterableIterator<Link> {
    return this.byPeer.values();
  }

  get size(): number {
    return this.byPeer.size;
  }

  /** Returns every link of which anything is left: also those in the handshake, and those that leave. */
  everyLink(): IterableIterator<Link> {
    return this.all.values();
  }

  /** Bytes of all links since the start, also those that never came up. */
  get totalBytes(): { in: number; out: number } {
    const total = { in: this.closedBytesIn, out: this.closedBytesOut };
    for (const { bytesIn, bytesOut } of this.all) {
      total.in += bytesIn;
      total.out += bytesOut;
    }
    return total;
  }

  /** Links in the middle of a handshake, and links that are leaving. */
  get unsettled(): number {
    return this.all.size - this.byPeer.size;
  }

  /** Link addresses at which other nodes reach this one. */
  get listenAddresses(): readonly string[] {
    const { advertise } = this.options;
    if (this.listeners.size === 0) return [];
    if (advertise.length > 0) return advertise.map((address) => formatLinkAddress(this.parse(address)));
    return this.ownAddresses;
  }

  /** Link addresses at which this node itself listens, without those that it only advertises. */
  get ownAddresses(): readonly string[] {
    return reachableAddresses([...this.listeners].map((listener) => listener.address));
  }

  /** Returns whether it is certain that only this node answers there. */
  isOwn(address: LinkAddress): boolean {
    return [...this.listeners].some((listener) => isSameListener(address, this.parse(listener.address)));
  }

  /** The scheme of an address without one. */
  get defaultScheme(): 'tcp' | 'tls' {
    return this.tls === undefined ? 'tcp' : 'tls';
  }

  parse(address: string): LinkAddress {
    return parseLinkAddress(address, this.defaultScheme);
  }

  /** Returns where a seed leads, with its scheme. @throws ERR_STARLANE_ADDRESS, and as node:dns */
  async resolve(seed: string): Promise<Resolution> {
    const parsed = parseSeedAddress(seed, this.defaultScheme);
    const { via, tls, options } = this;
    if (parsed.kind === 'link') {
      const group = await resolveAddresses(formatLinkAddress(parsed.address), options.handshakeTimeoutMs, via);
      return { groups: [group], ttlMs: undefined };
    }
    const isNamed = parsed.scheme === 'tls' && tls?.isDerived === false;
    const resolution = await resolveSeed(parsed, {
      resolver: this.resolver(),
      random: Math.random,
      keepsName: (host, port) => isNamed || targetVia({ scheme: parsed.scheme, host, port }, via) !== undefined,
    });
    const { groups, serverName } = resolution;
    if (isNamed && serverName !== undefined)
      for (const address of groups.flat()) this.serverNames.set(address, serverName);
    return resolution;
  }

  /** Listens for links. @throws as LinkListener.listen, ERR_STARLANE_ADDRESS, ERR_STARLANE_CLOSED */
  async listen(address: string): Promise<LinkListener> {
    this.checkOpen();
    const listener = await LinkListener.listen(this.parse(address), this);
    if (this.isClosed) {
      await listener.close();
      throw starlaneError('ERR_STARLANE_CLOSED');
    }
    this.listeners.add(listener);
    this.sweeper?.start();
    return listener;
  }

  /** Tries once to link to `address`. Resolves with the link when it is up and synced, or with the one to the same peer that exists. */
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
      serverName: this.serverNames.peek(formatLinkAddress(address)),
      insecure,
      via: this.via,
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

  /** Makes a link of any reliable Duplex, and owns the Duplex from then on. */
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

  /** Called when a connection to a listener is ready for the handshake. */
  receive(connection: PendingConnection, duplex: Duplex, remote: string, tls: TlsFacts | undefined): void {
    if (this.isClosed) {
      duplex.on('error', () => {});
      duplex.destroy();
      this.pendingConnections.remove(connection);
      return;
    }
    const link = this.add(duplex, { direction: 'inbound', address: remote, client: false, purpose: 'join', tls });
    connection.reject = (error) => link.destroy(error);
    this.inHandshake.set(link, connection);
    link.start();
  }

  /** Shows these certificates of authorities, in DER, to peers from now on, and to machines that join. */
  async addAuthorities(certificates: readonly Uint8Array[]): Promise<void> {
    this.tls?.refresh(certificates);
    await this.renewTls();
  }

  /** Makes listeners use the certificates that the credentials have now. @throws ERR_STARLANE_OPTION */
  async renewTls(): Promise<void> {
    await Promise.all([...this.listeners].map((listener) => listener.renewTls()));
  }

  /** Called when a connection to a listener has failed before there was a link. */
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

  /** Closes listeners, and ends what is no link yet. Links that are up stay. */
  closeListeners(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.listenersClosed = Promise.all([...this.listeners].map((listener) => listener.close()));
    for (const duplex of this.attaching) duplex.destroy();
    for (const link of this.all) {
      // A link that leaves has its own deadline.
      if (!this.isCurrent(link) && !link.isLeaving) link.destroy(starlaneError('ERR_STARLANE_CLOSED'));
    }
  }

  /**
   * Closes everything; resolves when nothing is left. `spentMs` of closeTimeoutMs have passed already; goodbyes still get a fifth of it
   * at least.
   */
  async close(spentMs = 0): Promise<void> {
    this.closeListeners();
    const { closeTimeoutMs } = this.options;
    const timeoutMs = Math.max(closeTimeoutMs - spentMs, closeTimeoutMs * GOODBYE_SHARE);
    for (const link of this.all) if (this.isCurrent(link)) link.closeWithin(timeoutMs);
    if (this.all.size > 0) {
      await new Promise<void>((resolve) => {
        this.onEmpty = resolve;
      });
    }
    await this.listenersClosed;
    this.sweeper?.stop();
    this.forgetMembers?.();
  }

  // --- callbacks of links ---

  onHello(link: Link): Refusal | undefined {
    if (this.isClosed) return refusal(GoodbyeCode.NORMAL, 'ERR_STARLANE_CLOSED', undefined, 'the peer is closed');
    if (this.byPeer.size >= this.options.maxLinks && !this.byPeer.has(link.peerId)) {
      return linkLimit(`has ${this.options.maxLinks} links, which is its limit (maxLinks)`);
    }
    const rival = this.rivalRefusal(link);
    if (rival !== undefined) return rival;
    // This node wants the links that it dials itself.
    const reason = link.direction === 'inbound' ? this.owner.rejectReason(link) : undefined;
    return reason === undefined ? undefined : linkLimit(reason);
  }

  onDecide(link: Link): void {
    const current = this.byPeer.get(link.peerId);
    // With another boot id the peer has restarted, and the first link is a leftover of its last run.
    if (current === undefined || current.bootId !== link.bootId) {
      link.accept();
      return;
    }
    const decide = (): void => {
      if (!link.isDeciding) return;
      if (this.byPeer.get(link.peerId) !== current) this.onDecide(link);
      else link.refuse(refusal(GoodbyeCode.DUPLICATE, 'ERR_STARLANE_DUPLICATE_LINK', link.peerId, this.self.nodeId));
    };
    this.proveAlive(current, decide, decide);
  }

  onUp(link: Link): void {
    const current = this.byPeer.get(link.peerId);
    this.byPeer.set(link.peerId, link);
    this.endPending(link);
    this.counters.opened++;
    this.lastFailure = undefined;
    if (current?.bootId === link.bootId)
      current.destroy(starlaneError('ERR_STARLANE_LINK_LOST', 'the peer has given it up'));
    else if (current !== undefined) this.replace(current, link);
    this.owner.onLink(link);
    link.promote(this.promotions.get(link.peerId) ?? link.purpose);
    this.promotions.delete(link.peerId);
    this.waits.onUp(link);
  }

  /** Called when a later run of the peer of this link is at another place: at `address`, as far as is known. */
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

  /** Called when the initial sync of a link is done. Resolves the wait for the link. */
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
      if (isTaken(reason) || isExpelled(reason)) this.owner.onWarning(withAddress(reason as Error, link.address));
    }
    const failure = reason ?? starlaneError('ERR_STARLANE_CLOSED');
    const isFault = !wasUp && !isNoFault(link, failure);
    if (isFault && reason !== undefined) countFailure(this.counters, reason);
    if (isFault || wasUp) this.lastFailure = withAddress(failure, link.address);
    // Both ends see by this that the link was refused for another one, which takes over its purpose.
    if (!wasUp && isDuplicate(failure)) this.promote(link);
    const waiter = this.waits.take(link);
    // A failure that nobody waits for becomes a warning: a peer tried to link and failed.
    if (waiter === undefined) {
      if (isFault && !this.isClosed) this.owner.onWarning(withAddress(failure, link.address));
      return;
    }
    if (!isDuplicate(failure)) waiter.reject(withAddress(failure, link.address));
    else {
      const current = this.byPeer.get(link.peerId);
      // If there is none, the other end has taken it, and its message is still on the way.
      if (current === undefined) this.waits.addAny(link.peerId, waiter);
      else waiter.resolve(current);
    }
  }

  onClosed(link: Link): void {
    if (this.all.delete(link)) {
      this.closedBytesIn += link.bytesIn;
      this.closedBytesOut += link.bytesOut;
    }
    this.endPending(link);
    if (this.all.size === 0) this.onEmpty?.();
  }

  /** Replaces a link. The peer has restarted, or a second process has its identity: only then does the old link answer. */
  private replace(current: Link, link: Link): void {
    const { peerId, bootId } = current;
    // Before the goodbye, after which the old link answers nothing.
    this.proveAlive(current, () => {
      this.reportRivals(peerId, bootId, current.address, link.address);
      link.send({ type: MessageType.NOTICE, code: GoodbyeCode.TAKEN, reason: newerText(current.address) });
    });
    current.supersede(olderText(link.address), starlaneError('ERR_STARLANE_LINK_LOST', 'the peer has restarted'));
  }

  /** Returns why a link of an older run than the one that is linked is refused. */
  private rivalRefusal(link: Link): Refusal | undefined {
    const { peerId, bootId, address } = link;
    const newer = this.olderRuns.peek(bootId);
    if (newer !== undefined) {
      const text = olderText(newer);
      const error = duplicate(link.direction === 'inbound' ? text : `${peerId}: ${text}`);
      return { code: GoodbyeCode.TAKEN, error, peerReason: text };
    }
    const current = this.byPeer.get(peerId);
    if (current === undefined || isLaterRun(current.bootId, bootId) !== true) return undefined;
    // Or its clock was set back. The first link has to show that its peer is alive; until then the other one may try again.
    this.proveAlive(current, () => {
      if (this.olderRuns.has(bootId)) return;
      this.reportRivals(peerId, bootId, address, current.address);
      current.send({ type: MessageType.NOTICE, code: GoodbyeCode.TAKEN, reason: newerText(address) });
    });
    const what = 'a newer process with this identity is linked';
    return refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', what, what);
  }

  /** Calls back when the peer of a link answers, or when the link is lost; a link that does not answer in time is destroyed. */
  private proveAlive(link: Link, onAnswer: () => void, onLost: () => void = () => {}): void {
    const timer = this.timers.schedule(proofMs(link.rttMs, link.lateMs, this.options.handshakeTimeoutMs), {
      onDeadline: () =>
        link.destroy(starlaneError('ERR_STARLANE_LINK_LOST', 'it did not answer when its peer came again')),
    });
    const settle = (callback: () => void): void => {
      this.timers.cancel(timer);
      callback();
    };
    link.ping().then(
      () => settle(onAnswer),
      () => settle(onLost),
    );
  }

  private reportRivals(peerId: NodeId, olderBootId: string, older: string, newer: string): void {
    this.olderRuns.set(olderBootId, newer);
    this.owner.onWarning(duplicateAt(peerId, older, newer));
  }

  /** Gives the purpose of a refused link to the one that was kept, which may not be up at this end yet. */
  private promote({ peerId, purpose }: Link): void {
    if (this.byPeer.has(peerId)) this.byPeer.get(peerId)?.promote(purpose);
    else if (this.promotions.size < MAX_PROMOTIONS) this.promotions.set(peerId, purpose);
  }

  private endPending(link: Link): void {
    const connection = this.inHandshake.get(link);
    if (connection === undefined) return;
    this.inHandshake.delete(link);
    this.pendingConnections.remove(connection);
  }

  private async negotiate(duplex: Duplex): Promise<boolean> {
    this.attaching.add(duplex);
    try {
      return await negotiateRole(duplex, { timers: this.timers, timeoutMs: this.options.handshakeTimeoutMs });
    } finally {
      this.attaching.delete(duplex);
    }
  }

  private establish(duplex: Duplex, params: LinkParams): Promise<Link> {
    return new Promise((resolve, reject) => {
      if (this.isClosed) {
        duplex.destroy();
        throw starlaneError('ERR_STARLANE_CLOSED');
      }
      const link = this.add(duplex, params);
      this.waits.add(link, { resolve, reject });
      link.start();
    });
  }

  private add(duplex: Duplex, params: LinkParams): Link {
    const { options, self, timers } = this;
    const link = new Link(duplex, {
      ...params,
      self,
      owner: this,
      traffic: this.owner,
      networkKeys: this.credentials.networkKeys,
      members: this.credentials.members,
      certificate: this.tls?.memberCertificate,
      timers,
      handshakeTimeoutMs: options.handshakeTimeoutMs,
      session: {
        maxFrameBytes: MAX_FRAME_BYTES,
        acceptBacklog: options.acceptBacklog,
        maxStreams: options.maxStreams,
        maxWindowBytes: options.maxWindowBytes,
        receiveBudgetBytes: options.receiveBudgetBytes,
        // The mesh watches over links: it can tell a dead peer from one that is only stalled.
        keepAliveMs: 0,
        closeTimeoutMs: options.closeTimeoutMs,
      },
    });
    log('%s %s: handshake', params.direction, params.address);
    this.all.add(link);
    this.sweeper?.start();
    return link;
  }

  // --- members ---

  private onMemberChange(change: MemberChange): void {
    const { tls } = this.credentials;
    switch (change.type) {
      case 'revoked':
        this.onNoMember(change.nodeId, change.publicKey, revokedRefusal());
        return;
      case 'expired':
        this.onNoMember(change.nodeId, change.publicKey, expiredRefusal());
        return;
      case 'member':
        // That of a peer needs nothing: the peer has proved its key when the link came up, and that is what the certificate is about.
        if (change.member.nodeId !== this.self.nodeId) return;
        break;
    }
    tls?.refresh();
    this.renewTls().catch((error) => this.owner.onWarning(error));
  }

  /** Called when a key is that of a member no more. Ends every link to its node, also those that leave or are in the handshake. */
  private onNoMember(nodeId: NodeId, publicKey: Uint8Array, why: Refusal): void {
    if (nodeId === this.self.nodeId) {
      // Its peers end the links: they know it as well, and their clocks may be better.
      this.owner.onWarning(starlaneError(why.error.code, why.peerReason));
      return;
    }
    for (const link of [...this.all]) {
      const { shownKey } = link;
      if (shownKey === undefined || Buffer.compare(shownKey, publicKey) !== 0) continue;
      // In the handshake, or by a secret, it may be a member all the same; with a key that was revoked never.
      if (why.code === GoodbyeCode.REVOKED || link.membership?.bySecret === false) link.expel(why);
    }
  }

  private isCurrent(link: Link): boolean {
    return link.peerId !== '' && this.byPeer.get(link.peerId) === link;
  }

  private checkOpen(): void {
    if (this.isClosed) throw starlaneError('ERR_STARLANE_CLOSED');
  }
}

/** Returns the refusal of a link because of `what` this node has, as in `has enough links`. */
function linkLimit(what: string): Refusal {
  return refusal(GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT', `this node ${what}`, `the peer ${what}`);
}

interface Waiter {
  resolve(link: Link): void;
  reject(error: Error): void;
}

/** Promises of links: of one link that has to be up and synced, or of any link to a peer. */
class LinkWaits {
  private readonly own = new Map<Link, Waiter>();
  private readonly any = new Map<NodeId, Set<Waiter>>();

  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
  ) {}

  add(link: Link, waiter: Waiter): void {
    this.own.set(link, waiter);
  }

  /** Removes and returns who waits for this link. */
  take(link: Link): Waiter | undefined {
    const waiter = this.own.get(link);
    this.own.delete(link);
    return waiter;
  }

  /** Waits for the next link to the peer. Rejects with ERR_STARLANE_DUPLICATE_LINK when none comes up in time. */
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
