// Two streams joined in the middle: what one end sends goes on to the other, and so do credit, half-close and reset. No
// Duplex, no timer, and nothing that is made per chunk: there are a hundred thousand of these, and every byte passes here.
//
// A reset drops what waits here, unless its sender has ended its half before: then all of that was sent in order, and the
// other end gets it and the end first, as it would over a direct link. Only such a circuit has a timer.
//
// Credit goes back to the sender for what the onward link has taken, so no more than a window waits here for each
// direction, whoever is slow. Nothing is ever done about the links themselves.

import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import { passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { RelayNeighbour, RelaySource } from './admission.js';
import type { Holder, RelayPool } from './pool.js';

/** What splices need of their relay. */
export interface SpliceHost {
  readonly pool: RelayPool;
  /** How far the receive window of a stream may grow. */
  readonly maxWindowBytes: number;
  /** How long a reader may take nothing of what its sender has ended before it was reset, in ms. */
  readonly drainTimeoutMs: number;
  readonly timers: Timers;
  readonly counters: { bytes: number };
  /** It is over. `reason`: of the reset, if it was one. */
  onSpliceOver(splice: Splice, reason: number): void;
}

/** One end was reset after it had ended its half: what waits for the other one, and then the reset. */
class Draining implements Timed {
  private hasProgressed = false;
  private timer: Timer;

  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
    /** The stream that is still to be written to. */
    readonly to: MuxStream,
    readonly reason: number,
    private readonly giveUp: () => void,
  ) {
    this.timer = timers.schedule(timeoutMs, this);
  }

  onProgress(): void {
    this.hasProgressed = true;
  }

  onDeadline(): void {
    if (!this.hasProgressed) return this.giveUp();
    this.hasProgressed = false;
    this.timer = this.timers.schedule(this.timeoutMs, this);
  }

  stop(): void {
    this.timers.cancel(this.timer);
  }
}

export class Splice implements StreamSink, Holder {
  /** For the pool alone, as the next two. */
  held = 0;
  next: Holder | null = null;
  previous: Holder | null = null;
  private isOver = false;
  private draining: Draining | null = null;

  constructor(
    private readonly host: SpliceHost,
    private readonly near: MuxStream,
    private readonly far: MuxStream,
    /** The neighbour that has opened it, and the one it goes on to. */
    readonly from: RelayNeighbour,
    readonly to: RelayNeighbour,
    readonly source: RelaySource,
  ) {}

  /** Ends it at once, in both directions. */
  reset(reason: number): void {
    if (this.isOver) return;
    this.finish(reason);
    this.near.reset(reason);
    this.far.reset(reason);
  }

  // --- the streams ---

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    // Nobody is left to read it, and no credit for it means that no more than a window comes.
    if (this.isOver || this.draining !== null) return;
    const { length } = chunk;
    this.host.counters.bytes += length;
    if (this.other(stream).forward(chunk)) stream.consumed(length);
    else this.host.pool.hold(this, length);
  }

  [kOnEnd](stream: MuxStream): void {
    this.other(stream).end();
    this.finishIfClosed();
  }

  [kOnSent](stream: MuxStream, bytes: number): void {
    this.host.pool.release(this, bytes);
    this.other(stream).consumed(bytes);
    if (this.draining === null) return;
    this.draining.onProgress();
    if (stream.queuedBytes === 0) this.endDraining(this.draining);
  }

  onClosed(): void {
    this.finishIfClosed();
  }

  [kOnReset](stream: MuxStream, _error: Error, reason: number): void {
    if (this.isOver) return;
    const onward = passedOn(reason);
    const other = this.other(stream);
    if (this.draining === null && stream.readEnded && other.queuedBytes > 0) {
      const { timers, drainTimeoutMs } = this.host;
      this.draining = new Draining(timers, drainTimeoutMs, other, onward, () => this.reset(onward));
      return;
    }
    this.finish(onward);
    other.reset(onward);
  }

  /** What is not sent at once is copied. */
  get keepsNothing(): boolean {
    return true;
  }

  growthLimit(): number {
    return this.host.pool.mayGrow(this) ? this.host.maxWindowBytes : 0;
  }

  private other(stream: MuxStream): MuxStream {
    return stream === this.near ? this.far : this.near;
  }

  /** Both halves of both streams have ended. What a link has not confirmed yet is on its way all the same. */
  private finishIfClosed(): void {
    if (this.isOver || !this.near.isClosed || !this.far.isClosed) return;
    this.finish(ResetReason.NONE);
    // Nothing counts as unread any more.
    this.near.reset();
    this.far.reset();
  }

  /** All that was sent before the end is with the link, and so is the end. */
  private endDraining({ to, reason }: Draining): void {
    this.finish(reason);
    to.reset(reason);
  }

  private finish(reason: number): void {
    this.isOver = true;
    this.draining?.stop();
    this.draining = null;
    this.host.onSpliceOver(this, reason);
  }
}
