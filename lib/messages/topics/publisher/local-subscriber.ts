// The subscriptions of one pattern at the node of the publisher. They get messages without a circuit, in the same order and with the same bounds.

import type { NodeId } from '../../../address.js';
import { Fifo } from '../../../util/fifo.js';
import { nextTick } from '../../../util/runtime/real-timers.js';
import { sharedTimers } from '../../../util/timers.js';
import type { Interest } from '../codec/interest.js';
import { Flag, MESSAGE_HEAD_BYTES } from '../codec/layout.js';
import { MessageWriter, type TopicData } from '../codec/message-writer.js';
import { sharedPieces } from '../codec/piece-pool.js';
import { type Origin, readReply, TopicMessage } from '../message.js';
import type { ResolvedTopicsOptions } from '../options.js';
import type { PatternPort } from '../subscriber/pattern-port.js';
import type { Target, TargetOwner } from './target.js';

const NO_TOPIC = Buffer.alloc(0);

interface Waiting {
  readonly topic: string;
  buffer: Buffer;
  start: number;
  end: number;
  readonly mask: number;
  readonly sequence: number;
}

export class LocalSubscriber implements Target, Origin {
  mask = 0;
  requests = 0;
  readonly isRouted = true;
  readonly isReady = true;
  readonly isLocal = true;
  private readonly waiting = new Fifo<Waiting>();
  /** Those that still lie in the memory of the writer. */
  private borrowed: Waiting[] = [];
  private bytes = 0;
  /** Delivered, and not handled. */
  private running = 0;
  private last = 0;
  private delivered = 0;
  private isDirty = false;
  private isOver = false;
  private isDelivering = false;
  private waiters: Array<() => void> = [];
  private readonly open = new Map<number, TopicMessage>();
  private writer: MessageWriter | undefined;

  constructor(
    readonly nodeId: NodeId,
    private readonly port: PatternPort,
    private readonly options: ResolvedTopicsOptions,
    private readonly owner: TargetOwner,
  ) {}

  get pattern(): string {
    return this.port.pattern;
  }

  get from(): NodeId {
    return this.nodeId;
  }

  get interest(): Interest {
    return this.port.interest;
  }

  load(mask: number): number {
    return this.waiting.size + this.port.load(mask);
  }

  append(topic: string, buffer: Buffer, start: number, end: number, mask: number): number {
    const sequence = ++this.last;
    if (this.bytes + (end - start) > this.options.maxBufferedBytes && !this.makeRoom(end - start)) {
      this.owner.onDropped(this, 1);
      this.port.onLost(1);
      return 0;
    }
    this.bytes += end - start;
    // Handlers may keep views of it.
    sharedPieces.withdraw(buffer);
    const one = { topic, buffer, start, end, mask, sequence };
    this.waiting.push(one);
    this.borrowed.push(one);
    if (!this.isDirty) {
      this.isDirty = true;
      this.owner.onDirty(this);
    }
    if (!this.isOver && this.bytes > this.options.highWaterMark) {
      this.isOver = true;
      this.owner.onOver(this, true);
    }
    return sequence;
  }

  flush(): void {
    this.isDirty = false;
    this.deliver();
    // What waits must not keep the memory of all messages of this turn.
    if (this.waiting.size > 0) this.copyOut();
    this.borrowed = [];
  }

  /** Delivers what waits, as long as the subscriptions have room. */
  deliver(): void {
    if (this.isDelivering) return;
    this.isDelivering = true;
    const { waiting, port } = this;
    while (!port.isFull) {
      const first = waiting.shift();
      if (first === undefined) break;
      const { topic, buffer, start, end, mask, sequence } = first;
      this.delivered = sequence;
      this.bytes -= end - start;
      const isRequest = (buffer[start] & Flag.REQUEST) !== 0;
      const ms = isRequest ? buffer.readUInt32LE(start + MESSAGE_HEAD_BYTES + buffer[start + 1] + 4) : 0;
      const message = new TopicMessage(
        topic,
        sequence,
        this,
        buffer,
        start,
        end,
        isRequest ? sharedTimers.now() + ms : 0,
      );
      message.holders = 1;
      port.deliver(message, mask);
      if (--message.holders === 0) continue;
      this.running++;
      if (isRequest) this.open.set(message.request, message);
    }
    this.isDelivering = false;
    if (this.isOver && this.bytes <= this.options.highWaterMark >> 1) {
      this.isOver = false;
      this.owner.onOver(this, false);
    }
    this.checkWaiters();
  }

  confirmed(): Promise<void> {
    if (this.isDirty) this.flush();
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }

  wasSent(sequence: number): boolean {
    return sequence <= this.delivered;
  }

  cancel(request: number): void {
    this.open.get(request)?.cancel();
  }

  /** Called when the subscriptions are gone. */
  end(): void {
    const leftovers = this.waiting.takeAll().map((one) => ({ ...one, wasSent: false }));
    this.borrowed = [];
    this.bytes = 0;
    if (this.isOver) this.owner.onOver(this, false);
    this.isOver = false;
    for (const resolve of this.waiters.splice(0)) resolve();
    this.owner.onLeftovers(this, leftovers, this.interest);
  }

  onReleased(message: TopicMessage): void {
    this.running--;
    if (message.expectsReply) this.open.delete(message.request);
    this.checkWaiters();
  }

  reply(message: TopicMessage, status: number, data: TopicData): boolean {
    this.writer ??= new MessageWriter(this.options.maxMessageBytes);
    this.writer.encode(NO_TOPIC, data, { reply: message.request, status });
    const { buffer, start, end } = this.writer;
    sharedPieces.withdraw(buffer);
    // As from anywhere else, the reply comes later.
    nextTick(() => {
      const reply = readReply(buffer, start, end);
      if (reply !== undefined) this.owner.onReply(this, reply);
    });
    return true;
  }

  private get isIdle(): boolean {
    return this.running === 0 && this.waiting.size === 0;
  }

  private checkWaiters(): void {
    if (this.waiters.length > 0 && this.isIdle) for (const resolve of this.waiters.splice(0)) resolve();
  }

  private makeRoom(bytes: number): boolean {
    if (this.options.whenFull === 'drop-newest') return false;
    let count = 0;
    while (this.bytes + bytes > this.options.maxBufferedBytes) {
      const oldest = this.waiting.shift();
      if (oldest === undefined) break;
      this.bytes -= oldest.end - oldest.start;
      count++;
    }
    if (count > 0) {
      this.owner.onDropped(this, count);
      this.port.onLost(count);
    }
    return this.bytes + bytes <= this.options.maxBufferedBytes;
  }

  /** Copies what waits and was added since the last time, in one piece. */
  private copyOut(): void {
    const added = this.borrowed.filter(({ sequence }) => sequence > this.delivered);
    const copy = Buffer.allocUnsafeSlow(added.reduce((sum, { start, end }) => sum + end - start, 0));
    let at = 0;
    for (const one of added) {
      const length = one.buffer.copy(copy, at, one.start, one.end);
      one.buffer = copy;
      one.start = at;
      at += length;
      one.end = at;
    }
  }
}
