import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RoundTrip } from '../../../lib/mux/liveness/round-trip.js';

describe('RoundTrip', () => {
  it('is 0 before the first sample, and never 0 after it', () => {
    const roundTrip = new RoundTrip();
    expect(roundTrip.us).toBe(0);
    roundTrip.sample(0, 1_000);
    expect(roundTrip.us).toBe(1);
  });

  it('is the smallest sample, in microseconds', () => {
    const roundTrip = new RoundTrip();
    for (const rttMs of [5, 2.5, 9, 3]) roundTrip.sample(rttMs, 0);
    expect(roundTrip.us).toBe(2_500);
  });

  it('does not follow a loaded link up', () => {
    const roundTrip = new RoundTrip();
    roundTrip.sample(10, 0);
    for (let second = 1; second <= 60; second++) roundTrip.sample(400, second * 1_000);
    expect(roundTrip.us).toBe(10_000);
  });

  it('follows a path that has become longer after one minute', () => {
    const roundTrip = new RoundTrip();
    roundTrip.sample(10, 0);
    for (let second = 1; second <= 62; second++) roundTrip.sample(100, second * 1_000);
    expect(roundTrip.us).toBe(100_000);
  });

  it('is always one of the samples, and never above the newest', () => {
    const samples = fc.array(fc.record({ waitMs: fc.nat(20_000), rttMs: fc.integer({ min: 1, max: 500 }) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(samples, (list) => {
        const roundTrip = new RoundTrip();
        const taken = new Set<number>();
        let now = 0;
        for (const { waitMs, rttMs } of list) {
          now += waitMs;
          roundTrip.sample(rttMs, now);
          taken.add(rttMs * 1_000);
          expect(taken).toContain(roundTrip.us);
          expect(roundTrip.us).toBeLessThanOrEqual(rttMs * 1_000);
        }
      }),
    );
  });
});
