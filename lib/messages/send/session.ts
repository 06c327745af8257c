// The sender's half of a session: what waits, what is on its way, and what is known of it. Pure: frames in, frames out.
//
// Messages are numbered in the order in which they are first written. Everything that was written and has no outcome stays in `written`,
// so that it can be written again, under its number, when the receiver has not got it. Numbers have 32 bits and begin again.

import { NumberRing } from '../number-ring.js';
import { isApart, isFrom } from '../numbers.js';
import { FrameType, type FrameWriter, MalformedFrame, type WelcomeFields } from '../wire/frames.js';
import { type Outgoing, OutgoingState } from './outgoing.js';

/** What a message takes of the credit. */
export function costOf({ content: { bytes } }: Outgoing): number {
  return isApart(bytes) ? 0 : bytes;
}

export class SenderSession {
  /** By number, in the order of numbers. */
  readonly written = new NumberRing<Outgoing>();
  /** Not written yet. */
  private waiting: Outgoing[] = [];
  private waitingAt = 0;
  /** Has to be written again, before anything that waits. */
  private again: Outgoing[] = [];
  private cancelled: number[] = [];
  private withoutBody: number[] = [];
  private next = 0;
  /** Outcomes that have arrived, and how many of them the receiver knows that. */
  private outcomes = 0;
  private confirmed = 0;
  private maxCount = 0;
  private maxBytes = 0;
  private usedCount = 0;
  private usedBytes = 0;

  /** How many outcomes have arrived. */
  get received(): number {
    return this.outcomes;
  }

  /** Whether outcomes have arrived of which the receiver does not know that. */
  get owesAck(): number {
    return (this.outcomes - this.confirmed) >>> 0;
  }

  /** Messages without an outcome. */
  get size(): number {
    return this.written.size + this.waiting.length - this.waitingAt;
  }

  /** Whether something waits for credit, or for its turn to be written. */
  get waits(): boolean {
    return this.waitingAt < this.waiting.length;
  }

  get isIdle(): boolean {
    return this.size === 0 && this.cancelled.length === 0;
  }

  add(out: Outgoing): void {
    this.waiting.push(out);
  }

  /** Removes one that waits. Returns false when it was written: the receiver has to be asked to drop it. */
  giveUp(out: Outgoing): boolean {
    const { number } = out;
    if (this.written.get(number) === out) {
      this.cancelled.push(number);
      return false;
    }
    // It is passed over when its turn comes; one that waits for credit must not keep a content meanwhile.
    const index = this.waiting.indexOf(out, this.waitingAt);
    if (index >= 0) this.waiting.splice(index, 1);
    return true;
  }

  /** Called with the first answer of the receiver on a circuit. @throws MalformedFrame when it has got what was never sent */
  onWelcome({ next, count, bytes }: WelcomeFields): void {
    if (!isFrom(this.next, next)) throw new MalformedFrame('the receiver has more than was sent');
    this.maxCount = count;
    this.maxBytes = bytes;
    this.again = [];
    // The receiver learns with the preamble how many there are.
    this.confirmed = this.outcomes;
    for (const out of this.written.inOrder(this.next)) {
      const { number } = out;
      if (isFrom(number, next)) this.again.push(out);
      else if (out.isSettled && !this.cancelled.includes(number)) this.cancelled.push(number);
    }
  }

  /** Called with an outcome; undefined for one that is not expected. @throws MalformedFrame */
  takeOutcome(number: number): Outgoing {
    const out = this.written.get(number);
    if (out === undefined) throw new MalformedFrame('an outcome of nothing');
    this.outcomes = (this.outcomes + 1) >>> 0;
    this.forget(number, out);
    return out;
  }

  /** Lets the receiver know that the content of a message does not come. */
  refuseBody(number: number): void {
    this.withoutBody.push(number);
  }

  /** Writes what may be sent now. */
  fill(writer: FrameWriter, now: number): void {
    this.fillAck(writer);
    if (this.again.length > 0) {
      const { again } = this;
      this.again = [];
      for (const out of again) {
        if (out.isSettled) {
          this.forget(out.number, out);
          writer.number(FrameType.SKIP, out.number);
        } else write(writer, out, now);
      }
      this.cancelled = this.cancelled.filter((number) => this.written.has(number));
    }
    if (this.cancelled.length > 0) {
      for (const number of this.cancelled) if (this.written.has(number)) writer.number(FrameType.CANCEL, number);
      this.cancelled = [];
    }
    if (this.withoutBody.length > 0) {
      for (const number of this.withoutBody) writer.number(FrameType.NO_BODY, number);
      this.withoutBody = [];
    }
    const { waiting } = this;
    while (this.waitingAt < waiting.length) {
      const out = waiting[this.waitingAt];
      if (!this.mayWrite(out)) break;
      this.waitingAt++;
      out.number = this.next;
      out.state = OutgoingState.WRITTEN;
      this.next = (this.next + 1) >>> 0;
      this.usedCount++;
      out.cost = costOf(out);
      this.usedBytes += out.cost;
      this.written.add(out);
      write(writer, out, now);
    }
    if (this.waitingAt === waiting.length) {
      waiting.length = 0;
      this.waitingAt = 0;
    } else if (this.waitingAt > 1024) {
      this.waiting = waiting.slice(this.waitingAt);
      this.waitingAt = 0;
    }
  }

  private fillAck(writer: FrameWriter): void {
    if (this.outcomes === this.confirmed) return;
    this.confirmed = this.outcomes;
    writer.number(FrameType.ACK, this.outcomes);
  }

  /** Takes out everything that has no outcome: what a receiver may have, and what has never left. */
  takeAll(): { written: Outgoing[]; waiting: Outgoing[] } {
    const written = this.written.inOrder(this.next).filter((out) => !out.isSettled);
    const waiting = this.takeWaiting();
    this.written.clear();
    return { written, waiting };
  }

  takeWaiting(): Outgoing[] {
    const waiting = this.waiting.slice(this.waitingAt);
    this.waiting = [];
    this.waitingAt = 0;
    return waiting;
  }

  private mayWrite(out: Outgoing): boolean {
    if (this.usedCount >= this.maxCount) return false;
    // One is always on its way, however small the credit is.
    return this.usedCount === 0 || this.usedBytes + costOf(out) <= this.maxBytes;
  }

  private forget(number: number, out: Outgoing): void {
    this.written.delete(number);
    this.usedCount--;
    this.usedBytes -= out.cost;
  }
}

function write(writer: FrameWriter, out: Outgoing, now: number): void {
  const { content, number, command, key } = out;
  const { kind, payload, bytes } = content;
  const remainingMs = out.remainingMs(now);
  if (isApart(bytes)) writer.messageApart(number, command, remainingMs, kind, bytes, key);
  else writer.message(number, command, remainingMs, kind, payload, bytes, key);
}
