// Participants of a broadcast in virtual time: the tree and the choice of neighbours are those of the library, circuits are delays. Each
// pair of participants has a delay of its own, 5 to 60 ms. The directory is what each participant knows, some time after it has happened.

import type { Frame, Gossip, OriginKey } from '../../lib/messages/broadcast/frames.js';
import { Neighbourhood } from '../../lib/messages/broadcast/overlay/neighbourhood.js';
import { TREE_LIMITS, type TreeLimits } from '../../lib/messages/broadcast/tree/limits.js';
import { BroadcastTree } from '../../lib/messages/broadcast/tree/tree.js';
import { hashText, mix } from '../../lib/util/choice.js';
import type { Actor, EventLoop } from '../simulation/event-loop.js';
import type { Random } from '../simulation/random.js';

/** How long an end takes to notice that the other one is silent. */
const SILENCE_MS = 5_000;
/** How long the news of a participant takes to all others: that it has come or gone by itself, or with its links. */
const NEWS_MS = { least: 50, most: 600 } as const;
/** How long the nodes take to give up a participant that is silent. */
const GIVE_UP_MS = 6_000;
/** Links of each node besides, for the choice of direct neighbours. */
const LINKS = 3;

export interface NetworkOptions {
  readonly limits?: Partial<TreeLimits>;
  readonly leastDelayMs?: number;
  readonly mostDelayMs?: number;
}

/** One message that was sent, and who has got it when. */
export interface Sent {
  readonly origin: Participant;
  readonly counter: number;
  readonly atMs: number;
  readonly delivered: Map<Participant, number>;
  /** Those that took part by then: they had found out where the origins are. */
  readonly owed: ReadonlySet<Participant>;
  /** Times that a payload was sent to somebody. */
  payloads: number;
}

export class Network {
  readonly participants: Participant[] = [];
  readonly byId = new Map<string, Participant>();
  readonly byKey = new Map<OriginKey, Participant>();
  readonly sent = new Map<string, Sent>();
  readonly limits: TreeLimits;
  /** What must never happen, in words. */
  readonly faults: string[] = [];
  /** Messages that were reported as lost, of all participants. */
  lost = 0;
  /** Whether a participant takes no messages from a neighbour at the moment, only announcements. */
  isSlow: (one: Participant, peer: string) => boolean = () => false;
  /** How many payloads may be sent, for copies that do not come to rest. */
  mostPayloads = Number.POSITIVE_INFINITY;
  private payloads = 0;
  /** Frames that get lost, for copies that shall fail. */
  drops: (frame: Frame) => boolean = () => false;
  private readonly leastDelayMs: number;
  private readonly mostDelayMs: number;

  constructor(
    readonly loop: EventLoop,
    readonly random: Random,
    options: NetworkOptions = {},
  ) {
    this.limits = { ...TREE_LIMITS, ...options.limits };
    this.leastDelayMs = options.leastDelayMs ?? 5;
    this.mostDelayMs = options.mostDelayMs ?? 60;
  }

  delay(one: Participant, other: Participant): number {
    const [least, most] = one.id < other.id ? [one.id, other.id] : [other.id, one.id];
    const share = mix(hashText(most, hashText(least))) / 2 ** 32;
    return this.leastDelayMs + share * (this.mostDelayMs - this.leastDelayMs);
  }

  /** Adds participants that all know each other. */
  start(count: number): void {
    for (let index = 0; index < count; index++) this.add();
    for (const one of this.participants) one.linkTo(this.random.sample(this.participants, LINKS));
    const ids = this.participants.map(({ id }) => id);
    for (const one of this.participants) for (const id of ids) one.known.add(id);
    for (const one of this.participants) one.refresh();
  }

  /** One that joins: it knows all at once, and they hear of it. */
  join(): Participant {
    const one = this.add();
    const alive = this.participants.filter((other) => other !== one && other.isRunning && other.side === one.side);
    one.linkTo(this.random.sample(alive, LINKS));
    for (const { id } of alive) one.known.add(id);
    one.known.add(one.id);
    one.refresh();
    for (const other of alive) this.news(other, () => other.known.add(one.id));
    return one;
  }

  /** kill -9 of the process: its circuits end. */
  kill(one: Participant): void {
    one.isRunning = false;
    one.isGone = true;
    for (const [id, edge] of one.edges) {
      const other = this.byId.get(id) as Participant;
      this.loop.call(edge.delayMs, () => other.cut(one, edge));
    }
    one.edges.clear();
    for (const other of this.participants) this.news(other, () => other.known.delete(one.id));
  }

  /** SIGSTOP: its circuits stay until its neighbours find it silent. */
  stop(one: Participant): void {
    one.isRunning = false;
    for (const [id, edge] of one.edges) {
      const other = this.byId.get(id) as Participant;
      this.loop.call(SILENCE_MS + this.random.between(0, 1_000), () => {
        if (!one.isRunning) other.cut(one, edge);
      });
    }
    this.loop.call(GIVE_UP_MS, () => {
      if (one.isRunning) return;
      for (const other of this.participants) this.news(other, () => !one.isRunning && other.known.delete(one.id));
    });
  }

  /** SIGCONT: it finds the circuits that others have given up. */
  resume(one: Participant): void {
    one.isRunning = true;
    for (const [id, edge] of [...one.edges]) {
      const other = this.byId.get(id) as Participant;
      if (!edge.isUp) one.cut(other, edge);
    }
    one.onResume();
    for (const other of this.participants) this.news(other, () => other.known.add(one.id));
  }

  /** Cuts all ways between two parts. */
  split(side: (one: Participant) => number): void {
    for (const one of this.participants) one.side = side(one);
    this.loop.call(SILENCE_MS, () => {
      for (const one of this.participants) {
        for (const [id, edge] of [...one.edges]) {
          const other = this.byId.get(id) as Participant;
          if (other.side !== one.side) one.cut(other, edge);
        }
      }
    });
    this.loop.call(GIVE_UP_MS, () => {
      for (const one of this.participants) {
        for (const other of this.participants)
          if (other.side !== one.side) this.news(one, () => one.side !== other.side && one.known.delete(other.id));
      }
    });
  }

  heal(): void {
    for (const one of this.participants) one.side = 0;
    for (const one of this.participants) for (const edge of one.edges.values()) edge.release(this.loop);
    for (const one of this.participants) {
      if (!one.isRunning) continue;
      this.news(one, () => {
        for (const other of this.participants) if (!other.isGone) one.known.add(other.id);
      });
    }
  }

  publish(origin: Participant, bytes = 100): Sent {
    const counter = ++origin.published;
    const owed = new Set(this.participants.filter((one) => one !== origin && one.tree.isEstablished));
    const sent: Sent = { origin, counter, atMs: this.loop.now, delivered: new Map(), owed, payloads: 0 };
    this.sent.set(`${origin.key}${counter}`, sent);
    origin.tree.publish(0, new Uint8Array(bytes));
    return sent;
  }

  onPayload(message: Gossip): void {
    if (++this.payloads > this.mostPayloads) this.loop.fail(new Error('messages multiply'));
    const sent = this.sent.get(`${message.origin}${message.counter}`);
    if (sent !== undefined) sent.payloads++;
  }

  onDelivered(one: Participant, message: Gossip): void {
    const sent = this.sent.get(`${message.origin}${message.counter}`);
    if (sent === undefined) this.faults.push(`${one.id} has got a message that nobody has sent`);
    else if (sent.delivered.has(one)) this.faults.push(`${one.id} has got ${sent.counter} of ${sent.origin.id} twice`);
    else if (sent.origin === one) this.faults.push(`${one.id} has got its own message`);
    else sent.delivered.set(one, this.loop.now);
    const last = one.lastOf.get(message.origin) ?? 0;
    if (message.counter <= last) this.faults.push(`${one.id} has got ${message.counter} of an origin after ${last}`);
    one.lastOf.set(message.origin, message.counter);
  }

  /**
   * Returns what somebody has not got although somebody else who runs has it: messages to participants that took part when they were sent,
   * and that were not reported as lost.
   */
  missed(): string[] {
    const missed: string[] = [];
    const running = this.participants.filter(({ isRunning }) => isRunning);
    for (const [key, { origin, counter, delivered, owed }] of this.sent) {
      const isThere = (origin.isRunning && !origin.isGone) || running.some((one) => delivered.has(one));
      if (!isThere) continue;
      for (const one of owed) {
        if (!one.isRunning || delivered.has(one) || one.lost.has(key)) continue;
        missed.push(`${one.id} has not got ${counter} of ${origin.id}`);
      }
    }
    return missed;
  }

  private news(one: Participant, change: () => unknown): void {
    this.loop.call(this.random.between(NEWS_MS.least, NEWS_MS.most), () => {
      change();
      one.refreshLater();
    });
  }

  private add(): Participant {
    const one = new Participant(
      this,
      this.random.bytes(8).toString('base64url'),
      this.random.bytes(16).toString('latin1'),
    );
    this.participants.push(one);
    this.byId.set(one.id, one);
    this.byKey.set(one.key, one);
    return one;
  }
}

/** A circuit: what is sent arrives in order, or not at all if it ends. */
class Edge {
  isUp = true;
  count = 0;
  /** What was sent while there was no way, which arrives when there is one again. */
  private stalled: Array<[to: Participant, arrival: Arrival]> = [];

  constructor(readonly delayMs: number) {}

  stall(to: Participant, arrival: Arrival): void {
    this.stalled.push([to, arrival]);
  }

  release(loop: EventLoop): void {
    this.stalled.sort(([, one], [, other]) => one.number - other.number);
    for (const [to, arrival] of this.stalled) loop.after(this.delayMs, to, Event.FRAME, arrival);
    this.stalled = [];
  }
}

const Event = { FRAME: 0, TREE: 1, CIRCUITS: 2, REFRESH: 3, DIALLED: 4 } as const;

interface Arrival {
  readonly from: Participant;
  readonly edge: Edge;
  readonly frame: Frame | 'hello';
  /** In the order in which they were sent. */
  readonly number: number;
}

export class Participant implements Actor {
  readonly tree: BroadcastTree;
  readonly edges = new Map<string, Edge>();
  readonly known = new Set<string>();
  readonly lastOf = new Map<OriginKey, number>();
  /** Messages that were reported as lost. */
  readonly lost = new Set<string>();
  published = 0;
  isRunning = true;
  isGone = false;
  side = 0;
  private readonly circuits: Neighbourhood;
  private direct: Participant[] = [];
  private treeAtMs = Number.POSITIVE_INFINITY;
  private circuitsAtMs = Number.POSITIVE_INFINITY;
  private isRefreshDue = false;
  /** What came while it was stopped. */
  private inbox: Array<[kind: number, payload: unknown]> = [];

  constructor(
    private readonly network: Network,
    readonly id: string,
    readonly key: OriginKey,
  ) {
    const { loop } = network;
    this.tree = new BroadcastTree(key, network.limits, {
      now: () => loop.now,
      send: (peer, frame) => this.send(peer, frame),
      isSlow: (peer) => network.isSlow(this, peer),
      deliver: (message) => network.onDelivered(this, message),
      gap: (origin, from, count) => {
        network.lost += count;
        for (let counter = from; counter < from + count; counter++) this.lost.add(`${origin}${counter}`);
      },
      established: () => {},
      wake: (delayMs) => {
        this.treeAtMs = loop.now + delayMs;
        loop.after(delayMs, this, Event.TREE, this.treeAtMs);
      },
    });
    this.circuits = new Neighbourhood(id, {
      now: () => loop.now,
      dial: (peer) => this.dial(peer),
      hangUp: (peer) => this.hangUp(peer),
      wake: (delayMs) => {
        this.circuitsAtMs = loop.now + delayMs;
        loop.after(delayMs, this, Event.CIRCUITS, this.circuitsAtMs);
      },
    });
  }

  linkTo(others: readonly Participant[]): void {
    this.direct = others.filter((other) => other !== this);
    this.direct.sort((a, b) => this.network.delay(this, a) - this.network.delay(this, b));
  }

  refresh(): void {
    this.isRefreshDue = false;
    const direct = this.direct.filter(({ id }) => this.known.has(id)).map(({ id }) => id);
    this.circuits.update([...this.known], direct);
  }

  refreshLater(): void {
    if (this.isRefreshDue) return;
    this.isRefreshDue = true;
    this.network.loop.after(100, this, Event.REFRESH);
  }

  onResume(): void {
    const { inbox } = this;
    this.inbox = [];
    for (const [kind, payload] of inbox) this.onEvent(kind, payload);
  }

  onEvent(kind: number, payload: unknown): void {
    if (!this.isRunning) {
      if (!this.isGone) this.inbox.push([kind, payload]);
      return;
    }
    switch (kind) {
      case Event.FRAME:
        this.onFrame(payload as Arrival);
        return;
      case Event.TREE:
        if (payload === this.treeAtMs) this.tree.onTime();
        return;
      case Event.CIRCUITS:
        if (payload === this.circuitsAtMs) this.circuits.onTime();
        return;
      case Event.REFRESH:
        this.refresh();
        return;
      case Event.DIALLED:
        this.onDialled(payload as Participant);
    }
  }

  /** An end of a circuit finds that it is gone. */
  cut(other: Participant, edge: Edge): void {
    edge.isUp = false;
    if (this.edges.get(other.id) !== edge) return;
    this.edges.delete(other.id);
    this.tree.onPeerDown(other.id);
    this.circuits.onDown(other.id, true);
  }

  private dial(id: string): void {
    const other = this.network.byId.get(id) as Participant;
    this.network.loop.after(2 * this.network.delay(this, other), this, Event.DIALLED, other);
  }

  private onDialled(other: Participant): void {
    if (this.edges.has(other.id)) return;
    if (other.side !== this.side || !other.isRunning || other.circuits.answerTo(this.id) !== 'accept') {
      this.circuits.onDown(other.id, true);
      return;
    }
    const edge = new Edge(this.network.delay(this, other));
    for (const [one, peer, ours] of [
      [this, other, true],
      [other, this, false],
    ] as const) {
      const old = one.edges.get(peer.id);
      if (old !== undefined) one.tree.onPeerDown(peer.id);
      one.edges.set(peer.id, edge);
      one.circuits.onUp(peer.id, ours);
      one.transmit(peer, edge, 'hello');
    }
  }

  private hangUp(id: string): void {
    const edge = this.edges.get(id);
    const other = this.network.byId.get(id) as Participant;
    this.edges.delete(id);
    this.tree.onPeerDown(id);
    if (edge === undefined) return;
    this.network.loop.call(edge.delayMs, () => {
      edge.isUp = false;
      if (other.edges.get(this.id) !== edge) return;
      other.edges.delete(this.id);
      other.tree.onPeerDown(this.id);
      other.circuits.onDown(this.id, false);
    });
  }

  private send(peer: string, frame: Frame): void {
    const edge = this.edges.get(peer);
    if (edge === undefined) return;
    if (frame.kind === 'gossip') this.network.onPayload(frame);
    this.transmit(this.network.byId.get(peer) as Participant, edge, frame);
  }

  private transmit(other: Participant, edge: Edge, frame: Frame | 'hello'): void {
    if (frame !== 'hello' && this.network.drops(frame)) return;
    const arrival: Arrival = { from: this, edge, frame, number: edge.count++ };
    if (other.side !== this.side) edge.stall(other, arrival);
    else this.network.loop.after(edge.delayMs, other, Event.FRAME, arrival);
  }

  private onFrame(arrival: Arrival): void {
    const { from, edge, frame } = arrival;
    if (this.edges.get(from.id) !== edge) return;
    if (from.side !== this.side) {
      edge.stall(this, arrival);
      return;
    }
    if (frame === 'hello') {
      this.tree.onPeer(from.id);
      return;
    }
    const fault = this.tree.onFrame(from.id, frame);
    if (fault !== undefined) this.network.faults.push(`${this.id}: ${fault}`);
  }
}
