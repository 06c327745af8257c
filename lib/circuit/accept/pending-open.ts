// Circuits that are not answered in the turn in which they come in. SlowOpen waits for the rest of an OPEN. IncomingCircuit is one
// whose OPEN is there: it keeps what comes on its stream while it waits, in this order, for the rate limit (HeldOpens, here), for
// the check of its proof (ProofQueue, secure/confirmation.ts) and for its authorization (PendingAuthorizations, authorization.ts).

import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { RemoteEndpoint } from '../../socket/endpoints.js';
import { Deadline } from '../../util/deadline.js';
import { guard } from '../../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Open } from '../../wire/open.js';
import type { Binding } from '../bindings.js';
import type { AcceptHandshake } from '../secure/handshake.js';
import type { AcceptTrace } from '../trace/accept-trace.js';
import type { Acceptor } from './acceptor.js';
import type { Preparation } from './preparation.js';

const NOTHING = Buffer.alloc(0);

/** A circuit to this node that is not accepted at once. Sink of its stream once it waits. */
export class IncomingCircuit implements StreamSink {
  /** What comes is copied at once. */
  readonly keepsNothing = true;
  /** The server that is bound where the circuit leads; undefined while the rate limit holds it. */
  binding: Binding | undefined;
  /** What the dialler's proof has shown, once it is checked, if the circuit is encrypted. */
  handshake: AcceptHandshake | undefined;
  /** Null when nobody watches. */
  trace: AcceptTrace | null = null;
  /** What is prepared for it, if its server prepares something. */
  preparation: Preparation | undefined;
  /** Whether the peer has ended its half. */
  isEnded = false;
  private bytes: Buffer;
  private length: number;
  /** Null until it waits. */
  private onGone: (() => void) | null = null;

  /** @param rest came behind `open`; it may be used again unless the circuit waits */
  constructor(
    readonly stream: MuxStream,
    public open: Open,
    public remote: RemoteEndpoint,
    /** Whether the dialler may dial names: it shares an env with this node. */
    readonly namesMeet: boolean,
    rest: Buffer,
  ) {
    this.bytes = rest;
    this.length = rest.length;
  }

  /** All that has come behind OPEN. */
  get received(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  /** Keeps what comes from now on. `onGone` is called when the stream is reset; it replaces that of the wait before. */
  wait(onGone: () => void): void {
    if (this.onGone === null) {
      const { open, stream, received } = this;
      // The bytes of an OPEN, and those behind it, are used again.
      const proof = open.proof === undefined ? undefined : Buffer.from(open.proof);
      // The trace context has been read.
      this.open = { ...open, circuitId: Buffer.from(open.circuitId), proof, trace: undefined };
      this.bytes = NOTHING;
      this.length = 0;
      this.keep(received);
      // So that the peer knows that the link is not the reason for the delay.
      stream.accept();
      stream.sink = this;
    }
    this.onGone = onGone;
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
    this.onGone?.();
  }

  /** Keeps it in one piece of at most twice its size: a peer may send it byte by byte. */
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

/** An OPEN that has not arrived as a whole: waits for the rest, up to a deadline. */
export class SlowOpen implements StreamSink, Timed {
  private bytes: Buffer | null = null;
  private isClosed = false;
  private readonly timer: Timer;

  constructor(
    private readonly acceptor: Acceptor,
    private readonly stream: MuxStream,
    timeoutMs: number,
  ) {
    stream.sink = this;
    this.timer = acceptor.timers.schedule(timeoutMs, this);
  }

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    // Copied: a few bytes must not keep a whole chunk of the transport. A malformed length is refused before it is waited for.
    this.bytes = this.bytes === null ? Buffer.from(chunk) : Buffer.concat([this.bytes, chunk]);
    let isOpen = true;
    try {
      isOpen = this.acceptor.tryOpen(stream, this.bytes);
    } finally {
      // Also when a listener of the server has thrown: the circuit is open.
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
    this.acceptor.timers.afterInput(() => {
      if (this.isClosed) return;
      this.dispose();
      this.acceptor.drop(this.stream);
    });
  }

  dispose(): void {
    this.isClosed = true;
    this.acceptor.timers.cancel(this.timer);
    this.acceptor.onSlowOpenEnd(this);
    this.bytes = null;
  }
}

/**
 * Limits how many circuits a second one link may open to services of this node. Counts down, so that an OPEN costs a look at the
 * clock only once in as many as may come in a second. A TokenBucket looks at it each time, and rounds up to whole
 * milliseconds, so it never allows more than 1,000 a second.
 */
export class OpenRate {
  private left: number;

  /** @param perSecond opens a second in the long run; at most twice as many in any one second */
  constructor(
    readonly perSecond: number,
    private filledAtMs: number,
  ) {
    this.left = perSecond;
  }

  /** @param clock in ms; read only when nothing is left */
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

/** Circuits of this many seconds are held; a dial that would wait for longer is refused. */
const MAX_HELD_SECONDS = 2;

/** How often the queue checks whether there is room, in ms, unless the rate is below one in that time. */
const CHECK_MS = 10;

/**
 * The circuits of one link that came faster than the rate limit. They are honest bursts as a rule, so they are not refused: their
 * answer is held back until there is room, which slows down the dialler.
 */
export class HeldOpens {
  /** In the order in which they came. */
  private readonly held = new Set<IncomingCircuit>();
  private readonly deadline: Deadline;

  /** @param answer goes on with a circuit that the rate allows */
  constructor(
    private readonly rate: OpenRate,
    private readonly timers: Timers,
    private readonly answer: (circuit: IncomingCircuit) => void,
  ) {
    this.deadline = new Deadline(timers, () => this.release());
  }

  get size(): number {
    return this.held.size;
  }

  /** The circuits that are held. */
  circuits(): Iterable<IncomingCircuit> {
    return this.held;
  }

  /** Whether no more circuits are held. */
  get isFull(): boolean {
    return this.held.size >= this.rate.perSecond * MAX_HELD_SECONDS;
  }

  /** Holds the circuit until the rate allows it. */
  hold(circuit: IncomingCircuit): void {
    this.held.add(circuit);
    circuit.wait(() => this.held.delete(circuit));
    this.schedule();
  }

  /** Called when the link is gone. */
  dispose(): void {
    this.deadline.clear();
    this.held.clear();
  }

  private release(): void {
    for (const circuit of this.held) {
      if (!this.rate.take(this.timers)) break;
      this.held.delete(circuit);
      guard(() => this.answer(circuit));
    }
    if (this.held.size > 0) this.schedule();
  }

  private schedule(): void {
    if (!this.deadline.isSet) this.deadline.set(Math.max(CHECK_MS, 1_000 / this.rate.perSecond));
  }
}
