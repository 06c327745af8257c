import { describe, expect, it } from '@jest/globals';
import { RecentMap } from '../../lib/util/recent-map.js';

describe('RecentMap', () => {
  it('keeps the entries used last, up to its limit', () => {
    const map = new RecentMap<string, number>(3);
    for (const [key, value] of Object.entries({ a: 1, b: 2, c: 3 })) map.set(key, value);
    expect(map.get('a')).toBe(1);
    map.set('d', 4);
    expect([map.size, map.has('a'), map.has('b'), map.has('d')]).toEqual([3, true, false, true]);
  });

  it('counts neither has nor peek as a use', () => {
    const map = new RecentMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    expect([map.has('a'), map.peek('a')]).toEqual([true, 1]);
    map.set('c', 3);
    expect([...map.values()]).toEqual([2, 3]);
  });

  it('replaces a value without dropping another one', () => {
    const map = new RecentMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    map.set('a', 3);
    expect([...map.values()]).toEqual([2, 3]);
  });
});
