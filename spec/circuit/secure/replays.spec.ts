// What a server remembers of the circuits that were opened to it.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_SKEW_S, ReplayCache } from '../../../lib/circuit/secure/replays.js';

const NOW = 1_700_000_000;

/** The key of a source, and the id of a circuit, by number. */
function bytes(length: number, number: number): Buffer {
  const made = Buffer.alloc(length);
  made.writeUInt32BE(number);
  return made;
}
const key = (number: number): Buffer => bytes(32, number);
const id = (number: number): Buffer => bytes(16, number);

function isRefused(cache: ReplayCache, source: number, circuit: number, signedS: number): boolean {
  return cache.has(key(source), id(circuit)) || cache.mayHaveForgotten(key(source), signedS);
}

describe('A replay cache', () => {
  it('knows a circuit again by its source and its id', () => {
    const cache = new ReplayCache();
    cache.add(key(1), id(1), NOW, NOW);
    expect([cache.has(key(1), id(1)), cache.has(key(1), id(2)), cache.has(key(2), id(1))]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('keeps a circuit for as long as it could be accepted, and not much longer', () => {
    const cache = new ReplayCache();
    // By a clock that is as fast as it may be.
    cache.add(key(1), id(1), NOW + MAX_SKEW_S, NOW);
    for (let circuit = 2; circuit <= 1 + 2 * MAX_SKEW_S; circuit++) {
      const now = NOW + circuit - 1;
      cache.add(key(1), id(circuit), now, now);
    }
    expect(cache.has(key(1), id(1))).toBe(true);
    const later = NOW + 2 * MAX_SKEW_S + 1;
    cache.add(key(1), id(9999), later, later);
    expect(cache.has(key(1), id(1))).toBe(false);
    expect(cache.size).toBeLessThanOrEqual(MAX_SKEW_S + 2);
  });

  it('forgets sources that are silent', () => {
    const cache = new ReplayCache();
    for (let source = 0; source < 10; source++) cache.add(key(source), id(1), NOW, NOW);
    cache.add(key(10), id(1), NOW + 2 * MAX_SKEW_S + 1, NOW + 2 * MAX_SKEW_S + 1);
    expect([cache.sourceCount, cache.size]).toEqual([1, 1]);
  });

  it('forgets the oldest circuits of a source that opens too many, and then accepts none that is as old', () => {
    const cache = new ReplayCache({ maxCircuits: 100, maxPerSource: 10, maxSources: 10 });
    for (let circuit = 0; circuit < 30; circuit++) cache.add(key(1), id(circuit), NOW + circuit, NOW + circuit);
    expect(cache.size).toBe(10);
    expect(cache.has(key(1), id(0))).toBe(false);
    for (let circuit = 0; circuit < 30; circuit++) expect(isRefused(cache, 1, circuit, NOW + circuit)).toBe(true);
    expect(isRefused(cache, 1, 30, NOW + 20)).toBe(false);
    expect(isRefused(cache, 2, 30, NOW)).toBe(false);
  });

  it('has one source that floods it pay, and not those that are as busy as usual', () => {
    const cache = new ReplayCache({ maxCircuits: 100, maxPerSource: 60, maxSources: 10 });
    for (let circuit = 0; circuit < 5; circuit++) cache.add(key(1), id(circuit), NOW, NOW);
    for (let circuit = 0; circuit < 10_000; circuit++) cache.add(key(2), id(circuit), NOW + 1, NOW + 1);
    for (let circuit = 0; circuit < 5; circuit++) expect(cache.has(key(1), id(circuit))).toBe(true);
    expect(isRefused(cache, 1, 5, NOW)).toBe(false);
  });

  it('makes no replay possible when several sources flood it', () => {
    const cache = new ReplayCache({ maxCircuits: 50, maxPerSource: 20, maxSources: 10 });
    for (let circuit = 0; circuit < 5; circuit++) cache.add(key(1), id(circuit), NOW, NOW);
    for (let circuit = 0; circuit < 1_000; circuit++) cache.add(key(2 + (circuit % 8)), id(circuit), NOW, NOW + 1);
    expect(cache.size).toBeLessThanOrEqual(50);
    for (let circuit = 0; circuit < 5; circuit++) expect(isRefused(cache, 1, circuit, NOW)).toBe(true);
    // What the honest source opens after that is accepted.
    expect(isRefused(cache, 1, 5, NOW + 1)).toBe(false);
  });

  it('forgets the source that was silent for longest when there are too many', () => {
    const cache = new ReplayCache({ maxCircuits: 100, maxPerSource: 10, maxSources: 3 });
    for (const source of [1, 2, 3, 1, 4]) cache.add(key(source), id(source), NOW, NOW);
    expect(cache.sourceCount).toBe(3);
    expect([1, 2, 3, 4].map((source) => cache.has(key(source), id(source)))).toEqual([true, false, true, true]);
  });

  it('never accepts a circuit twice, whatever comes, while it has room for the sources', () => {
    const step = fc.record({
      source: fc.nat(5),
      circuit: fc.nat(40),
      skew: fc.integer({ min: -3, max: 3 }),
      passes: fc.nat(2),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const cache = new ReplayCache({ maxCircuits: 20, maxPerSource: 8, maxSources: 6 });
        /** When each circuit was signed: a replay says the same. */
        const signed = new Map<string, number>();
        const accepted = new Set<string>();
        let now = NOW;
        for (const { source, circuit, skew, passes } of steps) {
          now += passes;
          const name = `${source} ${circuit}`;
          const signedS = signed.get(name) ?? now + skew;
          signed.set(name, signedS);
          // Refused for its time, before anything is asked.
          if (Math.abs(now - signedS) > MAX_SKEW_S || isRefused(cache, source, circuit, signedS)) continue;
          expect(accepted.has(name)).toBe(false);
          accepted.add(name);
          cache.add(key(source), id(circuit), signedS, now);
          expect(cache.size).toBeLessThanOrEqual(20);
        }
      }),
    );
  });
});
