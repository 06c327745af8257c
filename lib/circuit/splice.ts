// Two streams joined in the middle: what one end sends goes on to the other, and so do credit, half-close and reset. No
// Duplex, no timer, and nothing that is made per chunk: there are a hundred thousand of these, and every byte passes here.
//
// Credit goes back to the sender for what the onward link has taken, so no more than a window waits here for each
// direction, whoever is slow. Nothing is ever done about the links themselves.

import type { MuxStream, StreamSink } from '../mux/mux-stream.js';
import { passedOn, ResetReason } from '../mux/reset-reason.js';
import type { RelayNeighbour, RelaySource } from './admission.js';
import type { Holder, RelayPool } from './relay-pool.js';

/** What splices need of their relay. */
export interface SpliceHost {
  readonly pool: RelayPool;
  /** How far the receive window of a stream may grow. */
  readonly maxWindowBytes: number;
  readonly counters: { bytes: number };
  /** It is over. `reason`: of the reset, if it was one. */
  onSpliceOver(splice: Splice, reason: number): void;
}

export class Splice implements StreamSink, Holder {
  /** For the pool alone, as the next two. */
  held = 0;
  next: Holder | null = null;
  previous: Holder | null = null;
  private isOver = false;

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

  onData(stream: MuxStream, chunk: Buffer): void {
    if (this.isOver) return;
    const { length } = chunk;
    this.host.counters.bytes += length;
    if (this.other(stream).forward(chunk)) stream.consumed(length);
    else this.host.pool.hold(this, length);
  }

  onEnd(stream: MuxStream): void {
    this.other(stream).end();
    this.finishIfClosed();
  }

  onSent(stream: MuxStream, bytes: number): void {
    this.host.pool.release(this, bytes);
    this.other(stream).consumed(bytes);
  }

  onClosed(): void {
    this.finishIfClosed();
  }

  onReset(stream: MuxStream, _error: Error, reason: number): void {
    if (this.isOver) return;
    const onward = passedOn(reason);
    this.finish(onward);
    this.other(stream).reset(onward);
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

  private finish(reason: number): void {
    this.isOver = true;
    this.host.onSpliceOver(this, reason);
  }
}
