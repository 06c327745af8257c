// One link to one peer: a session over a Duplex, the handshake on its first stream, and then the control stream.
//
//   HELLO ──> DECIDING ──> UP ──> LEAVING ──> CLOSED
//     └──────────┴──────────┴────────┴──────────^
//
// HELLO waits for the peer's HELLO, DECIDING for the word of the node with the lower id, LEAVING for open streams.
// Whatever the peer does ends this link at worst: nothing here throws into the session.

import type { Duplex } from 'node:stream';
import type { NodeId } from '../address.js';
import { starlaneError } from '../errors.js';
import type { MuxStream } from '../mux/mux-stream.js';
import { MuxSession } from '../mux/session.js';
import type { SessionOptions } from '../mux/session-options.js';
import type { NodeRole } from '../options.js';
import { debug } from '../util/debug.js';
import type { Timer, Timers } from '../util/timers.js';
import { encodeGoodbye, GoodbyeCode, type Hello, type Message, MessageType } from '../wire/messages.js';
import { Control } from './control.js';
import {
  checkHello,
  decides,
  goodbyeError,
  makeHello,
  type Refusal,
  refusal,
  type SelfDescription,
} from './handshake.js';

const log = debug('link');

export type LinkDirection = 'inbound' | 'outbound';

/** A snapshot of a link. Times in ms. */
export interface LinkInfo {
  readonly peerId: NodeId;
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
export interface LinkOwner {
  /** Link addresses under which this node can be joined. */
  readonly listenAddresses: readonly string[];
  /** The peer is known: says at once what speaks against the link for this node alone. */
  onHello(link: Link): Refusal | undefined;
  /** It is for this node to decide: accept() or refuse(), now or within the handshake timeout. */
  onDecide(link: Link): void;
  onUp(link: Link): void;
  /** Anything but HELLO and GOODBYE, from onUp to onDown. */
  onMessage(link: Link, message: Message): void;
  /** The control stream has room again. */
  onDrain(link: Link): void;
  /** Not usable from here on, if it ever was. Open streams may still end. Told once; undefined: closed on purpose. */
  onDown(link: Link, reason: Error | undefined): void;
  /** Nothing is left of it. Told once, last. */
  onClosed(link: Link): void;
}

export interface LinkSetup {
  readonly self: SelfDescription;
  readonly owner: LinkOwner;
  readonly direction: LinkDirection;
  readonly address: string;
  /** Which end of the session this is. */
  readonly client: boolean;
  readonly timers: Timers;
  readonly handshakeTimeoutMs: number;
  readonly session: Partial<SessionOptions>;
}

const Phase = { HELLO: 0, DECIDING: 1, UP: 2, LEAVING: 3, CLOSED: 4 } as const;

/** Wide open from the start: both ends are ours, and every circuit has its own deadline. */
const SESSION_DEFAULTS = { starlanePeer: true, maxUnackedOpens: Number.POSITIVE_INFINITY, openTimeoutMs: 0 };

/** A link to a peer. It is also a SessionOwner, a ControlOwner and Timed, but those members are not for users. */
export class Link implements LinkInfo {
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
  private hello: Hello | undefined;
  private readonly control: Control = new Control(this);
  private readonly setup: LinkSetup;
  private handshakeTimer: Timer | undefined;
  private isDown = false;
  /** Something has been said since the deadline was set. */
  private hasProgressed = false;

  /** @internal */
  constructor(duplex: Duplex, setup: LinkSetup) {
    this.setup = setup;
    this.address = setup.address;
    this.direction = setup.direction;
    this.session = new MuxSession(
      duplex,
      { ...SESSION_DEFAULTS, ...setup.session, client: setup.client, timers: setup.timers },
      this,
    );
    this.handshakeTimer = setup.timers.schedule(setup.handshakeTimeoutMs, this);
    if (setup.client) {
      this.control.attach(this.session.open(this.control));
      this.sendHello();
    }
  }

  /** Empty before the handshake. */
  get peerId(): NodeId {
    return this.hello === undefined ? '' : this.hello.nodeId;
  }

  /** A UUID that changes when the peer restarts; empty before the handshake. */
  get bootId(): string {
    return this.hello === undefined ? '' : this.hello.bootId;
  }

  get role(): NodeRole {
    return this.hello === undefined ? 'peer' : this.hello.role;
  }

  /** @internal */
  get envDigests(): readonly string[] {
    return this.hello === undefined ? [] : this.hello.envDigests;
  }

  get rttMs(): number {
    return this.session.rttMs;
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
    const { peerId, address, direction, rttMs, streams, bytesIn, bytesOut, since } = this;
    return { peerId, address, direction, rttMs, streams, bytesIn, bytesOut, since };
  }

  /** Measures the round trip, in ms. Rejects when the link ends first. */
  ping(): Promise<number> {
    return this.session.ping();
  }

  /**
   * Ends the link in order: the peer is told, open streams have the close timeout to finish. If the link was joined, it
   * is not joined again.
   */
  close(): void {
    if (this.phase >= Phase.LEAVING) return;
    this.isClosedHere = true;
    this.leave(GoodbyeCode.NORMAL, undefined, undefined);
  }

  /** Ends the link at once; every stream over it is reset. Without an error it is not joined again either. */
  destroy(error?: Error): void {
    if (error === undefined && this.phase < Phase.LEAVING) this.isClosedHere = true;
    this.session.destroy(error);
  }

  /** @internal */
  send(message: Buffer): void {
    this.control.send(message);
  }

  /** @internal The decision that {@link LinkOwner.onDecide} asked for. */
  accept(): void {
    if (this.phase === Phase.DECIDING) this.goUp();
  }

  /** @internal The peer is told why, then the link ends. */
  refuse({ code, error }: Refusal): void {
    if (this.phase >= Phase.LEAVING) return;
    this.leave(code, error.message, error);
  }

  /** @internal The handshake is over: the peer has told all that it had to tell at the start. */
  get isSynced(): boolean {
    return this.handshakeTimer === undefined;
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
      return;
    }
    stream.reset();
    // A peer of ours opens nothing more before the handshake is over; whoever does is a stranger.
    if (this.phase < Phase.UP) {
      this.refuse(
        refusal(GoodbyeCode.HANDSHAKE_REFUSED, 'ERR_STARLANE_HANDSHAKE', 'a stream before the handshake was done'),
      );
    }
  }

  /** @internal */
  onClose(error: Error | undefined): void {
    this.stopTimer();
    const reason = error ?? (this.phase < Phase.LEAVING ? starlaneError('ERR_STARLANE_LINK_LOST') : undefined);
    this.phase = Phase.CLOSED;
    log('%s %s closed: %s', this.peerId, this.address, reason?.message ?? 'in order');
    this.goDown(reason);
    this.acceptor = undefined;
    this.setup.owner.onClosed(this);
  }

  // --- the control stream ---

  /** @internal */
  onMessage(message: Message): void {
    switch (message.type) {
      case MessageType.HELLO:
        this.onHello(message);
        return;
      case MessageType.GOODBYE:
        if (this.phase < Phase.LEAVING) this.leave(undefined, undefined, goodbyeError(message));
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
    } else this.leave(GoodbyeCode.MALFORMED, error.message, error);
  }

  private onHello(hello: Hello): void {
    const { self, owner, client } = this.setup;
    if (this.phase >= Phase.LEAVING) return;
    if (this.phase !== Phase.HELLO) {
      this.refuse(refusal(GoodbyeCode.MALFORMED, 'ERR_STARLANE_HANDSHAKE', 'a second HELLO'));
      return;
    }
    const fault = checkHello(hello, self);
    if (fault !== undefined) {
      this.refuse(fault);
      return;
    }
    this.hello = hello;
    const objection = owner.onHello(this);
    if (objection !== undefined) {
      this.refuse(objection);
      return;
    }
    this.phase = Phase.DECIDING;
    if (!client) this.sendHello();
    if (decides(self.nodeId, hello.nodeId)) owner.onDecide(this);
  }

  private onOther(message: Message): void {
    if (this.phase === Phase.DECIDING && !decides(this.setup.self.nodeId, this.peerId)) this.goUp();
    if (this.phase === Phase.UP) {
      this.hasProgressed = true;
      if (message.type === MessageType.SYNCED) this.stopTimer();
      this.setup.owner.onMessage(this, message);
    } else if (this.phase < Phase.LEAVING) {
      this.refuse(refusal(GoodbyeCode.HANDSHAKE_REFUSED, 'ERR_STARLANE_HANDSHAKE', 'a message ahead of its time'));
    }
  }

  private sendHello(): void {
    this.control.send(makeHello(this.setup.self, this.setup.owner.listenAddresses));
  }

  private goUp(): void {
    this.phase = Phase.UP;
    this.since = Date.now();
    log('%s %s up, %s', this.peerId, this.address, this.direction);
    this.setup.owner.onUp(this);
  }

  private goDown(reason: Error | undefined): void {
    if (this.isDown) return;
    this.isDown = true;
    this.setup.owner.onDown(this, reason);
  }

  /** Says goodbye with `code` unless the peer has said it, and lets open streams finish. */
  private leave(code: number | undefined, text: string | undefined, reason: Error | undefined): void {
    this.stopTimer();
    this.phase = Phase.LEAVING;
    if (code !== undefined) this.control.send(encodeGoodbye({ code, reason: text ?? '' }));
    this.control.end();
    this.goDown(reason);
    this.session.close();
  }

  private stopTimer(): void {
    if (this.handshakeTimer !== undefined) this.setup.timers.cancel(this.handshakeTimer);
    this.handshakeTimer = undefined;
  }
}
