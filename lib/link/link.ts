// One link to one peer: a session over a Duplex, the handshake on its first stream, and then the control stream.
//
//   HELLO ──> DECIDING ──> UP ──> LEAVING ──> CLOSED
//     └──────────┴──────────┴────────┴──────────^
//
// HELLO waits for the peer's HELLO and the proof of it, DECIDING for the word of the node with the lower id, LEAVING for open streams.
// Whatever the peer does ends this link at worst: nothing here throws into the session.

import type { Duplex } from 'node:stream';
import type { NodeId } from '../address.js';
import { starlaneError } from '../errors.js';
import { Lateness } from '../mux/liveness/lateness.js';
import { MuxSession } from '../mux/session.js';
import type { SessionOptions } from '../mux/session-options.js';
import type { MuxStream } from '../mux/stream/stream.js';
import type { NodeRole } from '../options/options.js';
import { debug } from '../util/runtime/debug.js';
import { dateNow } from '../util/runtime/real-timers.js';
import { INSPECT, type Inspect, type InspectOptions, shown } from '../util/runtime/shown.js';
import type { Timer, Timers } from '../util/timers.js';
import { encodeGoodbye, encodeMessageOf, GoodbyeCode, type Message, MessageType } from '../wire/messages.js';
import { Control } from './handshake/control.js';
import { decides, Introduction, makeHello, type SelfDescription, type Step } from './handshake/handshake.js';
import { broken, goodbyeError, type Refusal } from './handshake/refusals.js';
import { isStronger, type LinkPurpose, purposeOf } from './link-purpose.js';
import { foreignSpeech, tlsFailure } from './transport/protocol-mismatch.js';
import type { TlsFacts } from './transport/tls.js';

const log = debug('link');

const Phase = { HELLO: 0, DECIDING: 1, UP: 2, LEAVING: 3, CLOSED: 4 } as const;

/** As console.log() has them, by phase. */
const PHASE_NAMES: readonly string[] = ['handshake', 'handshake', 'up', 'leaving', 'closed'];

/** Wide open from the start: both ends are ours, and every circuit has its own deadline. */
const SESSION_DEFAULTS = { starlanePeer: true, maxUnackedOpens: Number.POSITIVE_INFINITY, openTimeoutMs: 0 };

/** A link to a peer. It is also a SessionOwner, a ControlOwner and Timed, but those members are not for users. */
export class Link implements LinkInfo {
  /** Who it was made for. */
  purpose: LinkPurpose;
  readonly address: string;
  readonly direction: LinkDirection;
  /** When it came up, in ms since 1970; 0 before. */
  since = 0;
  /** @internal The user of this node has ended it. */
  isClosedHere = false;
  /** @internal Takes the circuits of the peer; set when the link comes up. */
  acceptor: StreamAcceptor | undefined = undefined;
  /** @internal */ readonly session: MuxSession;

  private phase: number = Phase.HELLO;
  private readonly introduction: Introduction;
  private readonly control: Control = new Control(this);
  private readonly lateness = new Lateness();
  private readonly setup: LinkSetup<Link>;
  private handshakeTimer: Timer | undefined;
  private isDown = false;
  private hasNotice = false;
  /** Something has been said since the deadline was set. */
  private hasProgressed = false;

  /** @internal */
  constructor(duplex: Duplex, setup: LinkSetup<Link>) {
    this.setup = setup;
    this.address = setup.address;
    this.direction = setup.direction;
    this.purpose = setup.purpose;
    this.session = new MuxSession(
      duplex,
      { ...SESSION_DEFAULTS, ...setup.session, client: setup.client, timers: setup.timers },
      this,
    );
    this.introduction = new Introduction({
      self: setup.self,
      networkKeys: setup.networkKeys ?? [],
      client: setup.client,
      tls: setup.tls,
      expect: setup.expect,
      makeHello: () => makeHello(setup.self, setup.owner.listenAddresses, this.purpose),
    });
    this.handshakeTimer = setup.timers.schedule(setup.handshakeTimeoutMs, this);
  }

  /** @internal The client begins. */
  start(): void {
    if (!this.setup.client) return;
    this.control.attach(this.session.open(this.control));
    if (this.setup.tls?.fault !== undefined) this.refuse(this.setup.tls.fault);
    else this.follow(this.introduction.begin());
  }

  /** Empty before the peer has proved that it is its own. */
  get peerId(): NodeId {
    return this.introduction.peer?.nodeId ?? '';
  }

  /** A UUID that changes when the peer restarts; empty before the handshake. */
  get bootId(): string {
    return this.introduction.peer?.bootId ?? '';
  }

  /** The name in the certificate of the peer, where an authority of this node's has signed it. */
  get peerName(): string | undefined {
    return this.setup.tls?.peerName;
  }

  get role(): NodeRole {
    return this.introduction.peer?.role ?? 'peer';
  }

  /** @internal */
  get envDigests(): readonly string[] {
    return this.introduction.peer?.envDigests ?? [];
  }

  /** @internal Link addresses at which the peer listens, as it says itself. */
  get peerAddresses(): readonly string[] {
    return this.introduction.peer?.listenAddresses ?? [];
  }

  /** @internal When the last byte of the peer arrived, by the clock of the timers, in ms. */
  get lastHeardMs(): number {
    return this.session.liveness.lastHeardMs;
  }

  get rttMs(): number {
    return this.session.rttMs;
  }

  /** @internal How much later than that an answer may come where packets are lost, in ms. */
  get lateMs(): number {
    return this.lateness.ms;
  }

  get streams(): number {
    return Math.max(0, this.session.streamCount - (this.control.isAttached ? 1 : 0));
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

  /** @internal It is for one of the two nodes to say whether the link is taken. */
  get isDeciding(): boolean {
    return this.phase === Phase.DECIDING;
  }

  /** @internal Not usable any more, and about to end by itself. */
  get isLeaving(): boolean {
    return this.phase >= Phase.LEAVING;
  }

  /** @internal No messages can be sent without queueing. */
  get isBlocked(): boolean {
    return this.control.isBlocked;
  }

  /** Plain values, as they are now. */
  snapshot(): LinkInfo {
    const { peerId, peerName, address, direction, rttMs, streams, bytesIn, bytesOut, since } = this;
    const named = peerName === undefined ? {} : { peerName };
    return { peerId, ...named, address, direction, rttMs, streams, bytesIn, bytesOut, since };
  }

  /** @internal What console.log() prints. */
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
   * Ends the link in order: the peer is told, open streams have the close timeout to finish. If the link was joined, it
   * is not joined again.
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

  /** Ends the link at once; every stream over it is reset. Without an error it is not joined again either. */
  destroy(error?: Error): void {
    if (error === undefined && this.phase < Phase.LEAVING) this.isClosedHere = true;
    this.session.destroy(error);
  }

  /** @internal Ends it in order, and tells the peer that it can do without. It is not joined again. */
  shed(): void {
    if (this.phase >= Phase.LEAVING) return;
    this.isClosedHere = true;
    this.leave(GoodbyeCode.SHED, undefined, undefined);
  }

  /** @internal */
  send(message: Message): void {
    this.control.send(encodeMessageOf(message));
  }

  /** @internal Another link to the peer was made and turned away: this one does what that was to do. */
  promote(purpose: LinkPurpose): void {
    if (this.phase !== Phase.UP || !isStronger(purpose, this.purpose)) return;
    this.purpose = purpose;
    this.setup.owner.onPromoted(this);
  }

  /** @internal The decision that {@link LinkOwner.onDecide} asked for. */
  accept(): void {
    if (this.phase === Phase.DECIDING) this.goUp();
  }

  /** @internal The peer is told why, then the link ends. */
  refuse({ code, error, told }: Refusal): void {
    if (this.phase >= Phase.LEAVING) return;
    this.leave(code, told, error);
  }

  /** @internal A newer process of the peer has come in its place, or so it seems: it is told, and may finish what is open. */
  supersede(text: string, reason: Error): void {
    if (this.phase < Phase.LEAVING) this.leave(GoodbyeCode.TAKEN, text, reason);
  }

  /** @internal The handshake is over: the peer has told all that it had to tell at the start. */
  onSynced(): void {
    this.stopTimer();
  }

  /** @internal */
  onDeadline(): void {
    // A long list of services may take its time over a slow link, as long as it comes.
    if (this.phase === Phase.UP && this.hasProgressed) {
      this.hasProgressed = false;
      this.handshakeTimer = this.setup.timers.schedule(this.setup.handshakeTimeoutMs, this);
      return;
    }
    this.handshakeTimer = undefined;
    this.destroy(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', this.address));
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
    // A peer of ours opens nothing more before the handshake is over; whoever does is a stranger.
    if (this.phase < Phase.UP) {
      this.refuse(broken(GoodbyeCode.HANDSHAKE_REFUSED, 'opened a stream before the handshake was done'));
    }
  }

  /** @internal The word of a peer that closes may overtake its GOODBYE. */
  onGoAway(): void {
    if (this.phase === Phase.UP) this.leave(undefined, undefined, starlaneError('ERR_STARLANE_CLOSED'));
  }

  /** @internal */
  onClose(error: Error | undefined): void {
    this.stopTimer();
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
        this.follow(this.introduction.onHello(message, bytes));
        return;
      case MessageType.AUTH:
        if (this.phase >= Phase.LEAVING) return;
        if (this.follow(this.introduction.onAuth(message))) this.onProved();
        return;
      case MessageType.GOODBYE:
        if (this.phase < Phase.LEAVING) this.leave(undefined, undefined, goodbyeError(message, this.peerId !== ''));
        return;
      case MessageType.NOTICE:
        if (this.phase === Phase.UP && message.code === GoodbyeCode.TAKEN && !this.hasNotice) {
          // Once: a peer could fill the log of the user.
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
    if (this.phase === Phase.UP) this.setup.owner.onDrain(this);
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

  /** Does what the introduction says; false when that is to end the link. */
  private follow(step: Step): boolean {
    if ('error' in step) {
      this.refuse(step);
      return false;
    }
    this.say(step.say);
    return true;
  }

  /** The peer is who it says, and a member. */
  private onProved(): void {
    const { self, owner, client } = this.setup;
    this.control.trust(this.setup.maxMessageBytes);
    if (!client) this.purpose = purposeOf(this.introduction.flags);
    const objection = owner.onHello(this);
    if (objection !== undefined) {
      this.refuse(objection);
      return;
    }
    this.phase = Phase.DECIDING;
    if (decides(self.nodeId, this.peerId)) owner.onDecide(this);
  }

  private onOther(message: Message): void {
    if (this.phase === Phase.DECIDING && !decides(this.setup.self.nodeId, this.peerId)) this.goUp();
    if (this.phase === Phase.UP) {
      this.hasProgressed = true;
      this.setup.owner.onMessage(this, message);
    } else if (this.phase < Phase.LEAVING) {
      this.refuse(broken(GoodbyeCode.HANDSHAKE_REFUSED, 'sent a message ahead of its time'));
    }
  }

  /** Why a session has ended at its beginning, when more can be said about it. */
  private explain(error: Error): Error {
    if (this.setup.tls === undefined) return foreignSpeech(this.session.decoder.stray) ?? error;
    const { cause } = error;
    return cause instanceof Error && tlsFailure(cause) !== cause ? tlsFailure(cause) : error;
  }

  private say(messages: readonly Buffer[]): void {
    for (const message of messages) this.control.send(message);
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

  /** Says goodbye with `code` unless the peer has said it, and lets open streams finish. */
  private leave(
    code: number | undefined,
    text: string | undefined,
    reason: Error | undefined,
    timeoutMs?: number,
  ): void {
    this.stopTimer();
    this.phase = Phase.LEAVING;
    if (code !== undefined) this.control.send(encodeGoodbye({ code, reason: text ?? '' }));
    this.control.end();
    this.goDown(reason);
    this.session.close(timeoutMs);
  }

  private stopTimer(): void {
    if (this.handshakeTimer !== undefined) this.setup.timers.cancel(this.handshakeTimer);
    this.handshakeTimer = undefined;
  }
}

// What is told about a link, to whom, and what a link is made with.

export type LinkDirection = 'inbound' | 'outbound';

/** A snapshot of a link. Times in ms. */
export interface LinkInfo {
  readonly peerId: NodeId;
  /** The common name in the certificate of the peer; not there unless it is one of an own PKI. */
  readonly peerName?: string | undefined;
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
export interface StreamAcceptor {
  onStream(stream: MuxStream): void;
}

/** Who a link belongs to. */
export interface LinkOwner<Link> {
  /** Link addresses under which this node can be joined. */
  readonly listenAddresses: readonly string[];
  /** The peer has proved who it is: says at once what speaks against the link for this node alone. */
  onHello(link: Link): Refusal | undefined;
  /** It is for this node to decide: accept() or refuse(), now or within the handshake timeout. */
  onDecide(link: Link): void;
  onUp(link: Link): void;
  /** A link that is up has to do more than it was made for: its purpose is another one now. */
  onPromoted(link: Link): void;
  /** Anything but HELLO and GOODBYE, from onUp to onDown. */
  onMessage(link: Link, message: Message): void;
  /** The peer says something that the user should hear of. Told once. */
  onNotice(link: Link, notice: Error): void;
  /** The control stream has room again. */
  onDrain(link: Link): void;
  /** Not usable from here on, if it ever was. Open streams may still end. Told once; undefined: closed on purpose. */
  onDown(link: Link, reason: Error | undefined): void;
  /** Nothing is left of it. Told once, last. */
  onClosed(link: Link): void;
}

export interface LinkSetup<Link> {
  readonly self: SelfDescription;
  readonly owner: LinkOwner<Link>;
  readonly direction: LinkDirection;
  readonly address: string;
  /** Which end of the session this is. */
  readonly client: boolean;
  /** Of a link that this node dials or attaches; that of others is what their HELLO says. */
  readonly purpose: LinkPurpose;
  /** Who has to be there. */
  readonly expect?: NodeId;
  /** Of the network that this node is a member of, if it has a secret. */
  readonly networkKeys?: readonly Uint8Array[];
  /** Of a link over tls. */
  readonly tls?: TlsFacts;
  readonly timers: Timers;
  readonly handshakeTimeoutMs: number;
  /** Of a peer that has proved who it is. */
  readonly maxMessageBytes: number;
  readonly session: Partial<SessionOptions>;
}
