// A queue that takes from the front of an array.

import { describe, expect, it } from '@jest/globals';
import { Fifo } from '../../lib/util/fifo.js';

describe('A queue', () => {
  it('returns items in order, and undefined when it is empty', () => {
    const queue = new Fifo<number>();
    expect([queue.size, queue.peek(), queue.shift()]).toEqual([0, undefined, undefined]);
    for (const item of [1, 2, 3]) queue.push(item);
    expect([queue.size, queue.peek(), queue.shift(), queue.size]).toEqual([3, 1, 1, 2]);
    queue.push(4);
    expect(queue.takeAll()).toEqual([2, 3, 4]);
    expect([queue.size, queue.shift()]).toEqual([0, undefined]);
  });

  it('does not grow when it is never empty', () => {
    const queue = new Fifo<number>();
    queue.push(0);
    let longest = 0;
    for (let item = 1; item <= 20_000; item++) {
      queue.push(item);
      expect(queue.shift()).toBe(item - 1);
      longest = Math.max(longest, (queue as unknown as { items: unknown[] }).items.length);
    }
    expect(longest).toBeLessThan(3_000);
  });
});
