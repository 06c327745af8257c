import { describe, expect, it } from '@jest/globals';
import { Lateness } from '../../../lib/mux/liveness/lateness.js';

function after(samples: readonly number[]): Lateness {
  const lateness = new Lateness();
  for (const rttMs of samples) lateness.sample(rttMs);
  return lateness;
}

const steady = (rttMs: number, count: number): number[] => Array.from({ length: count }, () => rttMs);

describe('the lateness of a path', () => {
  it('is unknown before the first answer, and half of a round trip after it', () => {
    expect(new Lateness().ms).toBe(0);
    expect(after([300]).ms).toBe(150);
  });

  it('is next to nothing where every answer takes the same time', () => {
    expect(after(steady(300, 200)).ms).toBeLessThan(1);
  });

  it('rises with one late answer, and is remembered over dozens that are in time', () => {
    const one = [...steady(300, 200), 850];
    expect(after(one).ms).toBeGreaterThan(250);
    expect(after([...one, ...steady(300, 30)]).ms).toBeGreaterThan(100);
  });

  it('is about what a loss delays an answer by when one of ten is late', () => {
    const round = [...steady(300, 9), 850];
    const { ms } = after(Array.from({ length: 50 }, () => round).flat());
    expect(ms).toBeGreaterThan(400);
    expect(ms).toBeLessThan(1_000);
  });

  it('is not that of a process which stood still for a minute', () => {
    expect(after([...steady(300, 200), 60_000]).ms).toBeLessThan(600);
  });
});
