// A message as handlers see it. It reads its bytes when they are asked for.

import type { NodeId } from '../../address.js';
import { netError, starlaneError } from '../../errors.js';
import { sharedTimers } from '../../util/timers.js';
import { Flag, Kind, MESSAGE_HEAD_BYTES, ReplyStatus } from './codec/layout.js';
import type { TopicData, TopicHeaders } from './codec/message-writer.js';

/** Where messages come from. */
export interface Origin {
  readonly from: NodeId;
  /** Called when all subscriptions are done with a message. */
  onReleased(message: TopicMessage): void;
  /** Sends a reply to the node that has sent the request. Returns false when there is no way to it any more. */
  reply(message: TopicMessage, status: number, data: TopicData): boolean;
}

const NO_HEADERS: TopicHeaders = Object.freeze({});

/** A message, for handlers of topics and `for await`. */
export class TopicMessage {
  /** @internal How many subscriptions are not done with it. */
  holders = 0;
  /** @internal The last reply has been sent. */
  isAnswered = false;
  /** @internal A value was sent by {@link respond}. */
  hasResponded = false;
  private aborter: AbortController | undefined;
  private abortReason: Error | undefined;

  /** @internal */
  constructor(
    /** The topic to which it was published. */
    readonly topic: string,
    /** A number that grows with each message of one publisher to one pattern. */
    readonly sequence: number,
    private readonly origin: Origin,
    private readonly buffer: Buffer,
    private readonly start: number,
    private readonly endAt: number,
    /** @internal When the requester stops waiting, by the clock of this process; 0 for messages that expect no reply. */
    readonly deadlineMs: number,
  ) {}

  /** The id of the node that has published it. */
  get from(): NodeId {
    return this.origin.from;
  }

  /** What was published: a Uint8Array (a view of what was received), a string, undefined, or a value of JSON, which is read again each time. */
  get data(): unknown {
    return readData(this.buffer, this.start, this.endAt);
  }

  /** The headers; an empty object without any. */
  get headers(): TopicHeaders {
    return readHeaders(this.buffer, this.start);
  }

  /** Whether somebody waits for a reply. */
  get expectsReply(): boolean {
    return (this.buffer[this.start] & Flag.REQUEST) !== 0;
  }

  /** Aborts when the requester has cancelled the request, or its time is over. Never for other messages. */
  get signal(): AbortSignal {
    if (this.aborter === undefined) {
      this.aborter = new AbortController();
      if (this.abortReason !== undefined) this.aborter.abort(this.abortReason);
    }
    return this.aborter.signal;
  }

  /**
   * Sends a reply. Returns false when nobody waits for it: the message is no request, was answered by the return value of the handler, or
   * its sender is gone.
   * @throws ERR_STARLANE_MESSAGE_SIZE, ERR_STARLANE_ARGUMENT
   */
  respond(data?: TopicData): boolean {
    if (!this.expectsReply || this.isAnswered) return false;
    const isSent = this.origin.reply(this, ReplyStatus.MORE, data);
    this.hasResponded ||= isSent;
    return isSent;
  }

  /** @internal The number of the request at its sender. */
  get request(): number {
    return this.buffer.readUInt32LE(this.start + MESSAGE_HEAD_BYTES + this.buffer[this.start + 1]);
  }

  /** @internal */
  get bytes(): number {
    return this.endAt - this.start;
  }

  /** @internal Sends the last reply. @throws ERR_STARLANE_MESSAGE_SIZE, ERR_STARLANE_ARGUMENT */
  answer(status: number, data: TopicData): void {
    if (this.isAnswered || !this.expectsReply) return;
    this.origin.reply(this, status, data);
    this.isAnswered = true;
  }

  /** @internal Whether the requester has cancelled the request, or has stopped waiting. */
  get isGivenUp(): boolean {
    return this.abortReason !== undefined || (this.deadlineMs !== 0 && sharedTimers.now() > this.deadlineMs);
  }

  /** @internal Called when the requester has cancelled the request. */
  cancel(): void {
    this.abortReason = netError('ECANCELED', 'request', { address: this.topic });
    this.aborter?.abort(this.abortReason);
  }

  /** @internal Called by a subscription that is done with it. */
  release(): void {
    if (--this.holders === 0) this.origin.onReleased(this);
  }
}

/** Returns where what follows the topic begins. */
function afterTopic(buffer: Buffer, start: number): number {
  return start + MESSAGE_HEAD_BYTES + buffer[start + 1];
}

/** Returns where the headers begin. */
function afterExtras(buffer: Buffer, start: number): number {
  const flags = buffer[start];
  const at = afterTopic(buffer, start);
  if ((flags & Flag.REQUEST) !== 0) return at + 8;
  return (flags & Flag.REPLY) !== 0 ? at + 5 : at;
}

/** Returns where the data begins. */
function dataAt(buffer: Buffer, start: number): number {
  const at = afterExtras(buffer, start);
  return (buffer[start] & Flag.HEADERS) === 0 ? at : at + 2 + buffer.readUInt16LE(at);
}

/**
 * Checks that the parts of a message lie within it, so that it can be read later without care. Returns false for a message that no
 * publisher makes.
 */
export function isWhole(buffer: Buffer, start: number, end: number): boolean {
  const flags = buffer[start];
  if (flags <= Kind.NONE) return afterTopic(buffer, start) <= end;
  if ((flags & ~Flag.ALL) !== 0 || (flags & (Flag.REQUEST | Flag.REPLY)) === (Flag.REQUEST | Flag.REPLY)) return false;
  const at = afterExtras(buffer, start);
  if (at > end) return false;
  if ((flags & Flag.HEADERS) === 0) return true;
  return at + 2 <= end && at + 2 + buffer.readUInt16LE(at) <= end;
}

/** @throws ERR_STARLANE_MESSAGE_PROTOCOL when it is no JSON */
export function readData(buffer: Buffer, start: number, end: number): unknown {
  const kind = buffer[start] & Flag.KIND;
  if (kind === Kind.NONE) return undefined;
  const at = dataAt(buffer, start);
  if (kind === Kind.BYTES) return buffer.subarray(at, end);
  const text = textOf(buffer, at, end);
  return kind === Kind.STRING ? text : parsed(text);
}

function readHeaders(buffer: Buffer, start: number): TopicHeaders {
  if ((buffer[start] & Flag.HEADERS) === 0) return NO_HEADERS;
  const at = afterExtras(buffer, start);
  const headers = parsed(buffer.toString('utf8', at + 2, at + 2 + buffer.readUInt16LE(at)));
  return (typeof headers === 'object' && headers !== null ? headers : NO_HEADERS) as TopicHeaders;
}

/** Shorter texts are read character by character, which is faster than a call into Node. */
const SHORT_TEXT = 16;

function textOf(buffer: Buffer, at: number, end: number): string {
  if (end - at > SHORT_TEXT) return buffer.toString('utf8', at, end);
  let text = '';
  for (let index = at; index < end; index++) {
    const byte = buffer[index];
    if (byte > 0x7f) return buffer.toString('utf8', at, end);
    text += String.fromCharCode(byte);
  }
  return text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw starlaneError('ERR_STARLANE_MESSAGE_PROTOCOL', 'the data is no JSON', error);
  }
}

/** A reply, as it was received. */
export interface Reply {
  readonly request: number;
  readonly status: number;
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Returns the request and the status of a reply; undefined for what is none. */
export function readReply(buffer: Buffer, start: number, end: number): Reply | undefined {
  if (buffer[start + 1] !== 0 || (buffer[start] & Flag.REPLY) === 0 || !isWhole(buffer, start, end)) return undefined;
  const at = start + MESSAGE_HEAD_BYTES;
  return { request: buffer.readUInt32LE(at), status: buffer[at + 4], buffer, start, end };
}
