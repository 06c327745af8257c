// When routes are computed again after a change: soon after the first one, later when more keep coming, and soon again after
// a calm time. Changes come in bursts, and each run applies all of them (after the SPF back-off of RFC 8405).

import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';

export interface SpfDelays {
  readonly firstMs: number;
  /** Between runs, until changes have gone on for `stormMs`. */
  readonly shortMs: number;
  /** Between runs after that. */
  readonly longMs: number;
  readonly stormMs: number;
  /** After this time without a change, the next one is a first one. */
  readonly calmMs: number;
}

export const DEFAULT_DELAYS: SpfDelays = { firstMs: 20, shortMs: 100, longMs: 1000, stormMs: 500, calmMs: 5000 };

/** A run costs in proportion to the mesh: a pause of 1 ms for each of this many nodes is enough, however long the storm. */
const NODES_PER_MS = 4;

export class SpfThrottle {
  private readonly deadline: Deadline;
  private lastChangeMs = Number.NEGATIVE_INFINITY;
  private firstChangeMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly timers: Timers,
    private readonly delays: SpfDelays,
    run: () => void,
  ) {
    this.deadline = new Deadline(timers, run);
  }

  /** Called after a change, in a mesh of this many nodes. */
  onChange(nodes: number): void {
    const now = this.timers.now();
    const isFirst = now - this.lastChangeMs >= this.delays.calmMs;
    if (isFirst) this.firstChangeMs = now;
    this.lastChangeMs = now;
    if (!this.deadline.isSet) this.deadline.set(isFirst ? this.delays.firstMs : this.pause(now, nodes));
  }

  /** Called when a run was made, or none is needed any more. */
  cancel(): void {
    this.deadline.clear();
  }

  private pause(now: number, nodes: number): number {
    const { shortMs, longMs, stormMs } = this.delays;
    if (now - this.firstChangeMs < stormMs) return shortMs;
    return Math.min(longMs, Math.max(shortMs, nodes / NODES_PER_MS));
  }
}
