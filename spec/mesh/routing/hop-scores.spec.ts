import { beforeEach, describe, expect, it } from '@jest/globals';
import { HopScores } from '../../../lib/mesh/routing/hop-scores.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

let clock: FakeClock;
let scores: HopScores;
beforeEach(() => {
  clock = new FakeClock(0);
  scores = new HopScores(new Timers(clock));
});

/** For how long, in seconds. */
function avoidedFor(neighbour: string, dst: string): number {
  let seconds = 0;
  for (; seconds < 10_000 && scores.isAvoided(neighbour, dst); seconds++) clock.advance(1000);
  return seconds;
}

describe('a neighbour that failed towards a node', () => {
  it('is avoided for 10 s, for twice as long each time it does so again, and for five minutes at most', () => {
    const spans: number[] = [];
    for (let round = 0; round < 8; round++) {
      for (let success = 0; success < 50; success++) scores.reward('a', 'elsewhere');
      scores.penalise('a', 'x');
      expect([scores.isAvoided('a', 'y'), scores.isAvoided('b', 'x')]).toEqual([false, false]);
      spans.push(avoidedFor('a', 'x'));
    }
    expect(spans).toEqual([10, 20, 40, 80, 160, 300, 300, 300]);
  });

  it('is avoided no longer for circuits that fail together', () => {
    for (let circuit = 0; circuit < 3; circuit++) scores.penalise('a', 'x');
    expect(avoidedFor('a', 'x')).toBe(10);
  });

  it('starts again when the last time is long ago', () => {
    scores.penalise('a', 'x');
    clock.advance(320_000);
    scores.penalise('a', 'x');
    expect(avoidedFor('a', 'x')).toBe(10);
  });

  it('is trusted again as soon as it gets one through', () => {
    scores.penalise('a', 'x');
    scores.reward('a', 'x');
    expect(scores.isAvoided('a', 'x')).toBe(false);
  });
});

describe('the factor of a neighbour', () => {
  it('is 1 when nothing is known or everything gets through, and grows with the share that fails', () => {
    expect(scores.factorOf('a')).toBe(1);
    scores.reward('a', 'x');
    expect(scores.factorOf('a')).toBe(1);
    for (let round = 0; round < 3; round++) scores.penalise('a', `${round}`);
    expect(scores.factorOf('a')).toBe(2);
    for (let round = 0; round < 1000; round++) scores.penalise('a', `${round}`);
    expect(scores.factorOf('a')).toBe(16);
  });

  it('is nearly 1 again after ten minutes', () => {
    for (let round = 0; round < 8; round++) scores.penalise('a', `${round}`);
    expect(scores.factorOf('a')).toBe(5);
    clock.advance(600_000);
    expect(scores.factorOf('a')).toBeCloseTo(1.25);
  });
});

describe('a neighbour that nearly always fails', () => {
  /** Fails towards ever other nodes, until it is avoided towards all. */
  function failUntilAvoided(): void {
    for (let round = 0; round < 1000 && !scores.isAvoided('a', 'any'); round++) scores.penalise('a', `${round}`);
  }

  it('is avoided towards all nodes for 60 s, and twice as long each time', () => {
    failUntilAvoided();
    expect(scores.factorOf('a')).toBeGreaterThan(5);
    expect(avoidedFor('a', 'any')).toBe(60);
    failUntilAvoided();
    expect(avoidedFor('a', 'any')).toBe(120);
  });

  it('is not avoided any more when half of it gets through', () => {
    failUntilAvoided();
    for (let round = 0; round < 5; round++) scores.reward('a', 'x');
    expect(scores.isAvoided('a', 'any')).toBe(true);
    for (let round = 0; round < 5; round++) scores.reward('a', 'x');
    expect(scores.isAvoided('a', 'any')).toBe(false);
  });
});

describe('what is remembered', () => {
  it('is bounded, however many nodes are named', () => {
    scores.penalise('a', 'first');
    for (let round = 0; round < 5000; round++) scores.penalise('b', `${round}`);
    expect([scores.isAvoided('a', 'first'), scores.isAvoided('b', '4999')]).toEqual([false, true]);
  });
});
