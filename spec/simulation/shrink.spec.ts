import { describe, expect, it } from '@jest/globals';
import { shrink } from '../../bench/simulation/shrink.js';

describe('shrinking', () => {
  const list = Array.from({ length: 40 }, (_, index) => index);
  const needs =
    (...needed: number[]) =>
    async (part: readonly number[]): Promise<boolean> =>
      needed.every((item) => part.includes(item));

  it('finds the items that a failure needs', async () => {
    expect(await shrink(list, needs(7, 23), 200)).toEqual([7, 23]);
    expect(await shrink(list, needs(), 200)).toEqual([]);
  });

  it('leaves out an item that can be spared only without another one', async () => {
    const fails = async (part: readonly number[]): Promise<boolean> =>
      part.includes(5) && (part.includes(30) || !part.includes(9));
    expect(await shrink(list, fails, 500)).toEqual([5]);
  });

  it('ends after the given number of attempts with the best so far', async () => {
    let calls = 0;
    const fails = async (part: readonly number[]): Promise<boolean> => {
      calls++;
      return part.includes(39);
    };
    const short = await shrink(list, fails, 3);
    expect(calls).toBe(3);
    expect(short).toContain(39);
    expect(short.length).toBeLessThan(40);
  });
});
