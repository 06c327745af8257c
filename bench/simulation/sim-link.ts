// One end of a link of the simulation: what lib/link/link.ts is to the control plane, over two pipes instead of a session.
// The same handshake, with the same checks, in the same order, but without AUTH: no node here claims another identity, pipes cannot be
// tampered with, and proofs that are always valid would only cost time.
//
//   HELLO ──> DECIDING ──> UP ──> LEAVING ──> CLOSED
//     └──────────┴──────────┴────────┴──────────^

import type { NodeId } from '../../lib/address.js';
import { starlaneError } from '../../lib/errors.js';
import { checkHello, decides } from '../../lib/link/handshake/handshake.js';
import { broken, goodbyeError, type Refusal } from '../../lib/link/handshake/refusals.js';
import { isStronger, type LinkPurpose, purposeOf } from '../../lib/link/link-purpose.js';
import type { MeshLink } from '../../lib/mesh/ports.js';
import { Lateness, RoundTrip } from '../../lib/mux/liveness/liveness.js';
import type { NodeRole } from '../../lib/options/options.js';
import type { Timer } from '../../lib/util/timers.js';
import { GoodbyeCode, type Hello, type Message, MessageType } from '../../lib/wire/messages.js';
import type { Actor } from './event-loop.js';
import { FRAME_BYTES, messageBytes } from './message-bytes.js';
import type { Pipe } from './pipe.js';
import type { SimLinks } from './sim-links.js';
import type { SimNode } from './sim-node.js';

const Phase = { HELLO: 0, DECIDING: 1, UP: 2, LEAVING: 3, CLOSED: 4 } as const;

/** What arrives at an end. */
const Arrival = { MESSAGE: 0, PING: 1, PONG: 2, FIN: 3, RESET: 4, STREAM: 5 } as const;

/** How long an end that leaves waits for the other to have read all, in ms. */
const CLOSE_TIMEOUT_MS = 5_000;

interface Sent {
  readonly message: Message;
  readonly bytes: number;
}

interface Ping {
  readonly sentAtMs: number;
  readonly resolve: (rttMs: number) => void;
  readonly reject: (error: Error) => void;
}

/** Something of the data plane that travels in a link, in order with the rest. */
export interface StreamMail {
  readonly bytes: number;
  /** `link`: the end at which it arrives. */
  onArrival(link: SimLink): void;
}

/** Has a stream open over a link. */
export interface StreamHolder {
  onLinkLost(link: SimLink): void;
}

export interface SimLinkSetup {
  readonly owner: SimLinks;
  readonly direction: 'inbound' | 'outbound';
  readonly address: string;
  readonly purpose: LinkPurpose;
  readonly expect?: NodeId;
}

export class SimLink implements MeshLink, Actor {
  purpose: LinkPurpose;
  /** The owners of streams over this link. */
  readonly holders = new Set<StreamHolder>();
  lastHeardMs: number;
  /** When it came up, by the clock of its process; undefined before. */
  upAtMs: number | undefined;
  /** What this end sends. Set before the first use, as {@link other}. */
  pipe!: Pipe;
  other!: SimLink;
  private phase: number = Phase.HELLO;
  private hello: Hello | undefined;
  private readonly pings = new Set<Ping>();
  private readonly roundTrip = new RoundTrip();
  private readonly lateness = new Lateness();
  private timer: Timer | undefined;
  private hasProgressed = false;
  private isDown = false;

  constructor(private readonly setup: SimLinkSetup) {
    const { owner } = setup;
    this.purpose = setup.purpose;
    this.lastHeardMs = owner.process.now();
    this.timer = owner.timers.schedule(owner.handshakeTimeoutMs, this);
  }

  get direction(): 'inbound' | 'outbound' {
    return this.setup.direction;
  }

  get address(): string {
    return this.setup.address;
  }

  /** The node that the link belongs to. */
  get node(): SimNode {
    return this.setup.owner.node;
  }

  get peerId(): NodeId {
    return this.hello === undefined ? '' : this.hello.nodeId;
  }

  get bootId(): string {
    return this.hello === undefined ? '' : this.hello.bootId;
  }

  get role(): NodeRole {
    return this.hello === undefined ? 'peer' : this.hello.role;
  }

  get capabilities(): number {
    return this.hello === undefined ? 0 : this.hello.capabilities;
  }

  get envDigests(): readonly string[] {
    return this.hello === undefined ? [] : this.hello.envDigests;
  }

  get peerAddresses(): readonly string[] {
    return this.hello === undefined ? [] : this.hello.listenAddresses;
  }

  get isUp(): boolean {
    return this.phase === Phase.UP;
  }

  get isDeciding(): boolean {
    return this.phase === Phase.DECIDING;
  }

  /** Not usable any more, and about to end by itself. */
  get isLeaving(): boolean {
    return this.phase >= Phase.LEAVING;
  }

  get isBlocked(): boolean {
    return this.pipe.isBlocked;
  }

  get streams(): number {
    return this.holders.size;
  }

  get rttMs(): number {
    return this.roundTrip.us / 1000;
  }

  get lateMs(): number {
    return this.lateness.ms;
  }

  get isSynced(): boolean {
    return this.phase === Phase.UP && this.timer === undefined;
  }

  /** The dialling end begins. */
  start(): void {
    this.post(this.setup.owner.makeHello(this.purpose));
  }

  send(message: Message): void {
    if (this.phase <= Phase.UP && !this.node.setup.wide.isMuted) this.post(message);
  }

  /** Puts something of the data plane on its way to the other end. */
  mail(stream: StreamMail): void {
    if (this.phase !== Phase.UP) return;
    this.setup.owner.traffic.streamBytesOut += stream.bytes;
    this.pipe.send(Arrival.STREAM, stream, stream.bytes);
  }

  ping(): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.phase >= Phase.LEAVING) throw starlaneError('ERR_STARLANE_CLOSED');
      const ping = { sentAtMs: this.setup.owner.process.now(), resolve, reject };
      this.pings.add(ping);
      this.setup.owner.traffic.out(FRAME_BYTES);
      this.pipe.send(Arrival.PING, ping, FRAME_BYTES);
    });
  }

  close(): void {
    if (this.phase < Phase.LEAVING) this.leave({ code: GoodbyeCode.NORMAL, reason: '' }, undefined);
  }

  shed(): void {
    if (this.phase < Phase.LEAVING) this.leave({ code: GoodbyeCode.SHED, reason: '' }, undefined);
  }

  destroy(error?: Error): void {
    if (this.phase === Phase.CLOSED) return;
    this.pipe.close(Arrival.FIN);
    this.finish(error);
  }

  promote(purpose: LinkPurpose): void {
    if (this.phase !== Phase.UP || !isStronger(purpose, this.purpose)) return;
    this.purpose = purpose;
    this.setup.owner.onPromoted(this);
  }

  /** The handshake has ended: the initial sync of the peer is applied. */
  synced(): void {
    if (this.phase === Phase.UP) this.stopTimer();
  }

  accept(): void {
    if (this.phase === Phase.DECIDING) this.goUp();
  }

  refuse({ code, error, peerReason }: Refusal): void {
    if (this.phase < Phase.LEAVING) this.leave({ code, reason: peerReason.slice(0, 255) }, error);
  }

  /** Its process has ended; the kernel notifies the peer, unless the machine is gone as well. */
  abandon(isMachineGone: boolean): void {
    this.phase = Phase.CLOSED;
    if (isMachineGone) this.pipe.drop();
    else this.pipe.close(Arrival.RESET);
  }

  /** Up from the start, for a network that is made at once. */
  static join(one: SimLink, other: SimLink): void {
    for (const [link, peer] of [
      [one, other],
      [other, one],
    ]) {
      link.hello = peer.setup.owner.makeHello(peer.purpose);
      link.stopTimer();
      link.learnRoundTrip();
      link.phase = Phase.UP;
      link.upAtMs = link.lastHeardMs;
    }
  }

  /** @internal Something has arrived at this end. */
  onEvent(kind: number, payload: unknown): void {
    const { owner } = this.setup;
    if (!owner.isKernelUp) return;
    if (this.phase === Phase.CLOSED) {
      if (kind < Arrival.FIN || kind === Arrival.STREAM) this.pipe.reset(Arrival.RESET);
      return;
    }
    const { process } = owner;
    if (process.isBusy) {
      process.defer(this, kind, payload);
      return;
    }
    if (kind === Arrival.FIN || kind === Arrival.RESET) {
      this.finish(this.phase < Phase.LEAVING ? starlaneError('ERR_STARLANE_LINK_LOST') : undefined);
      return;
    }
    if (this.phase === Phase.LEAVING) return;
    this.lastHeardMs = process.now();
    switch (kind) {
      case Arrival.MESSAGE: {
        const { message, bytes } = payload as Sent;
        owner.traffic.in(bytes);
        this.other.pipe.consumed(bytes);
        this.onMessage(message);
        break;
      }
      case Arrival.PING:
        owner.traffic.in(FRAME_BYTES);
        owner.traffic.out(FRAME_BYTES);
        this.other.pipe.consumed(FRAME_BYTES);
        this.pipe.send(Arrival.PONG, payload, FRAME_BYTES);
        break;
      case Arrival.PONG: {
        owner.traffic.in(FRAME_BYTES);
        this.other.pipe.consumed(FRAME_BYTES);
        const ping = payload as Ping;
        if (!this.pings.delete(ping)) break;
        const rttMs = this.lastHeardMs - ping.sentAtMs;
        this.roundTrip.sample(rttMs, this.lastHeardMs);
        this.lateness.sample(rttMs);
        ping.resolve(rttMs);
        break;
      }
      case Arrival.STREAM: {
        const mail = payload as StreamMail;
        this.other.pipe.consumed(mail.bytes);
        mail.onArrival(this);
      }
    }
  }

  /** @internal The handshake has taken too long, or the farewell. */
  onDeadline(): void {
    this.timer = undefined;
    if (this.phase === Phase.LEAVING) {
      this.finish(undefined);
      return;
    }
    if (this.phase === Phase.UP && this.hasProgressed) {
      this.hasProgressed = false;
      this.timer = this.setup.owner.timers.schedule(this.setup.owner.handshakeTimeoutMs, this);
      return;
    }
    this.destroy(starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', this.address));
  }

  private onMessage(message: Message): void {
    switch (message.type) {
      case MessageType.HELLO:
        if (this.phase === Phase.HELLO) this.onHello(message);
        return;
      case MessageType.GOODBYE:
        if (this.phase < Phase.LEAVING) this.leave(undefined, goodbyeError(message));
        return;
      default:
        this.onOther(message);
    }
  }

  private onHello(hello: Hello): void {
    const { owner, expect, direction } = this.setup;
    const fault = checkHello(hello, owner.self, expect);
    if (fault !== undefined) {
      this.refuse(fault);
      return;
    }
    this.hello = hello;
    if (direction === 'inbound') this.purpose = purposeOf(hello.flags);
    const objection = owner.onHello(this);
    if (objection !== undefined) {
      this.refuse(objection);
      return;
    }
    this.phase = Phase.DECIDING;
    if (direction === 'inbound') this.post(owner.makeHello(this.purpose));
    if (decides(owner.self.nodeId, hello.nodeId)) owner.onDecide(this);
  }

  private onOther(message: Message): void {
    if (this.phase === Phase.DECIDING && !decides(this.setup.owner.self.nodeId, this.peerId)) this.goUp();
    if (this.phase === Phase.UP) {
      this.hasProgressed = true;
      this.setup.owner.onMessage(this, message);
    } else if (this.phase < Phase.LEAVING) {
      this.refuse(broken(GoodbyeCode.HANDSHAKE_REFUSED, 'sent a message ahead of its time'));
    }
  }

  private goUp(): void {
    this.phase = Phase.UP;
    this.upAtMs = this.setup.owner.process.now();
    this.learnRoundTrip();
    this.setup.owner.onUp(this);
  }

  /** A session measures it as soon as it is there, by pings of its own. */
  private learnRoundTrip(): void {
    const { owner } = this.setup;
    const rttMs = owner.roundTripMs(this.other.setup.owner);
    this.roundTrip.sample(rttMs, owner.process.now());
    this.lateness.sample(rttMs);
  }

  private post(message: Message): void {
    const bytes = messageBytes(message) + FRAME_BYTES;
    this.setup.owner.traffic.out(bytes);
    this.pipe.send(Arrival.MESSAGE, { message, bytes } satisfies Sent, bytes);
  }

  private leave(goodbye: { code: number; reason: string } | undefined, reason: Error | undefined): void {
    this.stopTimer();
    this.phase = Phase.LEAVING;
    if (goodbye !== undefined) this.post({ type: MessageType.GOODBYE, ...goodbye });
    this.pipe.close(Arrival.FIN);
    const { timers } = this.setup.owner;
    this.timer = timers.schedule(CLOSE_TIMEOUT_MS, this);
    this.goDown(reason);
  }

  private finish(reason: Error | undefined): void {
    if (this.phase === Phase.CLOSED) return;
    this.stopTimer();
    this.phase = Phase.CLOSED;
    this.goDown(reason);
    this.setup.owner.onClosed(this);
  }

  private goDown(reason: Error | undefined): void {
    if (this.isDown) return;
    this.isDown = true;
    const failure = reason ?? starlaneError('ERR_STARLANE_CLOSED');
    for (const ping of this.pings) ping.reject(failure);
    this.pings.clear();
    this.loseStreams();
    this.setup.owner.onDown(this, reason);
  }

  private loseStreams(): void {
    const holders = [...this.holders];
    this.holders.clear();
    for (const holder of holders) holder.onLinkLost(this);
  }

  private stopTimer(): void {
    if (this.timer !== undefined) this.setup.owner.timers.cancel(this.timer);
    this.timer = undefined;
  }
}
