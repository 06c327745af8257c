// One link to one peer: a session over a Duplex, the handshake on its first stream, and then the control stream.
//
//   HELLO ──> DECIDING ──> UP ──> LEAVING ──> CLOSED
//     └──────────┴──────────┴────────┴──────────^
//
// In HELLO the link waits for the peer's HELLO and its proof, in DECIDING for the decision of the node with the lower id, in LEAVING for
// open streams. Whatever the peer does can only end this link: nothing here throws into the session.

import type { Duplex } from 'node:stream';
import type { NodeId } from '../address.js';
import { starlaneError } from '../errors.js';
import type { MemberBook } from '../identity/member-book.js';
import type { Member } from '../identity/member-certificate.js';
import { Lateness } from '../mux/liveness/liveness.js';
import { MuxSession } from '../mux/session.js';
import type { SessionOptions } from '../mux/session-options.js';
import type { MuxStream } from '../mux/stream/stream.js';
import type { NodeRole } from '../options/options.js';
import { Deadline } from '../util/deadline.js';
import { debug } from '../util/runtime/debug.js';
import { dateNow } from '../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/runtime/shown.js';
import type { Timers } from '../util/timers.js';
import {
  encodeGoodbye,
  encodeMessageOf,
  type Goodbye,
  GoodbyeCode,
  type Message,
  MessageType,
} from '../wire/messages.js';
import { Control } from './handshake/control.js';
import { decides, Handshake, type HandshakeStep, makeHello, type SelfDescription } from './handshake/handshake.js';
import type { Membership } from './handshake/membership.js';
import { broken, goodbyeError, type Refusal } from './handshake/refusals.js';
import { isStronger, type LinkPurpose, purposeOf } from './link-purpose.js';
import { otherProtocol, tlsFailure } from './transport/protocol-mismatch.js';
import type { TlsFacts } from './transport/tls.js';

const log = debug('link');

const Phase = { HELLO: 0, DECIDING: 1, UP: 2, LEAVING: 3, CLOSED: 4 } as const;

/** By phase, for console.log(). */
const PHASE_NAMES: readonly string[] = ['handshake', 'handshake', 'up', 'leaving', 'closed'];

/** No limit on unacknowledged opens: both ends are Starlane nodes, and every circuit has its own deadline. */
const SESSION_DEFAULTS = { starlanePeer: true, maxUnackedOpens: Number.POSITIVE_INFINITY, openTimeoutMs: 0 };

export type LinkDirection = 'inbound' | 'outbound';

/** A snapshot of a link. Times in ms. */
export interface LinkInfo {
  readonly peerId: NodeId;
  /** The name of the peer as a member, or the common name in its certificate when certificates come from your own PKI. */
  readonly peerName?: string | undefined;
  /** The tags of the peer as a member; only present where it has a certificate of the network. */
  readonly peerTags?: readonly string[] | undefined;
  /** The link address of the peer, or `attached`. */
  readonly address: string;
  readonly direction: LinkDirection;
  /** The recent round trip, 0 while it is unknown. */
  readonly rttMs: number;
  /** Open streams, in both directions. */
  readonly streams: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** When it came up, in ms since 1970. */
  readonly since: number;
}

/** Takes the streams that a peer opens. */
interface StreamAcceptor {
  onStream(stream: MuxStream): void;
}

/** Gets the control messages of links that are up. */
export interface LinkTraffic {
  /** Called with every message but those of the handshake, GOODBYE and NOTICE, from onUp to onDown. */
  onMessage(link: Link, message: Message): void;
  /** Called when the control stream has room again. */
  onUnblocked(link: Link): void;
  /** Called when a link that is up has to do more than it was made for: its purpose has changed. */
  onPromoted(link: Link): void;
}

/** Decides about links, and learns how they begin and end. */
export interface LinkOwner {
  /** Link addresses under which this node can be joined. */
  readonly listenAddresses: readonly string[];
  /** Called when the peer has proved its identity. Returns what speaks against the link for this node alone. */
  onHello(link: Link): Refusal | undefined;
  /** Called when this node decides about the link: call accept() or refuse(), now or within the handshake timeout. */
  onDecide(link: Link): void;
  onUp(link: Link): void;
  /** Called once with a notice that the peer sends for the user of this node. */
  onNotice(link: Link, notice: Error): void;
  /**
   * Called once when the link cannot be used any more, even if it never was up. Open streams may still end. No reason: it was closed
   * on purpose.
   */
  onDown(link: Link, reason: Error | undefined): void;
  /** Called once, last, when nothing is left of the link. */
  onClosed(link: Link): void;
}

interface LinkSetup {
  readonly self: SelfDescription;
  readonly owner: LinkOwner;
  readonly traffic: LinkTraffic;
  readonly direction: LinkDirection;
  readonly address: string;
  /** Whether this end is the client of the session. */
  readonly client: boolean;
  /** The purpose of a link that this node dials or attaches. For others it comes with the HELLO of the peer. */
  readonly purpose: LinkPurpose;
  /** The node that must be at the other end. */
  readonly expect?: NodeId;
  /** The keys of the network, if this node has a secret. */
  readonly networkKeys?: readonly Uint8Array[];
  /** Who is a member; undefined where certificates do not decide it. */
  readonly members?: MemberBook | undefined;
  /** The certificate of this node, if it is a member. */
  readonly certificate?: Uint8Array | undefined;
  /** What tls has shown, on a link over tls. */
  readonly tls?: TlsFacts;
  readonly timers: Timers;
  readonly handshakeTimeoutMs: number;
  readonly session: Partial<SessionOptions>;
}

/** A link to a peer. The members that the session and the control stream call are not for users. */
export class Link implements LinkInfo {
  /** What it was made for. */
  purpose: LinkPurpose;
  readonly address: string;
  readonly direction: LinkDirection;
  /** When it came up, in ms since 1970; 0 before. */
  since = 0;
  /** @internal True when the user of this node has ended it. */
  isClosedHere = false;
  /** @internal Takes the streams of the peer; set when the link comes up. */
  acceptor: StreamAcceptor | undefined = undefined;
  /** @internal */ readonly session: MuxSession;

  private phase: number = Phase.HELLO;
  private readonly handshake: Handshake;
  private readonly control: Control = new Control(this);
  private readonly lateness = new Lateness();
  private readonly setup: LinkSetup;
  private readonly handshakeDeadline: Deadline;
  private isDown = false;
  private hasNotice = false;
  /** True when a message has come since the deadline was set. */
  private hasProgressed = false;

  /** @internal */
  constructor(duplex: Duplex, setup: LinkSetup) {
    this.setup = setup;
    this.address = setup.address;
    this.direction = setup.direction;
    this.purpose = setup.purpose;
    this.session = new MuxSession(
      duplex,
      { ...SESSION_DEFAULTS, ...setup.session, client: setup.client, timers: setup.timers },
      this,
    );
    this.handshake = new Handshake({
      self: setup.self,
      networkKeys: setup.networkKeys ?? [],
      members: setup.members,
      certificate: setup.certificate,
      client: setup.client,
      tls: setup.tls,
      expect: setup.expect,
      makeHello: () => makeHello(setup.self, setup.owner.listenAddresses, this.purpose),
    });
    this.handshakeDeadline = new Deadline(setup.timers, () => this.onLate());
    this.handshakeDeadline.set(setup.handshakeTimeoutMs);
  }

  /** @internal Begins the handshake, if this end is the client. */
  start(): void {
    if (!this.setup.client) return;
    this.control.attach(this.session.open(this.control));
    if (this.setup.tls?.fault !== undefined) this.refuse(this.setup.tls.fault);
    else this.follow(this.handshake.begin());
  }

  /** Empty until the peer has proved its identity. */
  get peerId(): NodeId {
    return this.handshake.peer?.nodeId ?? '';
  }

  /** A UUID that changes when the peer restarts; empty before the handshake. */
  get bootId(): string {
    return this.handshake.peer?.bootId ?? '';
  }

  /**
   * The name in the certificate of the peer, if an authority of this node has signed it. That of a member is the one in its newest
   * certificate.
   */
  get peerName(): string | undefined {
    return this.member?.name ?? this.setup.tls?.peerName;
  }

  /** The tags in the newest certificate of the peer; undefined when it is no member by a certificate. */
  get peerTags(): readonly string[] | undefined {
    return this.member?.tags;
  }

  get role(): NodeRole {
    return this.handshake.peer?.role ?? 'peer';
  }

  /** @internal */
  get envDigests(): readonly string[] {
    return this.handshake.peer?.envDigests ?? [];
  }

  /** @internal What the peer can do, as it has signed. */
  get capabilities(): number {
    return this.handshake.peer?.capabilities ?? 0;
  }

  /** @internal The raw key that the peer has proved; undefined during the handshake. */
  get peerKey(): Uint8Array | undefined {
    return this.handshake.peer?.publicKey;
  }

  /** @internal The same, or that which its certificate in tls has, as long as the peer has not said any more. */
  get shownKey(): Uint8Array | undefined {
    return this.peerKey ?? this.setup.tls?.certificateKey;
  }

  /** @internal How the peer has shown that it is a member; undefined during the handshake, and where certificates do not decide it. */
  get membership(): Membership | undefined {
    return this.handshake.membership;
  }

  /** @internal Link addresses at which the peer listens, as it says itself. */
  get peerAddresses(): readonly string[] {
    return this.handshake.peer?.listenAddresses ?? [];
  }

  /** @internal When the last byte of the peer arrived, by the clock of the timers, in ms. */
  get lastHeardMs(): number {
    return this.session.liveness.lastReceivedMs;
  }

  get rttMs(): number {
    return this.session.rttMs;
  }

  /** @internal How much later than {@link rttMs} an answer may come on a path that loses packets, in ms. */
  get lateMs(): number {
    return this.lateness.ms;
  }

  /** @internal The smoothed round trip of its pings in ms; 0 while it is unknown. */
  get smoothedRttMs(): number {
    return this.lateness.averageMs;
  }

  get streams(): number {
    return Math.max(0, this.session.streamCount - (this.control.isAttached ? 1 : 0));
  }

  /** @internal How many streams are open that the peer has opened. */
  get incoming(): number {
    if (this.session.isClosed) return 0;
    return this.session.streams.peerCount - Number(!this.setup.client && this.control.isOpen);
  }

  /** @internal Resolves when none of them is left, or when the link has ended. One wait at a time. */
  incomingEnded(): Promise<void> {
    const { session } = this;
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.incoming > 0) return;
        session.onStreamGone = null;
        resolve();
      };
      session.onStreamGone = check;
      check();
    });
  }

  get bytesIn(): number {
    return this.session.bytesIn;
  }

  get bytesOut(): number {
    return this.session.bytesOut;
  }

  /** True from the end of the handshake until the link is lost or leaves. */
  get isUp(): boolean {
    return this.phase === Phase.UP;
  }

  /** @internal True while one of the two nodes decides about the link. */
  get isDeciding(): boolean {
    return this.phase === Phase.DECIDING;
  }

  /** @internal True when the link cannot be used any more: it ends by itself. */
  get isLeaving(): boolean {
    return this.phase >= Phase.LEAVING;
  }

  /** @internal True when messages would have to wait. */
  get isBlocked(): boolean {
    return this.control.isBlocked;
  }

  /** Returns plain values, as they are now. */
  snapshot(): LinkInfo {
    const { peerId, peerName, peerTags, address, direction, rttMs, streams, bytesIn, bytesOut, since } = this;
    const named = { ...(peerName === undefined ? {} : { peerName }), ...(peerTags === undefined ? {} : { peerTags }) };
    return { peerId, ...named, address, direction, rttMs, streams, bytesIn, bytesOut, since };
  }

  /** @internal Returns what console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    const state = PHASE_NAMES[this.phase];
    return shown('Link', { state, role: this.role, ...this.snapshot() }, depth, options, inspect);
  }

  /** Measures the round trip, in ms. Rejects when the link ends first. */
  async ping(): Promise<number> {
    const rttMs = await this.session.ping();
    this.lateness.sample(rttMs);
    return rttMs;
  }

  /**
   * Closes the link: the peer gets a GOODBYE, and open streams have the close timeout to finish. A link that was joined is not
   * joined again.
   */
  close(): void {
    this.closeWithin(undefined);
  }

  /** @internal As {@link close}, with another close timeout. */
  closeWithin(timeoutMs: number | undefined): void {
    if (this.phase >= Phase.LEAVING) return;
    this.isClosedHere = true;
    this.leave(GoodbyeCode.NORMAL, undefined, undefined, timeoutMs);
  }

  /** Ends the link at once; every stream over it is reset. Without an error, a link that was joined is not joined again. */
  destroy(error?: Error): void {
    if (error === undefined && this.phase < Phase.LEAVING) this.isClosedHere = true;
    this.session.destroy(error);
  }

  /** @internal Closes the link because the peer can do without it. It is not joined again. */
  shed(): void {
    if (this.phase >= Phase.LEAVING) return;
    this.isClosedHere = true;
    this.leave(GoodbyeCode.SHED, undefined, undefined);
  }

  /** @internal */
  send(message: Message): void {
    this.control.send(encodeMessageOf(message));
  }

  /** @internal Called when another link to the peer was refused as a duplicate: this one takes over its purpose. */
  promote(purpose: LinkPurpose): void {
    if (this.phase !== Phase.UP || !isStronger(purpose, this.purpose)) return;
    this.purpose = purpose;
    this.setup.traffic.onPromoted(this);
  }

  /** @internal Takes the link, as {@link LinkOwner.onDecide} asked. */
  accept(): void {
    if (this.phase === Phase.DECIDING) this.goUp();
  }

  /** @internal Refuses the link: the peer gets the reason, then the link ends. */
  refuse({ code, error, peerReason }: Refusal): void {
    if (this.phase >= Phase.LEAVING) return;
    this.leave(code, peerReason, error);
  }

  /**
   * @internal Ends the link because its peer is a member no more, in whatever phase it is: the peer gets the reason, and streams are reset
   * at once.
   */
  expel({ code, error, peerReason }: Refusal): void {
    if (this.phase === Phase.CLOSED) return;
    if (this.phase < Phase.LEAVING) this.control.send(encodeGoodbye({ code, reason: peerReason }));
    this.handshakeDeadline.clear();
    this.phase = Phase.LEAVING;
    // First, as the peer may answer before the next line returns.
    this.goDown(error);
    this.control.abort(this.session, error);
  }

  /** @internal Closes the link because a newer process of the peer has taken its place. Open streams may finish. */
  supersede(text: string, reason: Error): void {
    if (this.phase < Phase.LEAVING) this.leave(GoodbyeCode.TAKEN, text, reason);
  }

  /** @internal Called when the initial sync is done, which ends the handshake. */
  onSynced(): void {
    this.handshakeDeadline.clear();
  }

  // --- the session ---

  /** @internal */
  onStream(stream: MuxStream): void {
    if (this.acceptor !== undefined) {
      this.acceptor.onStream(stream);
      return;
    }
    if (this.phase === Phase.HELLO && !this.setup.client && !this.control.isAttached) {
      this.control.attach(stream);
      stream.accept();
      if (this.setup.tls?.fault !== undefined) this.refuse(this.setup.tls.fault);
      return;
    }
    stream.reset();
    // A Starlane node opens nothing else before the handshake is done.
    if (this.phase < Phase.UP) {
      this.refuse(broken(GoodbyeCode.HANDSHAKE_REFUSED, 'opened a stream before the handshake was done'));
    }
  }

  /** @internal The GoAway of a peer that closes may overtake its GOODBYE. */
  onGoAway(): void {
    if (this.phase === Phase.UP) this.leave(undefined, undefined, starlaneError('ERR_STARLANE_CLOSED'));
  }

  /** @internal */
  onClose(error: Error | undefined): void {
    this.handshakeDeadline.clear();
    const fault = this.phase === Phase.HELLO && error !== undefined ? this.explain(error) : error;
    const reason = fault ?? (this.phase < Phase.LEAVING ? starlaneError('ERR_STARLANE_LINK_LOST') : undefined);
    this.phase = Phase.CLOSED;
    log('%s %s closed: %s', this.peerId, this.address, reason?.message ?? 'in order');
    this.goDown(reason);
    this.acceptor = undefined;
    this.setup.owner.onClosed(this);
  }

  // --- the control stream ---

  /** @internal */
  onMessage(message: Message, bytes: Uint8Array): void {
    switch (message.type) {
      case MessageType.HELLO:
        if (this.phase >= Phase.LEAVING) return;
        this.follow(this.handshake.onHello(message, bytes));
        return;
      case MessageType.AUTH:
        if (this.phase >= Phase.LEAVING) return;
        if (this.follow(this.handshake.onAuth(message))) this.onProved();
        return;
      case MessageType.GOODBYE:
        if (this.phase < Phase.LEAVING) this.onGoodbye(message);
        return;
      case MessageType.NOTICE:
        if (this.phase === Phase.UP && message.code === GoodbyeCode.TAKEN && !this.hasNotice) {
          // Once, or a peer could fill the log of the user.
          this.hasNotice = true;
          this.setup.owner.onNotice(this, goodbyeError(message));
        }
        return;
      default:
        this.onOther(message);
    }
  }

  /** @internal */
  onControlDrain(): void {
    if (this.phase === Phase.UP) this.setup.traffic.onUnblocked(this);
  }

  /** @internal */
  onControlClose(error: Error | undefined): void {
    if (this.phase >= Phase.LEAVING) return;
    if (error === undefined) {
      this.leave(
        GoodbyeCode.NORMAL,
        undefined,
        starlaneError('ERR_STARLANE_LINK_LOST', 'the peer ended the control stream'),
      );
    } else this.leave(GoodbyeCode.MALFORMED, `what this node sent: ${error.message}`, error);
  }

  /** The peer as a member, by its newest certificate. */
  private get member(): Member | undefined {
    const { peerKey } = this;
    const member = peerKey === undefined ? undefined : this.setup.members?.member(this.peerId);
    return member !== undefined && Buffer.compare(member.publicKey, peerKey as Uint8Array) === 0 ? member : undefined;
  }

  /** Sends what the handshake says, or refuses the link and returns false. */
  private follow(step: HandshakeStep): boolean {
    if ('error' in step) {
      this.refuse(step);
      return false;
    }
    for (const message of step.send) this.control.send(message);
    return true;
  }

  /** Called when the peer has proved its identity and its membership. */
  private onProved(): void {
    const { self, owner, client } = this.setup;
    this.control.trust();
    if (!client) this.purpose = purposeOf(this.handshake.flags);
    const refused = owner.onHello(this);
    if (refused !== undefined) {
      this.refuse(refused);
      return;
    }
    this.phase = Phase.DECIDING;
    if (decides(self.nodeId, this.peerId)) owner.onDecide(this);
  }

  private onLate(): void {
    // A long list of services may take its time over a slow link, as long as some of it keeps coming.
    if (this.phase === Phase.UP && this.hasProgressed) {
      this.hasProgressed = false;
      this.handshakeDeadline.set(this.setup.handshakeTimeoutMs);
      return;
    }
    this.destroy(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', this.address));
  }

  private onOther(message: Message): void {
    if (this.phase === Phase.DECIDING && !decides(this.setup.self.nodeId, this.peerId)) this.goUp();
    if (this.phase === Phase.UP) {
      this.hasProgressed = true;
      this.setup.traffic.onMessage(this, message);
    } else if (this.phase < Phase.LEAVING) {
      this.refuse(broken(GoodbyeCode.HANDSHAKE_REFUSED, 'sent a message ahead of its time'));
    }
  }

  /** Returns why a session has ended at its beginning, as exactly as its first bytes or tls show it. */
  private explain(error: Error): Error {
    if (this.setup.tls === undefined) return otherProtocol(this.session.decoder.stray) ?? error;
    const { cause } = error;
    return cause instanceof Error && tlsFailure(cause) !== cause ? tlsFailure(cause) : error;
  }

  private goUp(): void {
    this.phase = Phase.UP;
    this.since = dateNow();
    log('%s %s up, %s', this.peerId, this.address, this.direction);
    this.setup.owner.onUp(this);
  }

  private goDown(reason: Error | undefined): void {
    if (this.isDown) return;
    this.isDown = true;
    this.setup.owner.onDown(this, reason);
  }

  private onGoodbye(goodbye: Goodbye): void {
    const error = goodbyeError(goodbye, this.peerId !== '');
    this.leave(undefined, undefined, error);
    // The peer resets all streams, and a reset has no reason with it.
    if (goodbye.code === GoodbyeCode.REVOKED || goodbye.code === GoodbyeCode.EXPIRED) this.session.destroy(error);
  }

  /** Sends GOODBYE with `code`, unless the peer has sent one, and lets open streams finish. */
  private leave(
    code: number | undefined,
    text: string | undefined,
    reason: Error | undefined,
    timeoutMs?: number,
  ): void {
    this.handshakeDeadline.clear();
    this.phase = Phase.LEAVING;
    if (code !== undefined) this.control.send(encodeGoodbye({ code, reason: text ?? '' }));
    this.control.end();
    this.goDown(reason);
    this.session.close(timeoutMs);
  }
}
