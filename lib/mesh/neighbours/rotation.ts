// Now and then, one link that this node has made gives way to a new one. That is how a graph becomes random again after a
// heal, when a few links join two halves, and the only thing that is ever improved: one at a time, and the old link goes
// when the new one stands.
//
// Each rotation is three or four records to everybody, so it is done by about ten nodes of the whole network in five
// minutes; by each of them, if many nodes have come at once.

import type { Timed, Timer } from '../../util/timers.js';
import type { MeshEnvironment, MeshView } from '../ports.js';
import type { Candidate, Candidates } from './candidates.js';
import { LOW, NEAR_PICKS, RANDOM_PICKS, TAKES_ALL_BELOW } from './degree.js';
import type { Choice, Neighbour, Neighbours } from './neighbours.js';
import type { ReachHistory } from './partition-watch.js';

const INTERVAL_MS = 300_000;
/** How far an interval is shorter or longer. */
const JITTER = 0.5;
/** Nodes of the whole network that rotate in each interval. */
const ROTATIONS = 10;
/** A link proves its worth for that long, in ms. */
const SETTLED_MS = 600_000;

export interface RotationSetup {
  readonly environment: MeshEnvironment;
  readonly neighbours: Neighbours;
  readonly candidates: Candidates;
  readonly view: MeshView;
  readonly history: ReachHistory;
  /** Dials; true when the link is up. */
  dial(candidate: Candidate, choice: Choice): Promise<boolean>;
}

export class Rotation implements Timed {
  private timer: Timer | undefined;
  private isStopped = false;

  constructor(private readonly setup: RotationSetup) {}

  start(): void {
    const { random, timers } = this.setup.environment;
    this.timer = timers.schedule(INTERVAL_MS * (1 + JITTER * (2 * random() - 1)), this);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.start();
    const { environment, history, view } = this.setup;
    const chance = history.hasGrown ? 1 : ROTATIONS / (view.reachable + 1);
    if (environment.random() < chance) void this.rotate();
  }

  private async rotate(): Promise<void> {
    const { candidates, environment, neighbours } = this.setup;
    const { degree } = neighbours;
    if (degree < LOW || degree >= TAKES_ALL_BELOW) return;
    const old = this.pick();
    if (old === undefined) return;
    const choice = this.choose(old);
    const fresh = choice === 'near' ? (await candidates.near(1))[0] : candidates.random();
    if (fresh === undefined || this.isStopped || !(await this.setup.dial(fresh, choice))) return;
    // Meanwhile circuits may have come to run over it, or its peer may have lost others.
    if (this.isSpare(old, environment.timers.now())) old.link.shed();
  }

  private pick(): Neighbour | undefined {
    const { environment, neighbours } = this.setup;
    const now = environment.timers.now();
    const spare = neighbours.mesh().filter((neighbour) => this.isSpare(neighbour, now));
    return spare[Math.floor(environment.random() * spare.length)];
  }

  /** What there are too few of, counting the old one as gone: first those picked at random. */
  private choose({ choice }: Neighbour): Choice {
    const { neighbours } = this.setup;
    if (neighbours.chosen('random') - Number(choice === 'random') < RANDOM_PICKS) return 'random';
    return choice === 'near' || neighbours.chosen('near') < NEAR_PICKS ? 'near' : 'random';
  }

  private isSpare({ link, upSinceMs }: Neighbour, now: number): boolean {
    return (
      link.isUp &&
      link.purpose === 'mesh' &&
      link.direction === 'outbound' &&
      link.streams === 0 &&
      now - upSinceMs > SETTLED_MS &&
      this.setup.neighbours.others(link.peerId) >= LOW
    );
  }
}
