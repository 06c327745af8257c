// All subscriptions of one pattern at this node: one service in the directory, the circuits of its publishers, and who of the subscriptions gets
// a message.

import { starlaneError } from '../../../errors.js';
import { unpinned } from '../../../mux/stream-duplex.js';
import type { Node } from '../../../node/node.js';
import type { Allow } from '../../../options/allow.js';
import type { Server } from '../../../socket/server.js';
import type { Socket } from '../../../socket/socket.js';
import { Deadline } from '../../../util/deadline.js';
import { sharedTimers } from '../../../util/timers.js';
import { TOPIC_PORT } from '../../ports.js';
import { broken, FrameReader, type FrameSink } from '../codec/frame-reader.js';
import { type GroupInterest, type Interest, interestMeta } from '../codec/interest.js';
import { CIRCUIT_BUFFER_BYTES, decodeHello, FrameType, frame, MAX_GROUPS, Mask, ReplyStatus } from '../codec/layout.js';
import { SERVICE_PREFIX } from '../codec/pattern.js';
import type { TopicMessage } from '../message.js';
import type { ResolvedTopicsOptions } from '../options.js';
import { InboundSession, type SessionOwner } from './inbound-session.js';
import type { Subscription, SubscriptionOwner } from './subscription.js';

/** Circuits to one pattern, and those of one node among them. */
const MAX_CIRCUITS = 1_024;
const MAX_CIRCUITS_PER_NODE = 16;
/** Publishers that are remembered, with and without a circuit. */
const MAX_SESSIONS = 2 * MAX_CIRCUITS;
/** How long a circuit may take for its first frame. */
const HELLO_MS = 10_000;
/** Binds within this time, beyond which the next one waits: the directory withholds services that come and go (ServiceFlaps). */
const BIND_WINDOW_MS = 60_000;
const MAX_BINDS = 5;

/** What owns the ports of a node. */
export interface PortOwner {
  readonly node: Node;
  readonly options: ResolvedTopicsOptions;
  /** Called when there is room again, and for any other reason to look at local messages. */
  onRoom(port: PatternPort): void;
  /** Called when the interest of this node has changed. */
  onInterest(port: PatternPort): void;
  /** Called when a port is not needed any more. */
  onUnused(port: PatternPort): void;
  warn(error: Error): void;
}

/** The members of a queue group at this node. */
interface LocalGroup extends GroupInterest {
  readonly name: string;
  redeliver: boolean;
  readonly members: Subscription[];
}

export class PatternPort implements SessionOwner, SubscriptionOwner {
  private readonly plain: Subscription[] = [];
  /** By number; numbers are not used for another name, as publishers may have messages under way. */
  private readonly groups: Array<LocalGroup | undefined> = [];
  private server: Server | undefined;
  private boundMeta = '';
  private readonly bindDue: Deadline;
  private readonly sessions = new Map<string, InboundSession>();
  private readonly circuits = new Set<Circuit>();
  private version = 0;
  private readonly leaving = new Set<Subscription>();
  private isStopped = false;
  private isEnded = false;
  private readonly withdrawals = new Set<{ readonly version: number; resolve(): void }>();

  constructor(
    readonly pattern: string,
    private readonly owner: PortOwner,
    private readonly allow: Allow | undefined,
    /** When the service was bound, within the last minute; of all ports that this pattern has had. */
    private readonly binds: number[],
  ) {
    this.bindDue = new Deadline(sharedTimers, () => this.announceLate());
  }

  get options(): ResolvedTopicsOptions {
    return this.owner.options;
  }

  /** Whether a subscription makes publishers wait. */
  get isFull(): boolean {
    return this.isStopped;
  }

  /** Whether it has no subscriptions. */
  get isUnused(): boolean {
    return this.plain.length === 0 && this.groups.every((group) => group === undefined || group.members.length === 0);
  }

  /** What the subscriptions want. */
  get interest(): Interest {
    const { leaving } = this;
    const stays = (subscription: Subscription): boolean => !leaving.has(subscription);
    const groups = new Map<string, GroupInterest>();
    for (const group of this.groups) if (group?.members.some(stays)) groups.set(group.name, group);
    return { plain: this.plain.some(stays), groups };
  }

  /** Messages that wait for the subscriptions of a mask. */
  load(mask: number): number {
    let load = 0;
    if ((mask & Mask.ALL) !== 0 || mask === Mask.ONE) for (const { pending } of this.plain) load += pending;
    for (const group of this.groups) {
      if (group !== undefined && (mask & (1 << group.index)) !== 0)
        for (const { pending } of group.members) load += pending;
    }
    return load;
  }

  /** @throws ERR_STARLANE_ARGUMENT for too many queue groups; as `bind` */
  add(subscription: Subscription): void {
    const { queue, redeliver } = subscription.options;
    if (queue === undefined) this.plain.push(subscription);
    else {
      const group = this.groupOf(queue);
      group.members.push(subscription);
      group.redeliver ||= redeliver;
    }
    try {
      this.onChanged();
    } catch (error) {
      // This node may not offer the service.
      this.remove(subscription);
      if (this.isUnused) this.owner.onUnused(this);
      throw error;
    }
  }

  deliver(message: TopicMessage, mask: number): void {
    const { plain } = this;
    if ((mask & Mask.ALL) !== 0) {
      if (plain.length === 1) plain[0].push(message);
      else for (const subscription of [...plain]) subscription.push(message);
    }
    if (mask !== Mask.ALL) this.deliverToOne(message, mask);
    if (message.holders === 1 && message.expectsReply && this.isUnused)
      message.answer(ReplyStatus.NO_HANDLER, undefined);
  }

  onLost(count: number): void {
    for (const subscription of this.all()) subscription.countLost(count);
  }

  // --- of subscriptions ---

  onRoomChanged(): void {
    let isStopped = false;
    for (const subscription of this.all()) isStopped ||= subscription.isFull;
    if (isStopped === this.isStopped) return;
    this.isStopped = isStopped;
    for (const circuit of this.circuits) {
      if (isStopped) circuit.stop();
      else circuit.resume();
      // A resumed circuit may have filled it again.
      if (this.isStopped !== isStopped) return;
    }
    if (!isStopped) this.owner.onRoom(this);
  }

  onClosed(subscription: Subscription): void {
    if (!this.remove(subscription)) {
      this.onRoomChanged();
      return;
    }
    this.onChanged();
    this.onRoomChanged();
  }

  withdraw(subscription: Subscription): Promise<void> {
    // It stays in its place until publishers have seen that it leaves, and gets what they had sent before.
    const others = [...this.all()].filter((other) => other !== subscription && other.group === subscription.group);
    if (others.length > 0) {
      this.remove(subscription);
      this.onChanged();
      return Promise.resolve();
    }
    this.leaving.add(subscription);
    this.onChanged();
    return new Promise((resolve) => {
      this.withdrawals.add({ version: this.version, resolve });
      this.checkWithdrawals();
    });
  }

  // --- the end ---

  /** Ends the service and its circuits. */
  close(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.bindDue.clear();
    this.server?.close();
    this.server = undefined;
    for (const session of [...this.sessions.values()]) session.leave();
    for (const circuit of [...this.circuits]) circuit.close();
    for (const { resolve } of this.withdrawals) resolve();
    this.withdrawals.clear();
  }

  onEnded(session: InboundSession): void {
    if (this.sessions.get(session.key) === session) this.sessions.delete(session.key);
    this.checkWithdrawals();
  }

  // --- of circuits ---

  /** @internal Returns the session that a circuit begins or continues. @throws ERR_STARLANE_MESSAGE_PROTOCOL */
  attach(socket: Socket, from: string, body: Buffer): InboundSession {
    const hello = decodeHello(body);
    if (hello === undefined) throw broken('the first frame');
    const key = `${from} ${hello.session.toString('latin1')}`;
    const known = this.sessions.get(key);
    const session = known ?? new InboundSession(key, from, this, hello);
    if (known === undefined) {
      if (this.sessions.size >= MAX_SESSIONS) this.forgetOldest();
      this.sessions.set(key, session);
    }
    session.attach(socket, hello, known !== undefined);
    session.write(this.interestFrame(this.interest));
    return session;
  }

  /** @internal */
  onSeen(): void {
    this.checkWithdrawals();
  }

  /** @internal */
  onCircuitClosed(circuit: Circuit): void {
    this.circuits.delete(circuit);
    this.checkWithdrawals();
  }

  private deliverToOne(message: TopicMessage, mask: number): void {
    if ((mask & Mask.ONE) !== 0) leastBusy(this.plain)?.push(message);
    for (const group of this.groups) {
      if (group !== undefined && (mask & (1 << group.index)) !== 0) leastBusy(group.members)?.push(message);
    }
  }

  private *all(): Iterable<Subscription> {
    yield* this.plain;
    for (const group of this.groups) if (group !== undefined) yield* group.members;
  }

  private groupOf(name: string): LocalGroup {
    for (const group of this.groups) if (group?.name === name) return group;
    const index = Math.max(1, this.groups.length);
    if (index > MAX_GROUPS)
      throw starlaneError('ERR_STARLANE_ARGUMENT', `queue: more than ${MAX_GROUPS} groups of ${this.pattern}`);
    const group = { name, index, redeliver: false, members: [] };
    this.groups[index] = group;
    return group;
  }

  /** Returns whether it was there. */
  private remove(subscription: Subscription): boolean {
    const members = subscription.group === undefined ? this.plain : this.groupOf(subscription.group).members;
    const index = members.indexOf(subscription);
    if (index < 0) return false;
    members.splice(index, 1);
    this.leaving.delete(subscription);
    return true;
  }

  private onChanged(): void {
    this.version++;
    this.sendInterest(this.interest);
    this.announce();
    this.owner.onInterest(this);
  }

  private interestFrame(interest: Interest): Buffer {
    const value = { n: this.version, ...(interestMeta(interest) as object) };
    return frame(FrameType.INTEREST, Buffer.from(JSON.stringify(value)));
  }

  private sendInterest(interest: Interest): void {
    if (this.sessions.size === 0) return;
    const bytes = this.interestFrame(interest);
    for (const session of this.sessions.values()) session.write(bytes);
  }

  /** Brings the service in the directory to what the subscriptions want: at once, or later when that happened too often. */
  private announce(): void {
    if (this.isEnded) return;
    const meta = interestMeta(this.interest);
    const text = JSON.stringify(meta);
    const isUnused = this.isUnused;
    if (!isUnused && this.server !== undefined && text === this.boundMeta) return;
    // Who leaves gets what is under way first; the end of it is announced then.
    if (!isUnused && this.leaving.size > 0 && this.server !== undefined) return;
    const now = sharedTimers.now();
    const { binds } = this;
    while (binds.length > 0 && now - binds[0] >= BIND_WINDOW_MS) binds.shift();
    if (binds.length >= MAX_BINDS) {
      if (!this.bindDue.isSet) this.bindDue.set(binds[0] + BIND_WINDOW_MS - now);
      return;
    }
    if (isUnused) {
      // Those who have circuits know by the frame, and it may be wanted again.
      if (binds.length >= 2 && !this.bindDue.isSet) this.bindDue.set(BIND_WINDOW_MS);
      else this.owner.onUnused(this);
      return;
    }
    this.bindDue.clear();
    binds.push(now);
    this.server?.close();
    this.boundMeta = text;
    this.server = this.owner.node.bind(
      `${SERVICE_PREFIX}${this.pattern}:${TOPIC_PORT}`,
      {
        meta,
        maxConnections: MAX_CIRCUITS,
        highWaterMark: CIRCUIT_BUFFER_BYTES,
        ...(this.allow === undefined ? {} : { allow: this.allow }),
      },
      (socket: Socket) => this.onSocket(socket),
    );
    this.server.on('error', (error) => this.owner.warn(error));
  }

  private announceLate(): void {
    try {
      this.announce();
    } catch (error) {
      this.owner.warn(error as Error);
    }
  }

  private onSocket(socket: Socket): void {
    const from = socket.peer?.id ?? '';
    let ofNode = 0;
    for (const circuit of this.circuits) if (circuit.from === from) ofNode++;
    if (this.isEnded || this.circuits.size >= MAX_CIRCUITS || ofNode >= MAX_CIRCUITS_PER_NODE) {
      socket.destroy();
      return;
    }
    const circuit = new Circuit(socket, from, this, this.options.maxMessageBytes);
    this.circuits.add(circuit);
    if (this.isStopped) circuit.stop();
  }

  private forgetOldest(): void {
    for (const session of this.sessions.values()) {
      if (session.isAttached) continue;
      session.end();
      return;
    }
  }

  private checkWithdrawals(): void {
    for (const withdrawal of this.withdrawals) {
      let isSeen = true;
      for (const session of this.sessions.values()) {
        if (session.isAttached && session.seen < withdrawal.version) isSeen = false;
      }
      if (!isSeen) continue;
      this.withdrawals.delete(withdrawal);
      withdrawal.resolve();
    }
  }
}

function leastBusy(subscriptions: readonly Subscription[]): Subscription | undefined {
  let best: Subscription | undefined;
  for (const subscription of subscriptions) {
    if (best === undefined || subscription.pending < best.pending) best = subscription;
  }
  return best;
}

/** One circuit of a publisher. */
class Circuit implements FrameSink {
  private readonly reader: FrameReader;
  private session: InboundSession | undefined;
  private readonly helloDue: Deadline;

  constructor(
    private readonly socket: Socket,
    readonly from: string,
    private readonly port: PatternPort,
    maxMessageBytes: number,
  ) {
    this.reader = new FrameReader(this, maxMessageBytes);
    this.helloDue = new Deadline(sharedTimers, () => socket.destroy());
    this.helloDue.set(HELLO_MS);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.onChunk(chunk));
    socket.once('close', () => this.onClose());
  }

  stop(): void {
    this.reader.stop();
    this.socket.pause();
  }

  resume(): void {
    if (this.socket.destroyed) return;
    this.guarded(() => this.reader.resume());
    if (!this.port.isFull) this.socket.resume();
  }

  close(): void {
    this.socket.destroySoon();
  }

  onFrame(type: number, body: Buffer): void {
    if (this.session === undefined) {
      if (type !== FrameType.HELLO) throw broken('the first frame');
      this.helloDue.clear();
      this.session = this.port.attach(this.socket, this.from, body);
      return;
    }
    this.session.onFrame(type, body);
    if (type === FrameType.SEEN) this.port.onSeen();
  }

  onData(first: number, mask: number): void {
    if (this.session === undefined) throw broken('the first frame');
    this.session.onData(first, mask);
  }

  onMessage(buffer: Buffer, start: number, end: number): void {
    (this.session as InboundSession).onMessage(buffer, start, end);
  }

  private onChunk(chunk: Buffer): void {
    // What waits must not keep a whole read of the link alive.
    this.guarded(() => this.reader.push(this.session?.retains ? unpinned(chunk) : chunk));
  }

  private guarded(read: () => void): void {
    try {
      read();
    } catch {
      // The other end has broken the protocol: its messages are lost, nobody else's.
      this.session?.end();
      this.socket.destroy();
      return;
    }
    this.session?.afterInput();
  }

  private onClose(): void {
    this.helloDue.clear();
    this.session?.detach(this.socket);
    this.port.onCircuitClosed(this);
  }
}
