// Circuits of one link that came faster than the limit of opens a second. They are honest bursts as a rule, so they are not
// refused: their answer is held back until there is room, which slows down whoever dials. What comes on their streams
// meanwhile is kept, within the windows of the streams.

import { kOnEnd } from '../../mux/hidden.js';
import type { MuxStream } from '../../mux/stream/stream.js';
import { guard } from '../../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';
import { Undecided } from './decisions.js';
import type { OpenRate } from './open-rate.js';

/** Those of that many seconds are held; a dial that would wait for longer is refused. */
const MAX_HELD_SECONDS = 2;

/** How often there is a look whether there is room, in ms, unless the rate is below one in that time. */
const CHECK_MS = 10;

/** Goes on with a circuit: `open` is a copy, `bytes` what has come behind it. */
export type AnswerOpen = (open: Open, bytes: Buffer) => void;

interface Held {
  readonly stream: MuxStream;
  readonly open: Open;
  readonly sink: Undecided;
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
    const held: Held = { stream, open: kept, sink: new Undecided(rest, () => this.held.delete(held)), answer };
    this.held.add(held);
    // The peer is to know that it is not the link that takes its time.
    stream.accept();
    stream.sink = held.sink;
    this.schedule();
  }

  /** The link is gone. */
  stop(): void {
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
