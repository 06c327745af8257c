// Pages of long lists.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { PageBuilder } from '../../../../lib/node/queries/lists/page.js';

function pageOf(keys: readonly string[], limit: number, after?: string) {
  const page = new PageBuilder<string>(limit, after);
  for (const key of keys) page.add(key, key);
  return page.build();
}

const keys = fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 60 });

describe('pages', () => {
  it('one after the other have every entry once, in order, whatever the order in which they came', () => {
    fc.assert(
      fc.property(keys, fc.integer({ min: 1, max: 7 }), (all, limit) => {
        const seen: string[] = [];
        let after: string | undefined;
        for (;;) {
          const { entries, next, total, truncated } = pageOf(all, limit, after);
          expect(total).toBe(all.length);
          expect(truncated).toBe(next !== undefined);
          expect(entries.length).toBeLessThanOrEqual(limit);
          seen.push(...entries);
          if (next === undefined) break;
          after = Buffer.from(next, 'base64url').toString();
        }
        expect(seen).toEqual([...all].sort((a, b) => (a < b ? -1 : 1)));
      }),
    );
  });

  it('leave out nothing that stays, when entries come and go in between', () => {
    const first = pageOf(['a', 'c', 'e', 'g'], 2);
    expect(first.entries).toEqual(['a', 'c']);
    expect(pageOf(['b', 'c', 'd', 'e', 'g'], 9, 'c').entries).toEqual(['d', 'e', 'g']);
  });
});
