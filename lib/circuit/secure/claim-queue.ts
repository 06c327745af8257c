// Claims of secure circuits are checked a few in a turn of the event loop: one takes half a millisecond, and whoever sends it a
// few microseconds. Of one link those that are over wait, and what comes on their streams with them.

import type { StreamSink } from '../../mux/stream/stream.js';
import { guard } from '../../util/runtime/throw-later.js';
import type { Clock } from '../../util/timers.js';
import { Undecided } from '../accept/decisions.js';

/** About two milliseconds. */
const CLAIMS_PER_TURN = 4;

/** Goes on with a circuit whose turn has come: `held` is what came meanwhile, and whether its sender has ended. */
export type CheckClaim = (held: Buffer, isEnded: boolean) => void;

interface Waiting {
  readonly sink: Undecided;
  readonly check: CheckClaim;
}

export class ClaimQueue {
  private left = CLAIMS_PER_TURN;
  private isTurnDue = false;
  private readonly waiting = new Set<Waiting>();

  constructor(private readonly clock: Clock) {}

  /** How many claims wait. */
  get size(): number {
    return this.waiting.size;
  }

  /** May one be checked at once? Counts it if so. */
  take(): boolean {
    if (this.left === 0 || this.waiting.size > 0) return false;
    this.left--;
    this.nextTurn();
    return true;
  }

  /** The sink of a stream until its turn has come. `first`: what came with its OPEN. */
  wait(first: Buffer, check: CheckClaim): StreamSink {
    const sink = new Undecided(first, () => this.waiting.delete(waiting));
    const waiting: Waiting = { sink, check };
    this.waiting.add(waiting);
    this.nextTurn();
    return sink;
  }

  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    this.clock.setImmediate(() => {
      this.isTurnDue = false;
      this.left = CLAIMS_PER_TURN;
      this.work();
    });
  }

  private work(): void {
    for (const waiting of this.waiting) {
      if (this.left === 0) break;
      this.left--;
      this.waiting.delete(waiting);
      const { held, isEnded } = waiting.sink;
      guard(() => waiting.check(held, isEnded));
    }
    if (this.left < CLAIMS_PER_TURN) this.nextTurn();
  }
}
