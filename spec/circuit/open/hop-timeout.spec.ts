import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  ackTimeoutMs,
  HopTimeout,
  isWorthTrying,
  replyTimeoutMs,
  type TryStart,
} from '../../../lib/circuit/open/hop-timeout.js';

describe('The reply timeout', () => {
  it('is what is left, up to the limit for each link beyond the next, when there are no others to try', () => {
    expect(replyTimeoutMs(10_000, 1_500, false, { hops: 1, cost: 1 }, 0)).toBe(1_500);
    expect(replyTimeoutMs(10_000, 1_500, false, { hops: 2, cost: 1 }, 0)).toBe(1_500);
    expect(replyTimeoutMs(10_000, 1_500, false, { hops: 5, cost: 1 }, 0)).toBe(6_000);
    expect(replyTimeoutMs(10_000, 1_500, false, undefined, 0)).toBe(1_500);
    expect(replyTimeoutMs(700, 1_500, false, { hops: 3, cost: 1 }, 0)).toBe(700);
    expect(replyTimeoutMs(700, 1_500, false, undefined, 0)).toBe(700);
  });

  it('leaves others their share', () => {
    expect(replyTimeoutMs(10_000, 1_500, true, { hops: 3, cost: 0 }, 0)).toBe(3_000);
    expect(replyTimeoutMs(1_000, 1_500, true, { hops: 1, cost: 0 }, 0)).toBe(500);
    expect(replyTimeoutMs(1_000, 1_500, true, { hops: 3, cost: 200 }, 0)).toBe(800);
  });

  it('is longer than the limit for a route around the world', () => {
    expect(replyTimeoutMs(10_000, 1_500, false, { hops: 2, cost: 900 }, 0)).toBe(2_700);
  });

  it('leaves every node of a long route time for another one, and more than the route takes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 0, max: 80 }), (hops, linkMs) => {
        let left = 1_500;
        for (let toGo = hops; toGo > 0; toGo--) {
          const route = { hops: toGo, cost: toGo * linkMs };
          const timeout = replyTimeoutMs(left, 1_500, true, route, 0);
          const spare = 1_500 - hops * linkMs;
          if (spare > 0) {
            expect(timeout).toBeGreaterThanOrEqual(route.cost);
            expect(left - timeout).toBeGreaterThanOrEqual(Math.floor(spare / (hops + 1)));
          }
          left = timeout - linkMs;
        }
      }),
    );
  });
});

describe('The acknowledgement timeout', () => {
  it('is the limit when there are no others to try', () => {
    expect(ackTimeoutMs(1_500, false, 1, 0)).toBe(1_500);
  });

  it('is half a second when there are others, or four round trips, but not more than the limit', () => {
    expect(ackTimeoutMs(1_500, true, 0, 0)).toBe(500);
    expect(ackTimeoutMs(1_500, true, 200, 0)).toBe(800);
    expect(ackTimeoutMs(1_500, true, 900, 0)).toBe(1_500);
    expect(ackTimeoutMs(40, true, 1, 0)).toBe(40);
  });
});

describe('The timeouts of a link that loses packets', () => {
  /** What one loss delays an answer by at 300 ms, see lateness.spec.ts. */
  const [rttMs, lateMs] = [300, 500];
  const wait = (hasOthers: boolean): HopTimeout =>
    new HopTimeout({
      now: 0,
      leftMs: 10_000,
      limitMs: 1_500,
      hasOthers,
      rttMs,
      lateMs,
      route: { hops: 2, cost: 600 },
    });

  it('are two losses longer before another neighbour is tried, and four before this one is at fault', () => {
    expect(wait(true).firstMs).toBe(4 * rttMs + 3 * lateMs);
    expect(wait(true).isFair(600)).toBe(false);
    const alone = wait(false);
    expect(alone.firstMs).toBe(3 * rttMs + 10 * lateMs);
    expect(alone.isFair(600)).toBe(true);
  });

  it('are longer for a reply as well, and the next node gives up before this one does', () => {
    const patient = wait(false);
    expect(patient.longerMs(patient.firstMs)).toBe(3 * 600 + 10 * lateMs - patient.firstMs);
    expect(patient.grantedMs).toBe(6_800 - rttMs - 20 - lateMs);
  });
});

describe('The time that a node has left', () => {
  it('is enough when an answer may come within it, of a way that may have become a little faster', () => {
    expect(isWorthTrying(75, { cost: 100 })).toBe(true);
    expect(isWorthTrying(74, { cost: 100 })).toBe(false);
    expect(isWorthTrying(1, undefined)).toBe(true);
  });
});

describe('The timeout of one neighbour', () => {
  const start = (more: Partial<TryStart> = {}): HopTimeout =>
    new HopTimeout({
      now: 1_000,
      leftMs: 5_000,
      limitMs: 1_500,
      hasOthers: true,
      rttMs: 10,
      lateMs: 0,
      route: { hops: 3, cost: 100 },
      ...more,
    });

  it('is short at first, and as long as the reply may need once the neighbour has acknowledged the stream', () => {
    const wait = start();
    expect(wait.firstMs).toBe(500);
    expect(wait.longerMs(1_500)).toBe(2_500);
    expect(wait.longerMs(4_000)).toBe(0);
    expect(wait.tookMs(4_000)).toBe(3_000);
  });

  it('leaves a moment even when the timer was late', () => {
    expect(start().longerMs(9_000)).toBe(1);
  });

  it('grants the neighbour what is left, less the way back and a margin, which is a fifth of a short time at most', () => {
    expect(start().grantedMs).toBe(3_000 - 10 - 20);
    expect(start({ leftMs: 50, hasOthers: false, route: { hops: 2, cost: 20 } }).grantedMs).toBe(50 - 10 - 10);
  });

  it('is not worth it when no answer can come in time', () => {
    expect(start().isWorthTrying).toBe(true);
    expect(start({ leftMs: 0 }).isWorthTrying).toBe(false);
    expect(start({ leftMs: 12, hasOthers: false, route: { hops: 1, cost: 10 } }).isWorthTrying).toBe(false);
    expect(start({ leftMs: 70, hasOthers: false, route: { hops: 2, cost: 100 } }).isWorthTrying).toBe(false);
    expect(start({ leftMs: Number.NaN }).isWorthTrying).toBe(false);
  });

  it('is fair after three round trips and 200 ms: of the link before the acknowledgement, of the route after it', () => {
    const wait = start({ leftMs: 400, hasOthers: true, rttMs: 10, route: { hops: 1, cost: 100 } });
    expect(wait.firstMs).toBe(250);
    expect(wait.isFair(50)).toBe(true);
    expect(wait.isFair(100)).toBe(false);
    const silent = start({ rttMs: 100 });
    expect(silent.isFair(10_000)).toBe(true);
    expect(start({ leftMs: 150, hasOthers: false }).isFair(10)).toBe(false);
  });
});
