import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { NumberRing } from '../../lib/messages/number-ring.js';

describe('a ring of numbers', () => {
  it('does what a map does, over the end of 32 bits and with items that stay behind', () => {
    const start = fc.constantFrom(0, 0xffff_ff00, 1_900);
    fc.assert(
      fc.property(
        start,
        fc.array(fc.tuple(fc.integer({ min: 1, max: 3_000 }), fc.nat()), { maxLength: 60 }),
        (first, steps) => {
          const ring = new NumberRing<{ number: number }>();
          const map = new Map<number, { number: number }>();
          let next = first;
          for (const [added, pick] of steps) {
            for (let count = 0; count < added; count++) {
              const item = { number: next };
              next = (next + 1) >>> 0;
              ring.add(item);
              map.set(item.number, item);
              // Few stay.
              if (count % 500 !== 0) {
                ring.delete(item.number);
                map.delete(item.number);
              }
            }
            const keys = [...map.keys()];
            const chosen = keys[pick % keys.length];
            ring.delete(chosen);
            ring.delete(chosen);
            map.delete(chosen);
            expect(ring.get(chosen)).toBeUndefined();
            expect(ring.size).toBe(map.size);
          }
          expect(ring.inOrder(next)).toEqual([...map.values()]);
          for (const [number, item] of map) expect(ring.get(number)).toBe(item);
        },
      ),
      { numRuns: 40 },
    );
  });
});
