import { describe, expect, it } from '@jest/globals';
import { WindowedMax, WindowedMin } from '../../lib/util/windowed-extreme.js';

describe('WindowedMax', () => {
  it('is 0 before the first value', () => {
    expect(new WindowedMax().value).toBe(0);
    expect(new WindowedMin().value).toBe(0);
  });

  it('is the greatest of the present period and of the one before', () => {
    const max = new WindowedMax();
    max.add(5, 0, 100);
    max.add(3, 50, 100);
    expect(max.value).toBe(5);
    max.add(2, 120, 100);
    expect(max.value).toBe(5);
    max.add(1, 230, 100);
    expect(max.value).toBe(2);
  });

  it('keeps its last values while none comes, and lets go of them with the next periods', () => {
    const max = new WindowedMax();
    max.add(5, 0, 100);
    expect(max.value).toBe(5);
    max.add(1, 10_000, 100);
    expect(max.value).toBe(5);
    max.add(1, 10_100, 100);
    expect(max.value).toBe(1);
  });
});

describe('WindowedMin', () => {
  it('is the smallest', () => {
    const min = new WindowedMin();
    for (const value of [4, 2, 3]) min.add(value, 0, 100);
    expect(min.value).toBe(2);
    min.add(7, 100, 100);
    min.add(6, 200, 100);
    expect(min.value).toBe(6);
  });
});
