// Circuits of one link that came faster than the limit of opens a second. They are honest bursts as a rule, so they are not
// refused: their answer is held back until there is room, which slows down whoever dials. What comes on their streams
// meanwhile is kept, within the windows of the streams.

import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { guard } from '../../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';

/** The sink of a stream until it is decided who gets it. Keeps what comes. */
export class BufferingSink implements StreamSink {
  /** What comes is copied at once. */
  readonly keepsNothing = true;
  /** The peer has ended its half. */
  isEnded = false;
  private bytes: Buffer = NOTHING;
  private length = 0;

  /** @param onGone the stream is no more */
  constructor(
    first: Buffer,
    private readonly onGone: () => void,
  ) {
    this.keep(first);
  }

  /** All that has come. */
  get held(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  [kOnData](_stream: MuxStream, chunk: Buffer): void {
    this.keep(chunk);
  }

  [kOnEnd](): void {
    this.isEnded = true;
  }

  [kOnSent](): void {}

  [kOnReset](): void {
    this.bytes = NOTHING;
    this.length = 0;
    this.onGone();
  }

  /** In one piece, of at most twice its size: a peer may send it byte by byte. */
  private keep(chunk: Buffer): void {
    const length = this.length + chunk.length;
    if (length > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.length));
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    chunk.copy(this.bytes, this.length);
    this.length = length;
  }
}

const NOTHING = Buffer.alloc(0);

/** Who takes such an OPEN. */
export interface SlowOpens {
  readonly timers: Timers;
  /** Reads OPEN and answers it; false when not all of it is there. */
  tryOpen(stream: MuxStream, bytes: Buffer): boolean;
  /** It never came. */
  drop(stream: MuxStream): void;
  /** It has come, or is given up. */
  forget(slow: SlowOpen): void;
}

export class SlowOpen implements StreamSink, Timed {
  private bytes: Buffer | null = null;
  private isClosed = false;
  private readonly timer: Timer;

  constructor(
    private readonly acceptor: SlowOpens,
    private readonly stream: MuxStream,
    timeoutMs: number,
  ) {
    stream.sink = this;
    this.timer = acceptor.timers.schedule(timeoutMs, this);
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    // Copied: a few bytes must not keep a whole chunk of the transport. A malformed length is told before it is waited for.
    this.bytes = this.bytes === null ? Buffer.from(chunk) : Buffer.concat([this.bytes, chunk]);
    let isOpen = true;
    try {
      isOpen = this.acceptor.tryOpen(stream, this.bytes);
    } finally {
      // Also when a listener of the server has thrown: the circuit stands.
      if (isOpen) this.dispose();
    }
  }

  [kOnEnd](stream: MuxStream): void {
    this.dispose();
    this.acceptor.drop(stream);
  }

  [kOnSent](): void {}

  [kOnReset](): void {
    this.dispose();
  }

  onDeadline(): void {
    // A process that was busy looks first at what has arrived meanwhile.
    this.acceptor.timers.clock.setImmediate(() => {
      if (this.isClosed) return;
      this.dispose();
      this.acceptor.drop(this.stream);
    });
  }

  dispose(): void {
    this.isClosed = true;
    this.acceptor.timers.cancel(this.timer);
    this.acceptor.forget(this);
    this.bytes = null;
  }
}

export class OpenRate {
  private left: number;

  /** @param perSecond that many a second in the long run, at most twice as many in any one second */
  constructor(
    readonly perSecond: number,
    private filledAtMs: number,
  ) {
    this.left = perSecond;
  }

  /** @param clock in ms; only looked at when nothing is left */
  take(clock: { now(): number }): boolean {
    if (this.left < 1 && !this.fill(clock.now())) return false;
    this.left--;
    return true;
  }

  private fill(now: number): boolean {
    const { perSecond } = this;
    this.left = Math.min(perSecond, this.left + ((now - this.filledAtMs) * perSecond) / 1000);
    this.filledAtMs = now;
    return this.left >= 1;
  }
}

/** Those of that many seconds are held; a dial that would wait for longer is refused. */
const MAX_HELD_SECONDS = 2;

/** How often there is a look whether there is room, in ms, unless the rate is below one in that time. */
const CHECK_MS = 10;

/** Goes on with a circuit: `open` is a copy, `bytes` what has come behind it. */
export type AnswerOpen = (open: Open, bytes: Buffer) => void;

interface Held {
  readonly stream: MuxStream;
  readonly open: Open;
  readonly sink: BufferingSink;
  readonly answer: AnswerOpen;
}

export class HeldOpens implements Timed {
  /** In the order in which they came. */
  private readonly held = new Set<Held>();
  private timer: Timer | null = null;

  constructor(
    private readonly rate: OpenRate,
    private readonly timers: Timers,
  ) {}

  /** How many are held. */
  get size(): number {
    return this.held.size;
  }

  /** No more are held. */
  get isFull(): boolean {
    return this.held.size >= this.rate.perSecond * MAX_HELD_SECONDS;
  }

  /** Holds the circuit on `stream`, of which `rest` has come behind `open`, until the rate allows it. */
  hold(stream: MuxStream, open: Open, rest: Buffer, answer: AnswerOpen): void {
    // The bytes of an OPEN are used again.
    const proof = open.proof === undefined ? undefined : Buffer.from(open.proof);
    const kept: Open = { ...open, circuitId: Buffer.from(open.circuitId), proof };
    const held: Held = { stream, open: kept, sink: new BufferingSink(rest, () => this.held.delete(held)), answer };
    this.held.add(held);
    // The peer is to know that it is not the link that takes its time.
    stream.accept();
    stream.sink = held.sink;
    this.schedule();
  }

  /** The link is gone. */
  dispose(): void {
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
    this.held.clear();
  }

  onDeadline(): void {
    this.timer = null;
    for (const held of this.held) {
      if (!this.rate.take(this.timers)) break;
      this.held.delete(held);
      const { stream, open, sink, answer } = held;
      const { held: bytes, isEnded } = sink;
      guard(() => answer(open, bytes));
      if (isEnded) stream.sink[kOnEnd](stream);
    }
    if (this.held.size > 0) this.schedule();
  }

  private schedule(): void {
    this.timer ??= this.timers.schedule(Math.max(CHECK_MS, 1_000 / this.rate.perSecond), this);
  }
}
