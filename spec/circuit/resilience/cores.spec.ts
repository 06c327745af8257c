// The pure parts of the option resilience: budgets, breakers, ejections and times, with time as an argument.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Breaker } from '../../../lib/circuit/resilience/breaker.js';
import { InstanceRecord, withoutEjected } from '../../../lib/circuit/resilience/ejection.js';
import { OpenTimes } from '../../../lib/circuit/resilience/open-times.js';
import { RecentCounts } from '../../../lib/circuit/resilience/recent-counts.js';
import { RetryBudget } from '../../../lib/circuit/resilience/retry-budget.js';
import {
  type CircuitBreakerTerms,
  type OutlierEjectionTerms,
  resolveResilience,
} from '../../../lib/options/resilience.js';

const breakerTerms = (changes: Partial<CircuitBreakerTerms> = {}): CircuitBreakerTerms =>
  resolveResilience({ circuitBreaker: changes })?.circuitBreaker as CircuitBreakerTerms;
const ejectionTerms = (changes: Partial<OutlierEjectionTerms> = {}): OutlierEjectionTerms =>
  resolveResilience({ outlierEjection: changes })?.outlierEjection as OutlierEjectionTerms;

/** Steps in time, with something that happens at each. */
function steps<Event>(event: fc.Arbitrary<Event>, maxMs = 4_000): fc.Arbitrary<Array<[number, Event]>> {
  return fc.array(fc.tuple(fc.nat({ max: maxMs }), event), { maxLength: 300 });
}

describe('recent counts', () => {
  it('have everything of the last half of the window, and nothing from before the window', () => {
    fc.assert(
      fc.property(steps(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 }))), (events) => {
        const counts = new RecentCounts(1_000);
        const all: Array<[number, number, number]> = [];
        let now = 0;
        for (const [passedMs, [first, second]] of events) {
          now += passedMs;
          counts.add(first, second, now);
          all.push([now, first, second]);
          const since = (ms: number): number =>
            all.filter(([at]) => now - at < ms).reduce((sum, [, value]) => sum + value, 0);
          expect(counts.first(now)).toBeGreaterThanOrEqual(since(500));
          expect(counts.first(now)).toBeLessThanOrEqual(since(1_000.001));
        }
      }),
    );
  });
});

describe('a retry budget', () => {
  it('allows the share of the dials and the reserve, and no more over any time', () => {
    const event = fc.constantFrom('dial', 'retry');
    fc.assert(
      fc.property(steps(event, 500), fc.constantFrom(0, 0.2, 1), fc.constantFrom(0, 1, 10), (events, ratio, perS) => {
        const budget = new RetryBudget(ratio, perS);
        let now = 0;
        let [dials, retries] = [0, 0];
        for (const [passedMs, what] of events) {
          now += passedMs;
          if (what === 'dial') {
            budget.onDial(now);
            dials++;
          } else if (budget.canTake(now)) {
            budget.take(now);
            retries++;
          }
          expect(retries).toBeLessThanOrEqual(ratio * dials + perS * (now / 1_000 + 10));
        }
      }),
    );
  });

  it('is spent by an outage, and is there again ten seconds later', () => {
    const budget = new RetryBudget(0.2, 1);
    const spend = (now: number): number => {
      let taken = 0;
      for (; budget.canTake(now); taken++) budget.take(now);
      return taken;
    };
    for (let dial = 0; dial < 100; dial++) budget.onDial(0);
    expect(spend(0)).toBe(30);
    expect(spend(4_999)).toBe(0);
    expect(spend(10_000)).toBe(10);
  });
});

describe('a circuit breaker', () => {
  const fail = (breaker: Breaker, now: number): boolean => breaker.end(breaker.begin(), 'failed', now);

  it('opens after failures in a row, lets one probe through, and closes with its success', () => {
    const breaker = new Breaker(breakerTerms({ failures: 3, openMs: 100 }));
    expect([fail(breaker, 0), fail(breaker, 1)]).toEqual([false, false]);
    breaker.end(breaker.begin(), 'connected', 2);
    expect([fail(breaker, 3), fail(breaker, 4), breaker.isOpen, fail(breaker, 5)]).toEqual([false, false, false, true]);
    expect([breaker.waitMs(5), breaker.waitMs(50), breaker.waitMs(105)]).toEqual([100, 55, 0]);
    const probe = breaker.begin();
    expect(breaker.waitMs(106)).toBe(100);
    breaker.end(probe, 'connected', 107);
    expect([breaker.isOpen, breaker.waitMs(107)]).toEqual([false, 0]);
    expect([fail(breaker, 108), fail(breaker, 109), breaker.isOpen]).toEqual([false, false, false]);
  });

  it('opens again when the probe fails, and lets another one through when it was given up', () => {
    const breaker = new Breaker(breakerTerms({ failures: 1, openMs: 100 }));
    expect(fail(breaker, 0)).toBe(true);
    expect(fail(breaker, 100)).toBe(true);
    expect(breaker.waitMs(100)).toBe(100);
    breaker.end(breaker.begin(), 'none', 200);
    expect([breaker.isOpen, breaker.waitMs(200)]).toEqual([true, 0]);
  });

  it('opens by the share of failures, once there are enough dials', () => {
    const breaker = new Breaker(breakerTerms({ failures: 100, failureRate: 0.5, minDials: 4 }));
    const outcomes = ['failed', 'connected', 'failed', 'connected'] as const;
    expect(outcomes.map((outcome, at) => breaker.end(breaker.begin(), outcome, at))).toEqual([
      false,
      false,
      false,
      true,
    ]);
    const patient = new Breaker(breakerTerms({ failures: 100, failureRate: 0.5, minDials: 4 }));
    // One in ten seconds is not many.
    for (let at = 0; at < 50; at++) expect(fail(patient, at * 10_000)).toBe(false);
  });

  it('ignores what dials say that began in another state', () => {
    const breaker = new Breaker(breakerTerms({ failures: 1, openMs: 100 }));
    const [late, first] = [breaker.begin(), breaker.begin()];
    breaker.end(first, 'failed', 0);
    expect(breaker.end(late, 'connected', 1)).toBe(false);
    expect(breaker.isOpen).toBe(true);
    const probe = breaker.begin();
    expect(breaker.end(late, 'none', 101)).toBe(false);
    expect(breaker.waitMs(101)).toBe(100);
    breaker.end(probe, 'connected', 102);
    expect(breaker.isOpen).toBe(false);
  });

  it('lets a probe through at once when there is a new instance', () => {
    const breaker = new Breaker(breakerTerms({ failures: 1, openMs: 100 }));
    breaker.hasten(0);
    expect(breaker.isOpen).toBe(false);
    fail(breaker, 0);
    breaker.hasten(1);
    expect([breaker.waitMs(1), breaker.isOpen]).toEqual([0, true]);
  });

  it('lets no more probes through for a member that goes on announcing instances', () => {
    const breaker = new Breaker(breakerTerms({ failures: 1, openMs: 100 }));
    fail(breaker, 0);
    let probes = 0;
    for (let now = 1; now <= 1_000; now++) {
      breaker.hasten(now);
      if (breaker.waitMs(now) > 0) continue;
      probes++;
      fail(breaker, now);
    }
    expect(probes).toBeLessThanOrEqual(20);
  });

  it('has one probe at a time, never waits longer than openMs, and always lets one through in the end', () => {
    fc.assert(
      fc.property(steps(fc.constantFrom('failed', 'connected', 'none', 'begin'), 90), (events) => {
        const breaker = new Breaker(breakerTerms({ failures: 2, openMs: 100 }));
        const pending: number[] = [];
        let probe: number | undefined;
        let now = 0;
        for (const [passedMs, what] of events) {
          now += passedMs;
          const waitMs = breaker.waitMs(now);
          expect(waitMs >= 0 && waitMs <= 100).toBe(true);
          if (what === 'begin') {
            if (waitMs > 0) continue;
            expect(breaker.isOpen && probe !== undefined).toBe(false);
            const ticket = breaker.begin();
            if (breaker.isOpen) probe = ticket;
            pending.push(ticket);
          } else if (pending.length > 0) {
            const ticket = pending.pop() as number;
            if (ticket === probe) probe = undefined;
            breaker.end(ticket, what as 'failed', now);
          }
        }
        for (const ticket of pending) breaker.end(ticket, 'none', now);
        expect(breaker.waitMs(now + 100)).toBe(0);
      }),
    );
  });
});

describe('an ejection', () => {
  it('begins after failures in a row, and is longer each time', () => {
    const record = new InstanceRecord(ejectionTerms({ failures: 2, ejectMs: 100, maxEjectMs: 250 }));
    const ejected: number[] = [];
    let now = 0;
    for (let time = 0; time < 4; time++) {
      expect(record.onFailure(now)).toBe(false);
      expect(record.onFailure(now)).toBe(true);
      // What was under way says nothing new.
      expect(record.onFailure(now)).toBe(false);
      ejected.push(record.ejectedUntilMs - now);
      now = record.ejectedUntilMs;
      expect(record.isEjected(now)).toBe(false);
    }
    expect(ejected).toEqual([100, 200, 250, 250]);
  });

  it('is shorter again after an instance was well for as long as it was left out', () => {
    const record = new InstanceRecord(ejectionTerms({ failures: 1, ejectMs: 100 }));
    record.onFailure(0);
    record.onFailure(100);
    expect(record.ejectedUntilMs).toBe(300);
    record.onSuccess(499);
    record.onSuccess(500);
    record.onFailure(501);
    expect(record.ejectedUntilMs).toBe(701);
  });

  it('does not begin while failures are not in a row', () => {
    const record = new InstanceRecord(ejectionTerms({ failures: 2 }));
    for (let now = 0; now < 20; now++) {
      expect(record.onFailure(now)).toBe(false);
      record.onSuccess(now);
    }
  });

  it('takes an instance that is much slower than the others', () => {
    const record = new InstanceRecord(ejectionTerms({ latencyFactor: 3, ejectMs: 100 }));
    for (let index = 1; index < 10; index++) expect(record.onAnswer(400)).toBe(false);
    expect(record.compare([10, 10], 0)).toBe(false);
    expect(record.onAnswer(400)).toBe(true);
    expect([record.compare([], 0), record.compare([200, 10, 150], 0)]).toEqual([false, false]);
    expect(record.compare([20, 10, 300], 0)).toBe(true);
    expect(record.isEjected(99)).toBe(true);
    const quick = new InstanceRecord(ejectionTerms({ latencyFactor: 3 }));
    for (let index = 0; index < 10; index++) quick.onAnswer(40);
    // Four times as long, but only by 30 ms.
    expect(quick.compare([10, 10], 0)).toBe(false);
  });

  it('never takes more than the share, never all, and the longest ones first', () => {
    const instances = fc.array(fc.nat({ max: 20 }), { maxLength: 30 });
    fc.assert(
      fc.property(instances, fc.double({ min: 0, max: 1, noNaN: true }), (until, maxShare) => {
        const all = until.map((untilMs, id) => ({ untilMs, id }));
        const left = withoutEjected(all, ({ untilMs }) => untilMs, maxShare, 10);
        const out = all.filter((one) => !left.includes(one));
        const most = Math.max(1, Math.floor(maxShare * all.length));
        expect(out.length).toBeLessThanOrEqual(most);
        expect(left.length > 0 || all.length === 0).toBe(true);
        expect(out.every(({ untilMs }) => untilMs > 10)).toBe(true);
        const kept = left.filter(({ untilMs }) => untilMs > 10);
        expect(kept.every((one) => out.every((other) => other.untilMs >= one.untilMs))).toBe(true);
        if (kept.length > 0) expect(out.length).toBe(Math.min(most, all.length - 1));
        expect(left).toEqual(all.filter((one) => left.includes(one)));
      }),
    );
  });
});

describe('the time of recent opens', () => {
  it('is a percentile of the last ones, and unknown before there are twenty', () => {
    const times = new OpenTimes(0.95);
    for (let ms = 1; ms < 20; ms++) times.add(ms);
    expect(times.limitMs).toBe(Infinity);
    times.add(20);
    expect(times.limitMs).toBe(19);
    for (let index = 0; index < 128; index++) times.add(7);
    expect(times.limitMs).toBe(7);
  });

  it('is never below the share of the times that it stands for', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 20, maxLength: 128 }), (all) => {
        const times = new OpenTimes(0.95);
        for (const ms of all) times.add(ms);
        const within = all.filter((ms) => ms <= times.limitMs).length;
        expect(within).toBeGreaterThanOrEqual(0.95 * all.length);
        expect(all).toContain(times.limitMs);
      }),
    );
  });
});
