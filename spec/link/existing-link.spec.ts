import { describe, expect, it } from '@jest/globals';
import { proofMs } from '../../lib/link/link-set.js';

describe('an existing link when the peer makes another one', () => {
  it('has two seconds to prove it', () => {
    expect(proofMs(1, 1, 5_000)).toBe(2_000);
    expect(proofMs(300, 0, 5_000)).toBe(2_000);
  });

  it('has longer where losses delay its answer, but not so long that the peer gives up the other one', () => {
    expect(proofMs(300, 150, 5_000)).toBe(2_400);
    expect(proofMs(300, 500, 5_000)).toBeCloseTo(3_333, 0);
    expect(proofMs(1, 1, 300)).toBe(200);
  });
});
