// Two streams joined in the middle: what one end sends goes on to the other, and so do credit, half-close and reset. There is no
// Duplex, no timer, and no allocation per chunk: a relay has a hundred thousand splices, and every byte passes through one.
//
// A reset drops what waits here, unless its sender had ended its half before: then the other end gets all of that first, as over a
// direct link. Only such a circuit has a timer.
//
// Credit for what the onward link has taken is returned to the sender, so no more than a window waits here for each direction,
// whichever end is slow. The links themselves are never stopped.

import type { NodeId } from '../../address.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import { isOfMembership, passedOn, ResetReason } from '../../mux/stream/resets.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { RelayNeighbour, RelaySource } from './admission.js';
import type { Holder } from './pool.js';
import type { Relay } from './relay.js';

/** One end was reset after it had ended its half: the other end gets what waits for it, and then the reset. */
class Draining implements Timed {
  private hasProgressed = false;
  private timer: Timer;

  constructor(
    private readonly timers: Timers,
    private readonly timeoutMs: number,
    /** The stream that is still written to. */
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

  dispose(): void {
    this.timers.cancel(this.timer);
  }
}

export class Splice implements StreamSink, Holder {
  /** Only the pool uses this field and the next two. */
  held = 0;
  next: Holder | null = null;
  previous: Holder | null = null;
  private isClosed = false;
  private draining: Draining | null = null;

  constructor(
    private readonly relay: Relay,
    readonly near: MuxStream,
    readonly far: MuxStream,
    /** The neighbour that has opened the circuit, and the next one. */
    readonly from: RelayNeighbour,
    readonly to: RelayNeighbour,
    readonly source: RelaySource,
  ) {}

  /** Ends the circuit at once, in both directions. */
  reset(reason: number): void {
    if (this.isClosed) return;
    this.finish(reason);
    this.near.reset(reason);
    this.far.reset(reason);
  }

  // --- the streams ---

  [kOnData](stream: MuxStream, chunk: Buffer): void {
    // No reader is left; without credit no more than a window comes.
    if (this.isClosed || this.draining !== null) return;
    const { length } = chunk;
    this.relay.counters.bytes += length;
    if (this.other(stream).forward(chunk)) stream.consumed(length);
    else this.relay.pool.hold(this, length);
  }

  [kOnEnd](stream: MuxStream): void {
    this.other(stream).end();
    this.finishIfClosed();
  }

  [kOnSent](stream: MuxStream, bytes: number): void {
    this.relay.pool.release(this, bytes);
    this.other(stream).consumed(bytes);
    if (this.draining === null) return;
    this.draining.onProgress();
    if (stream.queuedBytes === 0) this.endDraining(this.draining);
  }

  onClosed(): void {
    this.finishIfClosed();
  }

  [kOnReset](stream: MuxStream, _error: Error, reason: number): void {
    if (this.isClosed) return;
    const onward = passedOn(reason);
    const other = this.other(stream);
    if (this.draining === null && stream.readEnded && other.queuedBytes > 0 && !isOfMembership(reason)) {
      const { timers, drainTimeoutMs } = this.relay;
      this.draining = new Draining(timers, drainTimeoutMs, other, onward, () => this.reset(onward));
      return;
    }
    this.finish(onward);
    other.reset(onward);
  }

  /** The sink copies what it cannot send at once. */
  get keepsNothing(): boolean {
    return true;
  }

  growthLimit(): number {
    return this.relay.pool.mayGrow(this) ? this.relay.maxWindowBytes : 0;
  }

  private other(stream: MuxStream): MuxStream {
    return stream === this.near ? this.far : this.near;
  }

  /** Ends the circuit when both halves of both streams have ended. What a link has not confirmed yet is on its way all the same. */
  private finishIfClosed(): void {
    if (this.isClosed || !this.near.isClosed || !this.far.isClosed) return;
    this.finish(ResetReason.NONE);
    // Nothing counts as unread any more.
    this.near.reset();
    this.far.reset();
  }

  /** The link has taken all that was sent before the end, and the end. */
  private endDraining({ to, reason }: Draining): void {
    this.finish(reason);
    to.reset(reason);
  }

  private finish(reason: number): void {
    this.isClosed = true;
    this.draining?.dispose();
    this.draining = null;
    this.relay.onSpliceEnd(this, reason);
  }
}

/** A splice in a network with members: it ends with the membership of the node at either end. */
export class MemberSplice extends Splice {
  constructor(
    relay: Relay,
    near: MuxStream,
    far: MuxStream,
    from: RelayNeighbour,
    to: RelayNeighbour,
    source: RelaySource,
    /** The node at the other end. */
    readonly destination: NodeId,
  ) {
    super(relay, near, far, from, to, source);
  }

  destroy(_error: Error, reason: number): void {
    this.reset(reason);
  }
}
