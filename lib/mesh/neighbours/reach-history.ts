// How many nodes this one has reached of late: whether the network has just lost many of them at once, or has found many
// again.

import { REST_SLACK_MS, type Timed, type Timer } from '../../util/timers.js';
import type { MeshEnvironment } from '../ports/mesh-environment.js';
import type { MeshView } from '../ports/mesh-view.js';

const SAMPLE_MS = 5_000;
/** This part of the nodes has to go or come... */
const SHARE = 0.2;
/** ...within this time, in ms, */
const WINDOW_MS = 60_000;
/** and that counts for so long, in ms. */
const MEMORY_MS = 600_000;

export class ReachHistory implements Timed {
  private timer: Timer | undefined;
  private readonly samples: number[] = [];
  private fellMs = Number.NEGATIVE_INFINITY;
  private grewMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly view: MeshView,
  ) {}

  /** Many nodes have gone at once, not long ago. */
  get hasFallen(): boolean {
    return this.environment.timers.now() - this.fellMs < MEMORY_MS;
  }

  /** Many nodes have come at once, not long ago. */
  get hasGrown(): boolean {
    return this.environment.timers.now() - this.grewMs < MEMORY_MS;
  }

  start(): void {
    this.onDeadline();
  }

  stop(): void {
    if (this.timer !== undefined) this.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    const { environment, samples, view } = this;
    const now = environment.timers.now();
    const { reachable } = view;
    samples.push(reachable);
    if (samples.length > WINDOW_MS / SAMPLE_MS + 1) samples.shift();
    if (reachable < Math.max(...samples) * (1 - SHARE)) this.fellMs = now;
    if (reachable * (1 - SHARE) > Math.min(...samples)) this.grewMs = now;
    this.timer = environment.timers.schedule(SAMPLE_MS, this, REST_SLACK_MS);
  }
}
