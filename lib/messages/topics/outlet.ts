// One direction of a circuit: messages with numbers that are kept until the other end has confirmed them, so that they can be sent again
// over another circuit. What is kept has a bound.

import type { Socket } from '../../socket/socket.js';
import { DATA_HEAD_BYTES, FRAME_HEAD_BYTES, MESSAGE_HEAD_BYTES, writeDataHead } from './codec/layout.js';

const HEAD_BYTES = FRAME_HEAD_BYTES + DATA_HEAD_BYTES;
/** Shorter frames are copied, head and messages, into one piece; longer ones refer to the memory of the writer. */
const COPIED_BYTES = 16 * 1024;
/** A frame gets no longer by further messages. */
const MAX_FRAME_BYTES = 64 * 1024;
/** What a frame costs besides its bytes, for the bound. */
const FRAME_COST = 128;

/** Messages side by side in the memory of the writer, which have not become a frame. */
interface Run {
  readonly buffer: Buffer;
  readonly start: number;
  end: number;
  readonly first: number;
  count: number;
  readonly mask: number;
}

/** Messages with consecutive numbers. */
interface Frame {
  readonly first: number;
  readonly count: number;
  readonly mask: number;
  /** The whole frame, or its head when `body` is set. */
  readonly head: Buffer;
  readonly body: Buffer | undefined;
  readonly cost: number;
}

/** Messages that were not confirmed, as they are handed back at the end. */
export interface Leftover {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  readonly sequence: number;
  readonly mask: number;
  /** Whether the other end may have it. */
  readonly wasSent: boolean;
}

/** What is dropped when a bound is reached: the new message, or the oldest. */
export type FullPolicy = 'drop-newest' | 'drop-oldest';

export class Outlet {
  /** Bytes that are not confirmed, and not in a frame yet. */
  bytes = 0;
  /** Messages that are not confirmed. */
  pending = 0;
  /** How many were dropped. */
  dropped = 0;
  private readonly pendingByBit = new Int32Array(32);
  private last: number;
  private confirmedUpTo: number;
  private runs: Run[] = [];
  /** Frames from `head` on; those before `unsent` were written. */
  private frames: Frame[] = [];
  private head = 0;
  private unsent = 0;
  /** Of the frames that were written and are not confirmed. */
  private sentBytes = 0;
  private sentUpTo: number;

  constructor(
    private readonly maxBytes: number,
    private readonly whenFull: FullPolicy,
    /** Called with the number of messages that were dropped. */
    private readonly onDropped: (count: number) => void,
    /** The number before that of the first message. */
    private readonly start = 0,
  ) {
    this.last = start;
    this.confirmedUpTo = start;
    this.sentUpTo = start;
  }

  /** The number of the last message. */
  get lastSequence(): number {
    return this.last;
  }

  /** Whether the other end may have any message. */
  get hasSent(): boolean {
    return this.sentUpTo > this.start;
  }

  /** The number of the last message that the other end may have. */
  get sentSequence(): number {
    return this.sentUpTo;
  }

  /** All messages up to that number are confirmed, or were dropped. */
  get confirmed(): number {
    return this.confirmedUpTo;
  }

  /** Whether nothing is kept. */
  get isEmpty(): boolean {
    return this.head === this.frames.length && this.runs.length === 0;
  }

  /** Whether everything was written to the current circuit. */
  get isSent(): boolean {
    return this.unsent === this.frames.length && this.runs.length === 0;
  }

  /** The messages of a new session follow this number. */
  get base(): number {
    if (this.unsent < this.frames.length) return this.frames[this.unsent].first - 1;
    return this.runs.length > 0 ? this.runs[0].first - 1 : this.last;
  }

  /** Called when the other end has certainly not got what follows that number. */
  limitSent(sequence: number): void {
    this.sentUpTo = Math.max(this.confirmedUpTo, Math.min(this.sentUpTo, sequence));
  }

  /** Messages of a mask of one bit that are not confirmed. */
  pendingOf(mask: number): number {
    return this.pendingByBit[31 - Math.clz32(mask)];
  }

  /** Whether the other end may have the message of that number. */
  wasSent(sequence: number): boolean {
    return sequence <= this.sentUpTo;
  }

  /** Adds a message of the writer. Returns its number; 0 when it was dropped. */
  append(buffer: Buffer, start: number, end: number, mask: number): number {
    if (this.bytes + (end - start) > this.maxBytes && !this.makeRoom(end - start)) {
      // The number is used up, so that the other end notices.
      this.last++;
      this.onLost(1);
      return 0;
    }
    const sequence = ++this.last;
    this.pending++;
    this.count(mask, 1);
    this.bytes += end - start;
    const { runs } = this;
    const run = runs.length === 0 ? undefined : runs[runs.length - 1];
    if (
      run !== undefined &&
      run.buffer === buffer &&
      run.end === start &&
      run.mask === mask &&
      run.first + run.count === sequence &&
      end - run.start <= MAX_FRAME_BYTES
    ) {
      run.end = end;
      run.count++;
    } else runs.push({ buffer, start, end, first: sequence, count: 1, mask });
    return sequence;
  }

  /** Makes frames of what was added since the last time. */
  seal(): void {
    const { runs } = this;
    if (runs.length === 0) return;
    this.runs = [];
    for (let at = 0; at < runs.length; ) at = this.sealFrom(runs, at);
  }

  /** Writes what was not written to this circuit, as long as it takes it. */
  send(socket: Socket): void {
    const { frames } = this;
    // Half of the bound stays for what can still be dropped.
    const most = this.maxBytes >> 1;
    while (this.unsent < frames.length && this.sentBytes < most && !socket.writableNeedDrain) {
      const frame = frames[this.unsent++];
      this.sentBytes += frame.cost;
      this.sentUpTo = frame.first + frame.count - 1;
      socket.write(frame.head);
      if (frame.body !== undefined) socket.write(frame.body);
    }
  }

  /** Called when the other end has confirmed everything up to that number. Returns false when it cannot have. */
  confirm(sequence: number): boolean {
    if (sequence <= this.confirmedUpTo) return true;
    if (sequence > this.sentUpTo) return false;
    this.confirmedUpTo = sequence;
    const { frames } = this;
    while (this.head < this.unsent) {
      const { first, count, cost, mask } = frames[this.head];
      if (first + count - 1 > sequence) break;
      this.bytes -= cost;
      this.sentBytes -= cost;
      this.pending -= count;
      this.count(mask, -count);
      (frames as Array<Frame | undefined>)[this.head++] = undefined;
    }
    if (this.head === frames.length) {
      this.frames = [];
      this.head = 0;
      this.unsent = 0;
      if (this.runs.length === 0) this.confirmedUpTo = this.last;
    } else if (this.head > 1_024 && this.head * 2 > frames.length) {
      frames.splice(0, this.head);
      this.unsent -= this.head;
      this.head = 0;
    }
    return true;
  }

  /** Called when another circuit continues: the other end has got everything up to that number. */
  resume(received: number): boolean {
    if (received > this.sentUpTo) return false;
    const { frames } = this;
    this.unsent = this.head;
    this.sentBytes = 0;
    while (this.unsent < frames.length) {
      const { first, count, cost } = frames[this.unsent];
      if (first + count - 1 > received) break;
      this.sentBytes += cost;
      this.unsent++;
    }
    return true;
  }

  /** Hands back what is not confirmed, and forgets it. */
  takeLeftovers(): Leftover[] {
    this.seal();
    const leftovers: Leftover[] = [];
    for (let index = this.head; index < this.frames.length; index++) {
      const frame = this.frames[index];
      const bytes = frame.body ?? frame.head;
      let start = frame.body === undefined ? HEAD_BYTES : 0;
      for (let number = 0; number < frame.count; number++) {
        const end = start + MESSAGE_HEAD_BYTES + bytes.readUInt32LE(start + 2);
        const sequence = frame.first + number;
        const wasSent = sequence <= this.sentUpTo;
        if (sequence > this.confirmedUpTo)
          leftovers.push({ buffer: bytes, start, end, sequence, mask: frame.mask, wasSent });
        start = end;
      }
    }
    this.forget();
    return leftovers;
  }

  private forget(): void {
    this.frames = [];
    this.head = 0;
    this.unsent = 0;
    this.bytes = 0;
    this.sentBytes = 0;
    this.pending = 0;
    this.pendingByBit.fill(0);
    this.confirmedUpTo = this.last;
    this.sentUpTo = this.last;
  }

  /** Counts messages of a mask, which has one bit nearly always. */
  private count(mask: number, count: number): void {
    let left = mask;
    while (left !== 0) {
      const bit = 31 - Math.clz32(left);
      this.pendingByBit[bit] += count;
      left &= ~(1 << bit);
    }
  }

  private makeRoom(bytes: number): boolean {
    if (this.whenFull === 'drop-newest') return false;
    this.seal();
    const { frames } = this;
    let count = 0;
    let drop = 0;
    while (this.bytes + bytes > this.maxBytes && this.unsent + drop < frames.length) {
      const frame = frames[this.unsent + drop++];
      this.bytes -= frame.cost;
      count += frame.count;
      this.count(frame.mask, -frame.count);
    }
    if (drop > 0) {
      frames.splice(this.unsent, drop);
      this.pending -= count;
      this.onLost(count);
    }
    return this.bytes + bytes <= this.maxBytes;
  }

  private onLost(count: number): void {
    this.dropped += count;
    this.onDropped(count);
  }

  /** Makes a frame of the runs from `at` on whose numbers follow each other. Returns the index of the next one. */
  private sealFrom(runs: readonly Run[], at: number): number {
    const [{ first, mask, buffer, start, end }] = [runs[at]];
    let next = at + 1;
    let length = end - start;
    let { count } = runs[at];
    while (next < runs.length && runs[next].mask === mask && runs[next].first === first + count) {
      const more = runs[next].end - runs[next].start;
      if (length + more > MAX_FRAME_BYTES) break;
      length += more;
      count += runs[next].count;
      next++;
    }
    const isCopied = next > at + 1 || length <= COPIED_BYTES;
    const head = Buffer.allocUnsafe(isCopied ? HEAD_BYTES + length : HEAD_BYTES);
    writeDataHead(head, length, first, mask);
    let body: Buffer | undefined;
    if (isCopied) {
      let to = HEAD_BYTES;
      for (let index = at; index < next; index++) {
        const run = runs[index];
        run.buffer.copy(head, to, run.start, run.end);
        to += run.end - run.start;
      }
    } else body = buffer.subarray(start, end);
    this.frames.push({ first, count, mask, head, body, cost: length + FRAME_COST });
    this.bytes += FRAME_COST;
    return next;
  }
}
