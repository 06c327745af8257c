// The option `prepare` of bind: what has to succeed before a circuit is accepted. The circuit waits, and is refused when it fails, so that
// the dial can try another instance.

import type { AllowRequest } from '../../options/allow.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { IncomingCircuit } from './pending-open.js';

/**
 * Prepares for a circuit; see BindOptions. The signal is aborted when the circuit has ended, or is refused after all, before its socket
 * exists: then nobody gets the value.
 */
export type Prepare = (request: AllowRequest, signal: AbortSignal) => unknown;

/** The preparation for one circuit. */
export class Preparation implements Timed {
  /** What `prepare` has resolved with. */
  value: unknown;
  private readonly aborter = new AbortController();
  private timer: Timer | undefined;
  private isDecided = false;

  constructor(
    private readonly timers: Timers,
    /** Called once with the reason of a refusal, or undefined. Not after abandon(). */
    private readonly onEnd: (refusal: string | undefined) => void,
  ) {}

  start(prepare: Prepare, request: AllowRequest, timeoutMs: number): void {
    this.timer = this.timers.schedule(timeoutMs, this);
    new Promise((resolve) => resolve(prepare(request, this.aborter.signal))).then(
      (value) => {
        if (this.isDecided) return;
        this.value = value;
        this.decide(undefined);
      },
      (error) => {
        if (!this.isDecided) this.decide(error instanceof Error ? error.message : String(error));
      },
    );
  }

  /** The circuit has no use for it any more. */
  abandon(): void {
    this.stop();
    this.aborter.abort();
  }

  onDeadline(): void {
    this.timer = undefined;
    this.timers.afterInput(() => {
      if (this.isDecided) return;
      this.decide('the server was not prepared in time');
      this.aborter.abort();
    });
  }

  private decide(refusal: string | undefined): void {
    this.stop();
    try {
      this.onEnd(refusal);
    } catch (error) {
      // Thrown by a listener of the user.
      throwLater(error);
    }
  }

  private stop(): void {
    this.isDecided = true;
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }
}

/** Circuits of one link that wait for their server. */
export class PendingPreparations {
  private readonly waiting = new Set<IncomingCircuit>();

  constructor(private readonly timers: Timers) {}

  get size(): number {
    return this.waiting.size;
  }

  /** The circuits that wait. */
  circuits(): Iterable<IncomingCircuit> {
    return this.waiting;
  }

  /** @param onEnd called later with the reason of a refusal, or undefined; not when the stream is reset before */
  start(
    circuit: IncomingCircuit,
    prepare: Prepare,
    request: AllowRequest,
    timeoutMs: number,
    onEnd: (refusal: string | undefined) => void,
  ): void {
    const preparation = new Preparation(this.timers, (refusal) => {
      this.waiting.delete(circuit);
      onEnd(refusal);
    });
    circuit.preparation = preparation;
    this.waiting.add(circuit);
    circuit.wait(() => {
      this.waiting.delete(circuit);
      preparation.abandon();
    });
    preparation.start(prepare, request, timeoutMs);
  }
}
