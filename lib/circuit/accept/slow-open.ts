// An OPEN that has not arrived as a whole: waits for the rest, and not for ever.

import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';

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
  private isStopped = false;
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
      if (isOpen) this.stop();
    }
  }

  [kOnEnd](stream: MuxStream): void {
    this.stop();
    this.acceptor.drop(stream);
  }

  [kOnSent](): void {}

  [kOnReset](): void {
    this.stop();
  }

  onDeadline(): void {
    // A process that was busy looks first at what has arrived meanwhile.
    this.acceptor.timers.clock.setImmediate(() => {
      if (this.isStopped) return;
      this.stop();
      this.acceptor.drop(this.stream);
    });
  }

  stop(): void {
    this.isStopped = true;
    this.acceptor.timers.cancel(this.timer);
    this.acceptor.forget(this);
    this.bytes = null;
  }
}
