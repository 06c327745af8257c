// The subscriptions of one pattern at another node, as a publisher sees them: the circuit to them, and what they have not confirmed. When the circuit
// breaks, it is dialled again, and what is missing is sent again.

import { randomBytes } from 'node:crypto';
import type { NodeId } from '../../../address.js';
import { codeOf } from '../../../errors.js';
import type { Node } from '../../../node/node.js';
import type { Socket } from '../../../socket/socket.js';
import { Deadline } from '../../../util/deadline.js';
import { withoutContext } from '../../../util/runtime/no-context.js';
import { sharedTimers } from '../../../util/timers.js';
import { outcomeUnknown } from '../../outcome.js';
import { TOPIC_PORT } from '../../ports.js';
import { broken, FrameReader, type FrameSink } from '../codec/frame-reader.js';
import { type Interest, readInterest } from '../codec/interest.js';
import {
  CIRCUIT_BUFFER_BYTES,
  decodeWelcome,
  encodeHello,
  encodeNumber,
  encodeSequence,
  Flag,
  FrameType,
  frame,
  Mask,
  SESSION_BYTES,
  type Welcome,
} from '../codec/layout.js';
import { SERVICE_PREFIX } from '../codec/pattern.js';
import { readReply } from '../message.js';
import type { ResolvedTopicsOptions } from '../options.js';
import { Outlet } from '../outlet.js';
import type { Target, TargetOwner } from './target.js';

const RETRY_MIN_MS = 20;
const RETRY_MAX_MS = 1_000;
/** A node that is up and not in the directory any more has left it on purpose, after this time. */
const UNLISTED_MS = 1_000;
/** A circuit that is not used for so long is closed. */
export const IDLE_MS = 60_000;
/** Replies are confirmed after so many, or their bytes. */
const ACK_REPLIES = 256;
const ACK_REPLY_BYTES = 64 * 1024;
/** How long a circuit may take that is not opened in place of a lost one, at least. */
const OPEN_MS = 5_000;
/** How long the other end may take for its first frame. */
const WELCOME_MS = 10_000;
/** A node that does not allow it, or has broken the protocol, is not asked again for so long. */
const DENIED_MS = 10_000;

const FLUSH = frame(FrameType.FLUSH);
const END = frame(FrameType.END);

export class RemoteSubscriber implements Target, FrameSink {
  mask = 0;
  requests = 0;
  readonly isLocal = false;
  interest: Interest;
  isRouted = true;
  private isListed = true;
  private hasLeft = false;
  private outlet: Outlet;
  private session = randomBytes(SESSION_BYTES);
  private socket: Socket | undefined;
  private reader: FrameReader | undefined;
  private isUp = false;
  private isRef = true;
  private isDirty = false;
  private isOver = false;
  private isEnded = false;
  private retryMs = RETRY_MIN_MS;
  /** Until when it is looked for; 0 when it is not lost. */
  private lostUntilMs = 0;
  private usedMs = sharedTimers.now();
  private replies = 0;
  private nextReply = 0;
  private unackedReplies = 0;
  private unackedReplyBytes = 0;
  /** Frames that follow what is not sent yet. */
  private afterSent: Buffer[] = [];
  private waiters: Array<{ readonly sequence: number; resolve(): void }> = [];
  private readonly retryDue: Deadline;
  private readonly unlistedDue: Deadline;
  private readonly welcomeDue: Deadline;
  private readonly deniedDue: Deadline;
  private lastError: Error | undefined;

  constructor(
    private readonly node: Node,
    readonly nodeId: NodeId,
    readonly pattern: string,
    meta: unknown,
    private readonly options: ResolvedTopicsOptions,
    private readonly owner: TargetOwner,
  ) {
    this.interest = readInterest(meta);
    this.outlet = this.newOutlet(0);
    this.retryDue = new Deadline(sharedTimers, () => this.dial());
    this.unlistedDue = new Deadline(sharedTimers, () => this.onUnlistedForLong());
    this.welcomeDue = new Deadline(sharedTimers, () => this.socket?.destroy());
    this.deniedDue = new Deadline(sharedTimers, () => this.setRouted(this.isListed));
  }

  get isReady(): boolean {
    return this.isListed && this.lostUntilMs === 0;
  }

  load(mask: number): number {
    return this.outlet.pendingOf(mask);
  }

  append(_topic: string, buffer: Buffer, start: number, end: number, mask: number): number {
    const { outlet } = this;
    const sequence = outlet.append(buffer, start, end, mask);
    if (!this.isDirty) {
      this.isDirty = true;
      this.owner.onDirty(this);
    }
    if (!this.isOver && outlet.bytes > this.options.highWaterMark) {
      this.isOver = true;
      this.owner.onOver(this, true);
      // The publisher may wait for it.
      if (this.isUp) this.afterSent.push(FLUSH);
    }
    return sequence;
  }

  flush(): void {
    this.isDirty = false;
    this.outlet.seal();
    if (this.isEnded) return;
    if (this.isUp) this.send();
    else if (this.socket === undefined && !this.retryDue.isSet && !this.outlet.isEmpty) this.dial();
  }

  confirmed(): Promise<void> {
    if (this.isDirty) this.flush();
    if (this.outlet.isEmpty || this.isEnded) return Promise.resolve();
    return new Promise((resolve) => {
      this.waiters.push({ sequence: this.outlet.lastSequence, resolve });
      if (!this.isUp) return;
      this.afterSent.push(FLUSH);
      this.send();
    });
  }

  wasSent(sequence: number): boolean {
    return this.outlet.wasSent(sequence);
  }

  cancel(request: number): void {
    if (this.isUp) this.socket?.write(encodeNumber(FrameType.CANCEL, request));
  }

  // --- from the directory ---

  onListed(meta: unknown): void {
    this.isListed = true;
    this.hasLeft = false;
    this.unlistedDue.clear();
    // What comes over the circuit is newer.
    if (!this.isUp) this.interest = readInterest(meta);
    if (!this.deniedDue.isSet) this.isRouted = true;
    this.owner.onRoutesChanged();
    if (this.retryDue.isSet) this.dial();
  }

  onUnlisted(): void {
    this.isListed = false;
    this.deniedDue.clear();
    if (this.hasLeft || (this.socket === undefined && !this.retryDue.isSet && this.outlet.isEmpty)) this.end();
    else this.unlistedDue.set(UNLISTED_MS);
  }

  /** Looks after circuits that are not used. */
  sweep(now: number): void {
    const { socket } = this;
    const isBusy = !this.outlet.isEmpty || this.requests > 0;
    if (isBusy) this.usedMs = now;
    if (socket === undefined || isBusy) return;
    if (this.unackedReplies > 0) this.ackReplies();
    if (this.isRef) {
      this.isRef = false;
      socket.unref();
    }
    if (this.isUp && now - this.usedMs >= IDLE_MS) this.leaveCircuit();
  }

  /** Holds the process open as long as something is waited for. */
  use(): void {
    if (this.isRef) return;
    this.isRef = true;
    this.socket?.ref();
  }

  /** Ends it; what is not confirmed is handed back. */
  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.setRouted(false);
    for (const due of [this.retryDue, this.unlistedDue, this.welcomeDue, this.deniedDue]) due.clear();
    if (this.isUp) this.socket?.write(END);
    this.dropCircuit();
    this.handBack(false);
    this.owner.onEnded(this);
  }

  // --- from the circuit ---

  onFrame(type: number, body: Buffer): void {
    if (!this.isUp) {
      const welcome = type === FrameType.WELCOME ? decodeWelcome(body) : undefined;
      if (welcome === undefined) throw broken('the first frame of a subscriber');
      this.onWelcome(welcome);
      return;
    }
    if (type === FrameType.ACK) this.onAck(body);
    else if (type === FrameType.INTEREST) this.onInterest(body);
    else if (type === FrameType.LEAVE) this.onLeave(body);
  }

  onData(first: number): void {
    if (first < 1) throw broken('a number of a reply');
    this.nextReply = first;
  }

  onMessage(buffer: Buffer, start: number, end: number): void {
    const sequence = this.nextReply++;
    if (sequence <= this.replies) return;
    this.replies = sequence;
    this.unackedReplies++;
    this.unackedReplyBytes += end - start;
    const reply = readReply(buffer, start, end);
    if (reply === undefined) throw broken('a reply');
    this.owner.onReply(this, reply);
  }

  private onWelcome({ resumed, received, handled }: Welcome): void {
    this.welcomeDue.clear();
    const { outlet } = this;
    const isMissed = outlet.confirmed < outlet.sentSequence || this.requests > 0;
    if (!resumed && outlet.hasSent && isMissed) {
      // It is another process, or has forgotten.
      this.restart();
      return;
    }
    if (!resumed) this.replies = 0;
    if (resumed && !(this.outlet.confirm(handled) && this.outlet.resume(received)))
      throw broken('messages that were not sent');
    this.isUp = true;
    this.lostUntilMs = 0;
    this.retryMs = RETRY_MIN_MS;
    this.lastError = undefined;
    if (!this.isListed && !this.isEnded) this.unlistedDue.set(UNLISTED_MS);
    if (this.waiters.length > 0 || this.isOver) this.afterSent.push(FLUSH);
    this.afterConfirm();
    this.send();
  }

  private onAck(body: Buffer): void {
    if (body.length < 6 || !this.outlet.confirm(body.readUIntLE(0, 6))) throw broken('messages that were not sent');
    this.afterConfirm();
  }

  private afterConfirm(): void {
    const { outlet, waiters } = this;
    if (this.isOver && outlet.bytes <= this.options.highWaterMark >> 1) {
      this.isOver = false;
      this.owner.onOver(this, false);
    }
    if (waiters.length > 0) {
      this.waiters = waiters.filter((waiter) => {
        if (!outlet.isEmpty && outlet.confirmed < waiter.sequence) return true;
        waiter.resolve();
        return false;
      });
    }
    if (outlet.isEmpty && !this.isRouted && !this.isListed) this.end();
    else if (!outlet.isSent || this.afterSent.length > 0) this.send();
  }

  private onInterest(body: Buffer): void {
    let value: { n?: unknown } | null;
    try {
      value = JSON.parse(body.toString('utf8'));
    } catch {
      throw broken('an interest');
    }
    this.interest = readInterest(value);
    this.owner.onRoutesChanged();
    if (typeof value?.n !== 'number' || !(value.n >= 0 && value.n <= 0xffff_ffff)) return;
    this.outlet.seal();
    this.afterSent.push(encodeNumber(FrameType.SEEN, value.n >>> 0));
    this.send();
  }

  private onLeave(body: Buffer): void {
    if (body.length >= 6) this.outlet.limitSent(body.readUIntLE(0, 6));
    this.hasLeft = true;
    if (!this.isListed) {
      this.end();
      return;
    }
    // The directory is late, or has a later subscription.
    this.dropCircuit();
    this.handBack(false);
    this.interest = { plain: false, groups: new Map() };
    this.setRouted(false);
  }

  private send(): void {
    const { socket, outlet } = this;
    if (socket === undefined || socket.destroyed || !this.isUp) return;
    if (!outlet.isSent) this.use();
    outlet.send(socket);
    if (!outlet.isSent || this.afterSent.length === 0) return;
    for (const bytes of this.afterSent) socket.write(bytes);
    this.afterSent = [];
  }

  private dial(): void {
    if (this.isEnded || this.socket !== undefined) return;
    this.retryDue.clear();
    const now = sharedTimers.now();
    if (this.lostUntilMs === 0) this.lostUntilMs = now + Math.max(this.options.resumeMs, OPEN_MS);
    const timeoutMs = Math.max(1, this.lostUntilMs - now);
    const { nodeId } = this;
    const socket = withoutContext(() =>
      this.node.dial(`${SERVICE_PREFIX}${this.pattern}:${TOPIC_PORT}`, {
        timeoutMs,
        highWaterMark: CIRCUIT_BUFFER_BYTES,
        selector: (instances) => instances.find((instance) => instance.nodeId === nodeId),
      }),
    );
    this.socket = socket;
    this.isRef = true;
    const reader = new FrameReader(this, this.options.maxMessageBytes);
    this.reader = reader;
    socket.write(encodeHello({ session: this.session, base: this.outlet.base, replies: this.replies }));
    socket.once('connect', () => {
      if (this.socket === socket) this.welcomeDue.set(WELCOME_MS);
    });
    socket.on('data', (chunk: Buffer) => this.onChunk(socket, reader, chunk));
    socket.on('drain', () => {
      if (this.socket === socket) this.send();
    });
    socket.on('error', (error: Error) => {
      if (this.socket === socket) this.lastError = error;
    });
    socket.once('close', () => this.onClose(socket));
  }

  private onChunk(socket: Socket, reader: FrameReader, chunk: Buffer): void {
    if (this.socket !== socket) return;
    try {
      reader.push(chunk);
    } catch (error) {
      // Nothing of it can be trusted any more.
      this.owner.onWarning(error as Error);
      this.lastError = error as Error;
      this.shun();
      return;
    }
    if (this.unackedReplies >= ACK_REPLIES || this.unackedReplyBytes >= ACK_REPLY_BYTES) this.ackReplies();
  }

  private ackReplies(): void {
    this.unackedReplies = 0;
    this.unackedReplyBytes = 0;
    if (this.isUp) this.socket?.write(encodeSequence(FrameType.ACK, this.replies));
  }

  private onClose(socket: Socket): void {
    if (this.socket !== socket) return;
    const wasUp = this.isUp;
    this.dropCircuit();
    if (this.isEnded) return;
    const code = codeOf(this.lastError);
    const now = sharedTimers.now();
    if (wasUp || this.lostUntilMs === 0) this.lostUntilMs = now + this.options.resumeMs;
    if (code === 'EACCES' && !wasUp) {
      this.owner.onWarning(this.lastError as Error);
      this.shun();
      return;
    }
    const isGone = !this.isListed && (this.hasLeft || code === 'ECONNREFUSED');
    if (isGone || now >= this.lostUntilMs) {
      this.giveUp();
      return;
    }
    if (this.outlet.isEmpty && this.waiters.length === 0 && this.requests === 0) {
      this.lostUntilMs = 0;
      if (!this.isListed) this.end();
      return;
    }
    if (!this.isListed) this.unlistedDue.set(UNLISTED_MS);
    this.retryDue.set(this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, RETRY_MAX_MS);
  }

  /** Sends it nothing for a while. */
  private shun(): void {
    this.giveUp();
    if (this.isEnded) return;
    this.setRouted(false);
    this.deniedDue.set(DENIED_MS);
  }

  /** It was not found in time. */
  private giveUp(): void {
    this.lostUntilMs = 0;
    if (!this.isListed) {
      this.end();
      return;
    }
    this.dropCircuit();
    const { pending } = this.outlet;
    this.handBack(false);
    if (pending === 0) return;
    const lost = `${pending} messages for ${this.pattern} at ${this.nodeId}`;
    this.owner.onWarning(outcomeUnknown(lost, this.lastError));
  }

  /** Begins a new session; what was sent in the last one may have been handled. */
  private restart(): void {
    this.dropCircuit();
    this.handBack(true);
    if (!this.outlet.isEmpty) this.flush();
  }

  private onUnlistedForLong(): void {
    if (this.isListed) return;
    if (this.isUp) {
      this.setRouted(false);
      this.afterConfirm();
    } else if (this.node.routesMap().get(this.nodeId) !== undefined) {
      // It left before there was a circuit to it: a dial would wait for it to come back.
      this.giveUp();
    }
  }

  private leaveCircuit(): void {
    this.socket?.write(END);
    this.dropCircuit();
    this.renew();
  }

  /** Forgets the circuit. */
  private dropCircuit(): void {
    const { socket, reader } = this;
    this.socket = undefined;
    this.reader = undefined;
    this.isUp = false;
    // It may be in the middle of a chunk.
    reader?.stop();
    this.afterSent = [];
    this.welcomeDue.clear();
    this.unlistedDue.clear();
    if (socket?.connecting) socket.destroy();
    else socket?.destroySoon();
  }

  /** Begins a new session with the next circuit, and hands back what the last one has not confirmed. */
  private handBack(keepsUnsent: boolean): void {
    const { outlet, interest } = this;
    this.renew();
    const leftovers = outlet.takeLeftovers();
    if (this.isOver) {
      this.isOver = false;
      this.owner.onOver(this, false);
    }
    this.owner.onLeftovers(this, leftovers, interest);
    if (keepsUnsent) {
      for (const { buffer, start, end, mask, wasSent } of leftovers) {
        // Requests are sent again by those who wait for their replies.
        if (wasSent || (mask & Mask.ALL) === 0 || (buffer[start] & Flag.REQUEST) !== 0) continue;
        this.append('', buffer, start, end, Mask.ALL);
      }
    }
    for (const { resolve } of this.waiters.splice(0)) resolve();
  }

  private renew(): void {
    this.session = randomBytes(SESSION_BYTES);
    this.outlet = this.newOutlet(this.outlet.lastSequence);
    this.replies = 0;
    this.unackedReplies = 0;
    this.unackedReplyBytes = 0;
  }

  private newOutlet(last: number): Outlet {
    const { maxBufferedBytes, whenFull } = this.options;
    return new Outlet(maxBufferedBytes, whenFull, (count) => this.owner.onDropped(this, count), last);
  }

  private setRouted(isRouted: boolean): void {
    if (this.isRouted === isRouted) return;
    this.isRouted = isRouted;
    this.owner.onRoutesChanged();
  }
}
