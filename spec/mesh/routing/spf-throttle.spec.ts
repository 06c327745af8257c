import { beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_DELAYS, SpfThrottle } from '../../../lib/mesh/routing/spf-throttle.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

let clock: FakeClock;
let runs: number[];
let delay: SpfThrottle;
beforeEach(() => {
  clock = new FakeClock(0);
  runs = [];
  delay = new SpfThrottle(new Timers(clock), DEFAULT_DELAYS, () => runs.push(clock.now()));
});

/** A change every 10 ms. */
function storm(ms: number, nodes: number): void {
  for (let passed = 0; passed < ms; passed += 10) {
    delay.onChange(nodes);
    clock.advance(10);
  }
}

describe('runs', () => {
  it('come 20 ms after a first change, all changes of that time together', () => {
    delay.onChange(10);
    clock.advance(10);
    delay.onChange(10);
    clock.advance(1000);
    expect(runs).toEqual([20]);
  });

  it('come every 100 ms while changes go on, and in a large mesh every second when that lasts', () => {
    storm(5000, 10_000);
    const pauses = runs.slice(1).map((at, index) => at - runs[index]);
    expect(runs[0]).toBe(20);
    expect(pauses.slice(0, 4).every((pause) => pause >= 100 && pause <= 120)).toBe(true);
    expect(pauses.slice(-3).every((pause) => pause >= 1000 && pause <= 1020)).toBe(true);
  });

  it('slow down only as far as the mesh is large', () => {
    storm(3000, 1000);
    const pauses = runs.slice(1).map((at, index) => at - runs[index]);
    expect(pauses.at(-1)).toBe(250);
  });

  it('come soon again after five seconds without a change', () => {
    storm(3000, 10_000);
    clock.advance(5000);
    const before = runs.length;
    const now = clock.now();
    delay.onChange(10_000);
    clock.advance(1000);
    expect(runs.slice(before)).toEqual([now + 20]);
  });

  it('are not made again after a run for another reason', () => {
    delay.onChange(10);
    delay.cancel();
    clock.advance(1000);
    expect([runs, clock.armed]).toEqual([[], 0]);
  });
});
