// The receiver's half of a session: which messages it has got, and the outcomes that the sender has not confirmed. Pure: frames in,
// frames out.
//
// Messages arrive in the order of their numbers, or the sender breaks the protocol: so one number says what has been got. Outcomes are
// counted in the order in which they come, and so are those that the sender confirms: one number again.

import type { Timers } from '../../util/timers.js';
import { payloadOf } from '../content.js';
import { NumberRing } from '../number-ring.js';
import { isApart } from '../numbers.js';
import { FrameType, type FrameWriter, MalformedFrame, readBare, readMessage, readNumber } from '../wire/frames.js';
import { Incoming, type IncomingOwner, IncomingState, type Sender } from './incoming.js';
import { IncomingList } from './incoming-list.js';

/** What a sender may have on its way. */
export interface Credit {
  readonly count: number;
  readonly bytes: number;
}

export interface SessionHost {
  readonly timers: Timers;
  /** Called with each message that has arrived. */
  onMessage(incoming: Incoming): void;
  /** Called with each message that has got its outcome. */
  onSettled(incoming: Incoming): void;
  /** Called when the sender takes back a message that may wait for its turn. */
  onCancel(incoming: Incoming): void;
  /** A message has an answer that travels apart. */
  onApart(incoming: Incoming): void;
  /** The content of a message does not come. */
  onNoBody(incoming: Incoming): void;
  /** The sender needs the session no more. */
  onClose(session: ReceiverSession): void;
  /** Something is to be written. */
  request(session: ReceiverSession): void;
}

export class ReceiverSession implements IncomingOwner {
  readonly timers: Timers;
  /** The number that comes next. */
  private next = 0;
  /** Those without an outcome. */
  readonly open = new NumberRing<Incoming>();
  /** Outcomes that the sender has not confirmed, the oldest first. */
  private outcomes: Incoming[] = [];
  private outcomesAt = 0;
  /** How many outcomes were confirmed, and how many of the others were written on this circuit. */
  private confirmed = 0;
  private written = 0;
  private usedCount = 0;
  private usedBytes = 0;
  private answerBytes = 0;
  private welcome: number | undefined;
  private wanted: number[] = [];
  /** Calls that wait until the sender has confirmed answers. */
  private readonly held = new IncomingList();
  private saysLeaving = false;
  private hasSaidLeaving = false;
  /** Answers that travel apart and were not fetched, by number. */
  readonly apart = new Map<number, Incoming>();
  /** Nothing is taken or answered any more. */
  isRetired = false;
  /** Its sender has another session and has not come back to this one: contents that have not arrived are not waited for. */
  isAbandoned = false;

  constructor(
    private readonly host: SessionHost,
    readonly run: string,
    readonly epoch: number,
    /** Of the current circuit. */
    public sender: Sender,
    readonly credit: Credit,
  ) {
    this.timers = host.timers;
  }

  /** Whether so many answers are not confirmed that no other call must begin. */
  get isCongested(): boolean {
    return this.answerBytes > this.credit.bytes;
  }

  /** Nothing runs, and the sender has confirmed everything. */
  get isIdle(): boolean {
    return this.open.size === 0 && this.outcomesAt === this.outcomes.length;
  }

  /** Every outcome there is was written on this circuit. */
  get isFlushed(): boolean {
    return this.open.size === 0 && this.written === this.outcomes.length - this.outcomesAt;
  }

  /** Called with a new circuit. `outcomes`: how many the sender has. @throws MalformedFrame when it has more than there were */
  attach(status: number, outcomes: number, sender: Sender): void {
    this.sender = sender;
    this.isAbandoned = false;
    this.confirm(outcomes);
    this.written = 0;
    this.hasSaidLeaving = false;
    this.welcome = status;
    this.wanted = [];
    for (const incoming of this.open.inOrder(this.next)) if (incoming.isWanted) this.wanted.push(incoming.number);
    this.host.request(this);
  }

  /** @throws MalformedFrame */
  onFrame(type: number, bytes: Buffer, from: number, to: number): void {
    switch (type) {
      case FrameType.MESSAGE:
      case FrameType.CALL:
        this.onMessage(type, bytes, from, to);
        return;
      case FrameType.ACK:
        this.confirm(readNumber(bytes, from, to));
        return;
      case FrameType.CANCEL: {
        const incoming = this.open.get(readNumber(bytes, from, to));
        if (incoming === undefined) return;
        this.held.delete(incoming);
        this.host.onCancel(incoming);
        return;
      }
      case FrameType.SKIP:
        this.take(readNumber(bytes, from, to));
        return;
      case FrameType.NO_BODY: {
        const incoming = this.open.get(readNumber(bytes, from, to));
        if (incoming !== undefined) this.host.onNoBody(incoming);
        return;
      }
      case FrameType.CLOSE:
        readBare(from, to);
        if (!this.isIdle) throw new MalformedFrame('the end of a session before its outcomes');
        this.host.onClose(this);
        return;
      default:
        throw new MalformedFrame(`a frame of type ${type}`);
    }
  }

  private onMessage(type: number, bytes: Buffer, from: number, to: number): void {
    const fields = readMessage(type, bytes, from, to);
    this.take(fields.number);
    const payload = fields.isApart ? undefined : payloadOf(fields.kind, bytes, fields.from, fields.to);
    const incoming = new Incoming(this, this.sender, fields, payload, this.timers.now());
    // One is taken in any case, as its sender may always send one.
    if (
      this.usedCount > 0 &&
      (this.usedCount >= this.credit.count || this.usedBytes + incoming.cost > this.credit.bytes)
    ) {
      throw new MalformedFrame('more messages than the credit allows');
    }
    this.usedCount++;
    this.usedBytes += incoming.cost;
    this.open.add(incoming);
    if (fields.command !== undefined && this.isCongested) this.held.add(incoming);
    else this.host.onMessage(incoming);
  }

  private take(number: number): void {
    if (number !== this.next) throw new MalformedFrame(`message ${number} instead of ${this.next}`);
    this.next = (this.next + 1) >>> 0;
  }

  private confirm(count: number): void {
    const now = (count - this.confirmed) >>> 0;
    // Also those that were written on a circuit before this one.
    if (now > this.outcomes.length - this.outcomesAt)
      throw new MalformedFrame('more outcomes confirmed than there are');
    for (let left = now; left > 0; left--) {
      const incoming = this.outcomes[this.outcomesAt];
      this.outcomes[this.outcomesAt++] = undefined as unknown as Incoming;
      this.usedCount--;
      this.usedBytes -= incoming.cost;
      const { isApart: isApartAnswer, bytes } = answerOf(incoming);
      if (!isApartAnswer) this.answerBytes -= bytes;
    }
    this.confirmed = count;
    this.written = Math.max(0, this.written - now);
    if (this.outcomesAt === this.outcomes.length) {
      this.outcomes.length = 0;
      this.outcomesAt = 0;
    } else if (this.outcomesAt > 1024) {
      this.outcomes = this.outcomes.slice(this.outcomesAt);
      this.outcomesAt = 0;
    }
    if (this.held.size > 0) this.releaseHeld();
  }

  private releaseHeld(): void {
    for (let { first } = this.held; first !== undefined && !this.isCongested; { first } = this.held) {
      this.held.delete(first);
      this.host.onMessage(first);
    }
  }

  /** Asks the sender for the content of a message. */
  want(incoming: Incoming): void {
    incoming.isWanted = true;
    this.wanted.push(incoming.number);
    this.host.request(this);
  }

  /** Says that no more messages are taken. */
  leave(): void {
    this.saysLeaving = true;
    this.host.request(this);
  }

  onSettled(incoming: Incoming): void {
    this.open.delete(incoming.number);
    this.host.onSettled(incoming);
    if (this.isRetired) return;
    this.outcomes.push(incoming);
    const { isApart: isApartAnswer, bytes } = answerOf(incoming);
    this.answerBytes += Math.max(0, bytes);
    if (isApartAnswer) {
      this.apart.set(incoming.number, incoming);
      this.host.onApart(incoming);
    }
    this.host.request(this);
  }

  /** Called when an answer that travels apart was fetched, or is given up. */
  dropApart(incoming: Incoming): void {
    if (!this.apart.delete(incoming.number)) return;
    this.answerBytes -= Math.max(0, answerOf(incoming).bytes);
    if (this.held.size > 0) this.releaseHeld();
  }

  fill(writer: FrameWriter): void {
    if (this.welcome !== undefined) {
      const { count, bytes } = this.credit;
      writer.welcome(this.welcome, this.next, count, bytes);
      this.welcome = undefined;
    }
    const { outcomes } = this;
    for (let at = this.outcomesAt + this.written; at < outcomes.length; at++) {
      const { number, answer } = outcomes[at];
      if (answer === undefined) continue;
      const { code, kind, payload, bytes } = answer;
      writer.outcome(number, code, kind, payload, bytes, isApart(bytes));
    }
    this.written = outcomes.length - this.outcomesAt;
    if (this.wanted.length > 0) {
      for (const number of this.wanted) if (this.open.has(number)) writer.number(FrameType.WANT, number);
      this.wanted = [];
    }
    if (this.saysLeaving && !this.hasSaidLeaving) {
      this.hasSaidLeaving = true;
      writer.bare(FrameType.LEAVING);
    }
  }

  /** Ends the session: what has not begun is dropped, and what runs has nobody to answer to. Returns what has not begun. */
  retire(): Incoming[] {
    this.isRetired = true;
    const waiting = this.open.inOrder(this.next).filter(({ state }) => state === IncomingState.WAITING);
    this.outcomes = [];
    this.outcomesAt = 0;
    return waiting;
  }
}

function answerOf({ answer }: Incoming): { isApart: boolean; bytes: number } {
  const bytes = answer === undefined ? 0 : answer.bytes;
  return { isApart: isApart(bytes), bytes };
}
