// What circuits have shown about neighbours as next hops. A neighbour that failed towards a node is tried last for that node, for
// a time that doubles; one that fails often costs more towards every node, and one that nearly always fails is tried last
// for all of them. None is excluded: there may be no other path.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';
import type { Timers } from '../../util/timers.js';

const FIRST_PENALTY_MS = 10_000;
const MAX_PENALTY_MS = 300_000;
const MAX_PAIRS = 4096;

const FIRST_AVOIDANCE_MS = 60_000;
const MAX_AVOIDANCE_MS = 960_000;
const MAX_NEIGHBOURS = 1024;
/** After ten minutes, a sixteenth of the score is left. */
const HALF_LIFE_MS = 150_000;
/** Every neighbour begins with this many successes: the first failure says little. */
const CREDIT = 2;
const MAX_FACTOR = 16;
const AVOIDED_BELOW = 0.2;
const TRUSTED_FROM = 0.5;

interface Suspension {
  untilMs: number;
  spanMs: number;
}

interface Score {
  successes: number;
  failures: number;
  countedMs: number;
  readonly avoided: Suspension;
}

export class HopScores {
  private readonly pairs = new RecentMap<string, Suspension>(MAX_PAIRS);
  private readonly neighbours = new RecentMap<NodeId, Score>(MAX_NEIGHBOURS);

  constructor(private readonly timers: Timers) {}

  /** Called when a circuit towards `dst` has failed through a neighbour. */
  penalise(neighbour: NodeId, dst: NodeId): void {
    const now = this.timers.now();
    const key = keyOf(neighbour, dst);
    const pair = this.pairs.get(key) ?? { untilMs: now, spanMs: 0 };
    // Circuits that fail together count once.
    if (now >= pair.untilMs) suspend(pair, now, FIRST_PENALTY_MS, MAX_PENALTY_MS);
    this.pairs.set(key, pair);

    const score = this.scoreOf(neighbour, now);
    score.failures++;
    if (rateOf(score) < AVOIDED_BELOW && now >= score.avoided.untilMs) {
      suspend(score.avoided, now, FIRST_AVOIDANCE_MS, MAX_AVOIDANCE_MS);
    }
  }

  /** Called when a circuit towards `dst` was accepted through a neighbour. */
  reward(neighbour: NodeId, dst: NodeId): void {
    this.pairs.delete(keyOf(neighbour, dst));
    const score = this.scoreOf(neighbour, this.timers.now());
    score.successes++;
    if (rateOf(score) < TRUSTED_FROM) return;
    score.avoided.untilMs = 0;
    score.avoided.spanMs = 0;
  }

  /** Whether to try other neighbours first. */
  isAvoided(neighbour: NodeId, dst: NodeId): boolean {
    const now = this.timers.now();
    const score = this.neighbours.peek(neighbour);
    if (score !== undefined && score.avoided.untilMs > now) return true;
    const pair = this.pairs.size === 0 ? undefined : this.pairs.peek(keyOf(neighbour, dst));
    return pair !== undefined && pair.untilMs > now;
  }

  /** Returns a factor for the cost from 1, when nothing fails, to 16. */
  factorOf(neighbour: NodeId): number {
    const score = this.neighbours.peek(neighbour);
    if (score === undefined) return 1;
    fade(score, this.timers.now());
    return Math.min(MAX_FACTOR, 1 / rateOf(score));
  }

  private scoreOf(neighbour: NodeId, now: number): Score {
    let score = this.neighbours.get(neighbour);
    if (score === undefined) {
      score = { successes: 0, failures: 0, countedMs: now, avoided: { untilMs: 0, spanMs: 0 } };
      this.neighbours.set(neighbour, score);
    }
    fade(score, now);
    return score;
  }
}

/** Suspends for twice as long as the last time, unless that was long ago. */
function suspend(what: Suspension, now: number, firstMs: number, maxMs: number): void {
  const isOld = now - what.untilMs >= maxMs;
  what.spanMs = what.spanMs === 0 || isOld ? firstMs : Math.min(maxMs, what.spanMs * 2);
  what.untilMs = now + what.spanMs;
}

function fade(score: Score, now: number): void {
  const share = 2 ** ((score.countedMs - now) / HALF_LIFE_MS);
  score.successes *= share;
  score.failures *= share;
  score.countedMs = now;
}

function rateOf({ successes, failures }: Score): number {
  return (successes + CREDIT) / (successes + failures + CREDIT);
}

function keyOf(neighbour: NodeId, dst: NodeId): string {
  return `${neighbour}>${dst}`;
}
