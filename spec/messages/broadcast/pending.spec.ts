// What waits for a handler: bounded by count and bytes, with a policy.

import { describe, expect, it } from '@jest/globals';
import { PendingMessages } from '../../../lib/messages/broadcast/pending.js';

function filled(whenFull: 'drop-oldest' | 'drop-newest', sizes: readonly number[]) {
  let dropped = 0;
  const pending = new PendingMessages<number>({ maxPending: 3, maxPendingBytes: 100, whenFull }, (count) => {
    dropped += count;
  });
  for (const [index, size] of sizes.entries()) pending.push(index, size);
  const left: number[] = [];
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) left.push(next);
  return { dropped, left };
}

describe('What waits for a handler', () => {
  it('loses the oldest, or the newest, when there are too many', () => {
    expect(filled('drop-oldest', [1, 1, 1, 1, 1])).toEqual({ dropped: 2, left: [2, 3, 4] });
    expect(filled('drop-newest', [1, 1, 1, 1, 1])).toEqual({ dropped: 2, left: [0, 1, 2] });
  });

  it('loses as many as a long one needs; a single one may be longer than all may be', () => {
    expect(filled('drop-oldest', [40, 40, 90])).toEqual({ dropped: 2, left: [2] });
    expect(filled('drop-oldest', [40, 500])).toEqual({ dropped: 1, left: [1] });
    expect(filled('drop-newest', [500, 1])).toEqual({ dropped: 1, left: [0] });
  });

  it('is awaited, and ends with close()', async () => {
    const pending = new PendingMessages<number>(
      { maxPending: 9, maxPendingBytes: 9, whenFull: 'drop-oldest' },
      () => {},
    );
    const first = pending.next();
    pending.push(7, 1);
    expect(await first).toBe(7);
    pending.push(8, 1);
    const both = [pending.next(), pending.next()];
    pending.close();
    pending.push(9, 1);
    expect(await Promise.all(both)).toEqual([8, undefined]);
  });
});
