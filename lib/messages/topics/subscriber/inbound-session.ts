// A publisher, as the node of a subscription sees it: which of its messages have arrived and which are handled. It outlives circuits, so that a
// publisher that comes back goes on where it was, and no message is handled twice.

import type { NodeId } from '../../../address.js';
import type { Socket } from '../../../socket/socket.js';
import { copyOf } from '../../../util/buffers.js';
import { Deadline } from '../../../util/deadline.js';
import { Fifo } from '../../../util/fifo.js';
import { withoutContext } from '../../../util/runtime/no-context.js';
import { setImmediate } from '../../../util/runtime/real-timers.js';
import { sharedTimers } from '../../../util/timers.js';
import { broken } from '../codec/frame-reader.js';
import { encodeSequence, encodeWelcome, Flag, FrameType, type Hello, MESSAGE_HEAD_BYTES } from '../codec/layout.js';
import { MessageWriter, type TopicData } from '../codec/message-writer.js';
import { fits, hasWildcards, isTopic } from '../codec/pattern.js';
import { isWhole, type Origin, TopicMessage } from '../message.js';
import type { ResolvedTopicsOptions } from '../options.js';
import { Outlet } from '../outlet.js';

/** How long a publisher without a circuit is remembered. */
export const REMEMBER_MS = 60_000;
/** Handled bytes and messages that are confirmed at once; fewer wait for others. */
const ACK_BYTES = 256 * 1024;
const ACK_MESSAGES = 8_192;
const ACK_MS = 10;
/** Topics that are known to fit, of a pattern with wildcards. */
const MAX_KNOWN_TOPICS = 256;

const EMPTY_TOPIC = Buffer.alloc(0);

/** What owns a session. */
export interface SessionOwner {
  readonly pattern: string;
  readonly options: ResolvedTopicsOptions;
  deliver(message: TopicMessage, mask: number): void;
  /** Called with the number of messages that the publisher has left out. */
  onLost(count: number): void;
  /** Forgets a session. */
  onEnded(session: InboundSession): void;
}

export class InboundSession implements Origin {
  /** The number of the last INTEREST that the publisher has seen. */
  seen = 0;
  /** Whether messages wait longer than the read that brought them. */
  retains = false;
  private socket: Socket | undefined;
  private received: number;
  private handled: number;
  private confirmed: number;
  private next = 0;
  private mask = 0;
  /** Messages that are not handled, and those behind them, in order. */
  private readonly waiting = new Fifo<TopicMessage>();
  /** Handled and not confirmed. */
  private unconfirmedBytes = 0;
  private wantsAck = false;
  private isEnding = false;
  private readonly ackDue: Deadline;
  private readonly forgetDue: Deadline;
  private readonly known: Map<string, true> | undefined;
  private lastTopic = '';
  private lastTopicBytes: Buffer = EMPTY_TOPIC;
  private readonly requests = new Map<number, TopicMessage>();
  private writer: MessageWriter | undefined;
  private replies: Outlet | undefined;
  private isFlushDue = false;

  constructor(
    readonly key: string,
    readonly from: NodeId,
    private readonly owner: SessionOwner,
    { base }: Hello,
  ) {
    this.received = base;
    this.handled = base;
    this.confirmed = base;
    this.known = hasWildcards(owner.pattern) ? new Map() : undefined;
    this.ackDue = new Deadline(sharedTimers, () => this.confirm());
    this.forgetDue = new Deadline(sharedTimers, () => this.end());
  }

  /** Whether it has a circuit. */
  get isAttached(): boolean {
    return this.socket !== undefined;
  }

  /** Continues over another circuit. @throws ERR_STARLANE_MESSAGE_PROTOCOL */
  attach(socket: Socket, { replies }: Hello, resumed: boolean): void {
    this.forgetDue.clear();
    const { socket: before } = this;
    this.socket = socket;
    before?.destroy();
    this.seen = 0;
    socket.write(encodeWelcome({ resumed, received: this.received, handled: this.handled }));
    this.confirmed = this.handled;
    this.unconfirmedBytes = 0;
    socket.on('drain', () => this.flush());
    if (this.replies === undefined) return;
    if (!this.replies.confirm(replies) || !this.replies.resume(replies)) throw broken('replies that were not sent');
    this.flush();
  }

  /** Called when a circuit is gone. */
  detach(socket: Socket): void {
    if (this.socket !== socket) return;
    this.socket = undefined;
    this.ackDue.clear();
    if (this.isEnding) this.end();
    else this.forgetDue.set(REMEMBER_MS);
  }

  write(bytes: Buffer): void {
    this.socket?.write(bytes);
  }

  /** Ends it, and its circuit. */
  end(): void {
    this.ackDue.clear();
    this.forgetDue.clear();
    const { socket } = this;
    this.socket = undefined;
    socket?.end();
    this.owner.onEnded(this);
  }

  /** Ends it for good: nothing more is taken of this publisher. */
  leave(): void {
    this.flush();
    this.write(encodeSequence(FrameType.LEAVE, this.received));
    this.end();
  }

  // --- from the circuit ---

  onFrame(type: number, body: Buffer): void {
    switch (type) {
      case FrameType.ACK:
        if (body.length < 6 || this.replies?.confirm(body.readUIntLE(0, 6)) === false)
          throw broken('replies that were not sent');
        this.flush();
        break;
      case FrameType.FLUSH:
        this.wantsAck = true;
        this.confirm();
        break;
      case FrameType.CANCEL:
        if (body.length >= 4) this.requests.get(body.readUInt32LE(0))?.cancel();
        break;
      case FrameType.SEEN:
        if (body.length >= 4) this.seen = body.readUInt32LE(0);
        break;
      case FrameType.END:
        this.isEnding = true;
        this.endIfDone();
        break;
      default:
      // Of a later version.
    }
  }

  onData(first: number, mask: number): void {
    if (first < 1) throw broken('a number of a message');
    const skipped = first - this.received - 1;
    this.next = first;
    this.mask = mask;
    if (skipped <= 0) return;
    this.received = first - 1;
    if (this.isIdle) this.handled = this.received;
    this.owner.onLost(skipped);
  }

  onMessage(buffer: Buffer, start: number, end: number): void {
    const sequence = this.next++;
    // Sent again after a circuit was lost.
    if (sequence <= this.received) return;
    if (!isWhole(buffer, start, end)) throw broken('a message whose parts are longer than it');
    this.received = sequence;
    const isRequest = (buffer[start] & Flag.REQUEST) !== 0;
    const topic = this.topicOf(buffer, start);
    let deadlineMs = 0;
    if (isRequest) {
      const at = start + MESSAGE_HEAD_BYTES + buffer[start + 1];
      deadlineMs = sharedTimers.now() + buffer.readUInt32LE(at + 4);
    }
    const message = new TopicMessage(topic, sequence, this, buffer, start, end, deadlineMs);
    message.holders = 1;
    this.owner.deliver(message, this.mask);
    if (--message.holders > 0) {
      this.retains = true;
      this.waiting.push(message);
      if (isRequest) this.requests.set(message.request, message);
    } else if (this.isIdle) {
      this.retains = false;
      this.handled = sequence;
      this.unconfirmedBytes += end - start;
    } else this.waiting.push(message);
  }

  /** Called when what has arrived so far is read. */
  afterInput(): void {
    if (this.confirmed !== this.handled) this.confirmSoon();
  }

  // --- of messages ---

  onReleased(message: TopicMessage): void {
    if (message.expectsReply && this.requests.get(message.request) === message) this.requests.delete(message.request);
    const { waiting } = this;
    for (let done = waiting.peek(); done?.holders === 0; done = waiting.peek()) {
      waiting.shift();
      this.handled = done.sequence;
      this.unconfirmedBytes += done.bytes;
    }
    // Numbers that were left out behind the last message count as handled.
    if (this.isIdle) this.handled = this.received;
    if (this.confirmed !== this.handled) this.confirmSoon();
    if (this.isEnding) this.endIfDone();
  }

  reply(message: TopicMessage, status: number, data: TopicData): boolean {
    if (this.socket === undefined && !this.forgetDue.isSet) return false;
    const { maxMessageBytes, maxBufferedBytes } = this.owner.options;
    this.writer ??= new MessageWriter(maxMessageBytes);
    this.replies ??= new Outlet(maxBufferedBytes, 'drop-newest', () => {});
    this.writer.encode(EMPTY_TOPIC, data, { reply: message.request, status });
    const { buffer, start, end } = this.writer;
    if (this.replies.append(buffer, start, end, 0) === 0) return false;
    if (this.isFlushDue) return true;
    this.isFlushDue = true;
    // As with requests: see Publisher.onRequestAdded.
    withoutContext(setImmediate, this.flushLater);
    return true;
  }

  private readonly flushLater = (): void => {
    this.isFlushDue = false;
    this.flush();
  };

  private flush(): void {
    const { replies, socket } = this;
    if (replies === undefined) return;
    replies.seal();
    if (socket !== undefined && !socket.destroyed) replies.send(socket);
  }

  private get isIdle(): boolean {
    return this.waiting.size === 0;
  }

  private confirmSoon(): void {
    const isMuch = this.unconfirmedBytes >= ACK_BYTES || this.handled - this.confirmed >= ACK_MESSAGES;
    if (isMuch || this.wantsAck) this.confirm();
    else if (!this.ackDue.isSet) this.ackDue.set(ACK_MS);
  }

  private confirm(): void {
    const { socket } = this;
    if (socket === undefined || socket.destroyed || this.confirmed === this.handled) return;
    this.confirmed = this.handled;
    this.unconfirmedBytes = 0;
    if (this.isIdle) this.wantsAck = false;
    this.ackDue.clear();
    socket.write(encodeSequence(FrameType.ACK, this.handled));
  }

  private endIfDone(): void {
    if (!this.isIdle) return;
    this.confirm();
    this.end();
  }

  /** Returns the topic of a message. @throws ERR_STARLANE_MESSAGE_PROTOCOL when it does not fit the pattern */
  private topicOf(buffer: Buffer, start: number): string {
    const length = buffer[start + 1];
    const at = start + MESSAGE_HEAD_BYTES;
    const last = this.lastTopicBytes;
    if (length === last.length) {
      let index = 0;
      while (index < length && buffer[at + index] === last[index]) index++;
      if (index === length) return this.lastTopic;
    }
    const topic = buffer.toString('utf8', at, at + length);
    const { known } = this;
    const { pattern } = this.owner;
    if (known === undefined ? topic !== pattern : !known.has(topic)) {
      if (known === undefined || !isTopic(topic) || !fits(pattern, topic)) throw broken('a topic that does not fit');
      if (known.size === MAX_KNOWN_TOPICS) known.clear();
      known.set(topic, true);
    }
    this.lastTopic = topic;
    this.lastTopicBytes = copyOf(buffer.subarray(at, at + length));
    return topic;
  }
}
