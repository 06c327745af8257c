// When routes are computed anew after a change: soon after the first one, later when more keep coming, and soon again
// once it has been calm. Changes come in bursts, and each run takes in all there are (after RFC 8405).

import type { Timed, Timer, Timers } from '../../util/timers.js';

export interface RunDelays {
  readonly firstMs: number;
  /** Between runs, until it has gone on for `stormMs`. */
  readonly shortMs: number;
  /** Between runs from then on. */
  readonly longMs: number;
  readonly stormMs: number;
  /** So long without a change, and the next one is a first one. */
  readonly calmMs: number;
}

export const DEFAULT_DELAYS: RunDelays = { firstMs: 20, shortMs: 100, longMs: 1000, stormMs: 500, calmMs: 5000 };

/** A run costs in proportion to the mesh, so up to this many nodes for each ms a storm does not slow runs down further. */
const NODES_PER_MS = 4;

export class RunDelay implements Timed {
  private timer: Timer | undefined;
  private lastChangeMs = Number.NEGATIVE_INFINITY;
  private firstChangeMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly timers: Timers,
    private readonly delays: RunDelays,
    private readonly run: () => void,
  ) {}

  /** Something has changed in a mesh of so many nodes. */
  onChange(nodes: number): void {
    const now = this.timers.now();
    const isFirst = now - this.lastChangeMs >= this.delays.calmMs;
    if (isFirst) this.firstChangeMs = now;
    this.lastChangeMs = now;
    if (this.timer !== undefined) return;
    this.timer = this.timers.schedule(isFirst ? this.delays.firstMs : this.pause(now, nodes), this);
  }

  /** A run has been made, or none is wanted any more. */
  cancel(): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.timer = undefined;
    this.run();
  }

  private pause(now: number, nodes: number): number {
    const { shortMs, longMs, stormMs } = this.delays;
    if (now - this.firstChangeMs < stormMs) return shortMs;
    return Math.min(longMs, Math.max(shortMs, nodes / NODES_PER_MS));
  }
}
