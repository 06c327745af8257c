// Circuits of one link that are put to `allow`. Mostly the answer is there at once; while it is awaited, a small sink keeps
// what comes, within the window of the stream.

import type { Decision, Guard, Verdict } from '../../access/guard.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { AllowRequest } from '../../options/allow.js';
import type { CircuitAccess } from './circuit-access.js';

export class Decisions {
  private count = 0;

  constructor(private readonly access: CircuitAccess) {}

  /** How many are awaited. */
  get waiting(): number {
    return this.count;
  }

  /** No more can be asked about. */
  get isFull(): boolean {
    return this.count >= this.access.maxPending;
  }

  /**
   * Asks about the circuit on `stream`, of which `rest` has come behind OPEN. Tells the verdict, with all that has come by
   * then, maybe before it returns; not when the stream has gone meanwhile.
   */
  ask(
    guards: readonly Guard[],
    request: AllowRequest,
    remainingMs: number | undefined,
    stream: MuxStream,
    rest: Buffer,
    tell: (verdict: Verdict, bytes: Buffer) => void,
  ): void {
    let undecided: Undecided | undefined;
    const decision: Decision = this.access.decide(guards, request, remainingMs, (verdict) => {
      if (undecided === undefined) {
        tell(verdict, rest);
        return;
      }
      this.count--;
      const { held, isEnded } = undecided;
      try {
        tell(verdict, held);
      } finally {
        // Also when a listener of the server has thrown: the circuit stands.
        if (isEnded) stream.sink[kOnEnd](stream);
      }
    });
    if (decision.start()) return;
    this.count++;
    undecided = new Undecided(rest, () => {
      this.count--;
      decision.cancel();
    });
    // The peer is to know that it is not the link that takes its time.
    stream.accept();
    stream.sink = undecided;
  }
}

/** The sink of a stream until it is decided who gets it. Keeps what comes. */
export class Undecided implements StreamSink {
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
