import { describe, expect, it } from '@jest/globals';
import { resolveNodeOptions } from '../../lib/options/options.js';
import { resolveResilience } from '../../lib/options/resilience.js';

describe('the option resilience', () => {
  it('is off by default, and when all of its parts are', () => {
    for (const value of [undefined, {}, { hedge: false, retryBudget: undefined }]) {
      expect(resolveResilience(value)).toBeUndefined();
    }
    expect(resolveNodeOptions().resilience).toBeUndefined();
  });

  it('takes defaults for true, and for what a part leaves out', () => {
    expect(
      resolveResilience({ retryBudget: true, circuitBreaker: { failures: 2 }, outlierEjection: true, hedge: {} }),
    ).toEqual({
      retryBudget: { ratio: 0.2, minPerSecond: 10 },
      circuitBreaker: { failures: 2, failureRate: Infinity, minDials: 20, windowMs: 10_000, openMs: 5_000 },
      outlierEjection: { failures: 5, ejectMs: 30_000, maxEjectMs: 300_000, maxShare: 0.5, latencyFactor: Infinity },
      hedge: { delayMs: Infinity, percentile: 0.95, maxShare: 0.1 },
    });
    expect(resolveResilience({ hedge: true })).toMatchObject({ retryBudget: undefined, circuitBreaker: undefined });
    expect(resolveResilience({ outlierEjection: { ejectMs: 600_000 } })?.outlierEjection?.maxEjectMs).toBe(600_000);
  });

  it.each<[string, unknown, string]>([
    ['no object', 5, 'resilience: must be an object'],
    ['a list', [], 'resilience: must be an object'],
    ['null', null, 'resilience: must be an object'],
    ['an unknown part', { retries: true }, 'resilience.retries: unknown option'],
    ['a part that is a number', { hedge: 5 }, 'resilience.hedge: must be true, false or an object'],
    ['an unknown option', { hedge: { delay: 5 } }, 'resilience.hedge.delay: unknown option'],
    ['an option of every object', { hedge: { toString: 5 } }, 'resilience.hedge.toString: unknown option'],
    ['a fraction', { circuitBreaker: { failures: 1.5 } }, 'must be an integer from 1 to 1000000'],
    ['a text', { circuitBreaker: { openMs: '5' } }, 'must be an integer from 1 to 2147483647'],
    ['infinity', { hedge: { delayMs: Infinity } }, 'resilience.hedge.delayMs: must be an integer'],
    ['a share above 1', { outlierEjection: { maxShare: 1.1 } }, 'must be a number from 0 to 1'],
    ['times in the wrong order', { outlierEjection: { ejectMs: 5, maxEjectMs: 4 } }, 'must not be less than ejectMs'],
  ])('is refused when it has %s', (_what, value, message) => {
    const resolve = (): unknown => resolveNodeOptions({ resilience: value as object });
    expect(resolve).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
    expect(resolve).toThrow(message);
  });
});
