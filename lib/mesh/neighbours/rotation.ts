// Replaces one link that this node has made by a new one, now and then. This makes the graph random again after a partition
// has healed, when a few links connect two halves. One link at a time; the old one is shed when the new one is up.
//
// Each rotation floods three or four records, so about ten nodes of the whole network do one in five minutes; or every node,
// after many nodes have come at once.

import { Deadline } from '../../util/deadline.js';
import type { Candidates } from './candidates.js';
import { ACCEPT_ANY_BELOW, LOW, NEAR_PICKS, RANDOM_PICKS } from './degree.js';
import type { NeighbourhoodContext } from './neighbourhood.js';
import type { Choice, Neighbour } from './neighbours.js';
import type { ReachabilityHistory } from './partition-watch.js';
import type { Refill } from './refill.js';

const INTERVAL_MS = 300_000;
/** The share by which an interval is shorter or longer. */
const JITTER = 0.5;
/** The number of nodes of the whole network that rotate in each interval. */
const ROTATIONS = 10;
/** The least age of a link that is replaced, in ms. */
const SETTLED_MS = 600_000;

export class Rotation {
  private readonly deadline: Deadline;
  private isClosed = false;

  constructor(
    private readonly context: NeighbourhoodContext,
    private readonly candidates: Candidates,
    private readonly refill: Refill,
    private readonly history: ReachabilityHistory,
  ) {
    this.deadline = new Deadline(context.environment.timers, () => this.tryRotate());
  }

  start(): void {
    this.deadline.set(INTERVAL_MS * (1 + JITTER * (2 * this.context.environment.random() - 1)));
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
  }

  private tryRotate(): void {
    this.start();
    const { environment, view } = this.context;
    const chance = this.history.hasGrown ? 1 : ROTATIONS / (view.reachable + 1);
    if (environment.random() < chance) void this.rotate();
  }

  private async rotate(): Promise<void> {
    const { candidates } = this;
    const { environment, neighbours } = this.context;
    const { degree } = neighbours;
    if (degree < LOW || degree >= ACCEPT_ANY_BELOW) return;
    const old = this.pick();
    if (old === undefined) return;
    const choice = this.choose(old);
    const fresh = choice === 'near' ? (await candidates.near(1))[0] : candidates.random();
    if (fresh === undefined || this.isClosed || !(await this.refill.dial(fresh, choice))) return;
    // Meanwhile circuits may use it, or its peer may have lost other links.
    if (this.isSpare(old, environment.timers.now())) old.link.shed();
  }

  private pick(): Neighbour | undefined {
    const { environment, neighbours } = this.context;
    const now = environment.timers.now();
    const spare = neighbours.mesh().filter((neighbour) => this.isSpare(neighbour, now));
    return spare[Math.floor(environment.random() * spare.length)];
  }

  /** Returns the kind of which there are too few without the old link; random ones first. */
  private choose({ choice }: Neighbour): Choice {
    const { neighbours } = this.context;
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
      this.context.neighbours.otherLinksOf(link.peerId) >= LOW
    );
  }
}
