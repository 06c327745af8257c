import { describe, expect, it } from '@jest/globals';
import { OpenRate } from '../../../lib/circuit/accept/open-rate.js';

class Clock {
  time = 5_000;
  looks = 0;

  now(): number {
    this.looks++;
    return this.time;
  }
}

/** How many are taken of `wanted`. */
function taken(rate: OpenRate, clock: Clock, wanted: number): number {
  let count = 0;
  for (let asked = 0; asked < wanted; asked++) if (rate.take(clock)) count++;
  return count;
}

describe('the rate of opens', () => {
  it('is so many a second, and no more in the same moment', () => {
    const clock = new Clock();
    const rate = new OpenRate(100, clock.time);
    expect(taken(rate, clock, 1000)).toBe(100);
    clock.time += 100;
    expect(taken(rate, clock, 1000)).toBe(10);
    clock.time += 5;
    expect(taken(rate, clock, 1000)).toBe(0);
    clock.time += 5;
    expect(taken(rate, clock, 1000)).toBe(1);
  });

  it('is at most twice that at once, after whatever silence', () => {
    const clock = new Clock();
    const rate = new OpenRate(100, clock.time);
    clock.time += 3_600_000;
    expect(taken(rate, clock, 1000)).toBe(200);
    clock.time += 1_000;
    expect(taken(rate, clock, 1000)).toBe(100);
  });

  it('may be one', () => {
    const clock = new Clock();
    const rate = new OpenRate(1, clock.time);
    const counts: number[] = [];
    for (let second = 0; second < 3; second++) {
      counts.push(taken(rate, clock, 5));
      clock.time += 1_000;
    }
    expect(counts).toEqual([1, 1, 1]);
  });

  it('costs no look at the clock while there is some left', () => {
    const clock = new Clock();
    const rate = new OpenRate(100, clock.time);
    expect([taken(rate, clock, 100), clock.looks]).toEqual([100, 0]);
  });
});
