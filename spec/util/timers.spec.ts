import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { systemClock, type Timed, type Timer, Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';

/** Notes when its deadline passed. */
class Recorder implements Timed {
  readonly told: number[] = [];

  onDeadline(now: number): void {
    this.told.push(now);
  }
}

function target(onDeadline: (now: number, timer: Timer) => void): Timed {
  return { onDeadline };
}

describe('Timers', () => {
  it('calls back once, never before the deadline and at most one granularity after it', () => {
    const clock = new FakeClock(1_003);
    const timers = new Timers(clock, 10);
    const recorder = new Recorder();
    timers.schedule(25, recorder);
    clock.advance(24);
    expect(recorder.told).toEqual([]);
    clock.advance(11);
    expect(recorder.told).toEqual([1_030]);
    clock.advance(1_000);
    expect(recorder.told).toHaveLength(1);
  });

  it('lets a deadline with slack wait for another one that is due within it', () => {
    const clock = new FakeClock(0);
    const timers = new Timers(clock, 10);
    const [near, far, alone, exact] = [new Recorder(), new Recorder(), new Recorder(), new Recorder()];
    timers.schedule(150, exact);
    timers.schedule(100, near, 50);
    timers.schedule(90, far, 50);
    timers.schedule(200, alone, 50);
    clock.advance(300);
    expect([exact, near, far, alone].map(({ told }) => told)).toEqual([[150], [150], [90], [200]]);
  });

  it('passes the timer on, so that one target can have many', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const told: Timer[] = [];
    const shared = target((_now, timer) => told.push(timer));
    const late = timers.schedule(200, shared);
    const early = timers.schedule(100, shared);
    clock.advance(300);
    expect(told).toEqual([early, late]);
    expect(early.pending).toBe(false);
  });

  it('arms one timeout for any number of timers, and none when there are none', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    expect(clock.armed).toBe(0);
    const scheduled = Array.from({ length: 1_000 }, (_, index) => timers.schedule(1 + index * 7, new Recorder()));
    expect(clock.armed).toBe(1);
    expect(timers.size).toBe(1_000);
    for (const timer of scheduled) timers.cancel(timer);
    expect(clock.armed).toBe(0);
    expect(timers.size).toBe(0);
  });

  it('arms nothing after the last deadline', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    timers.schedule(50, new Recorder());
    clock.advance(100);
    expect(clock.armed).toBe(0);
    expect(timers.size).toBe(0);
  });

  it('takes a cancel twice, and a cancel after the deadline', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const other = new Recorder();
    timers.schedule(10, other);
    const cancelled = timers.schedule(10, new Recorder());
    timers.cancel(cancelled);
    timers.cancel(cancelled);
    expect(timers.size).toBe(1);
    const told = timers.schedule(5, new Recorder());
    clock.advance(20);
    timers.cancel(told);
    expect(timers.size).toBe(0);
    expect(other.told).toHaveLength(1);
  });

  it('lets a target cancel any other timer, also of the same deadline', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const never = new Recorder();
    const others: Timer[] = [];
    timers.schedule(
      10,
      target(() => {
        for (const timer of others) timers.cancel(timer);
      }),
    );
    others.push(timers.schedule(10, never), timers.schedule(10, never), timers.schedule(30, never));
    clock.advance(100);
    expect(never.told).toEqual([]);
    expect(clock.armed).toBe(0);
  });

  it('lets a target schedule itself again without keeping one run going', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock, 10);
    let calls = 0;
    const again = target(() => {
      calls++;
      timers.schedule(0, again);
    });
    timers.schedule(0, again);
    clock.advance(95);
    expect(calls).toBeGreaterThan(5);
    expect(calls).toBeLessThan(12);
  });

  it('calls the others and raises the error when a target throws', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const before = new Recorder();
    const after = new Recorder();
    timers.schedule(10, before);
    timers.schedule(
      10,
      target(() => {
        throw new Error('a faulty target');
      }),
    );
    timers.schedule(10, after);
    timers.schedule(50, after);
    clock.advance(100);
    expect(before.told).toHaveLength(1);
    expect(after.told).toHaveLength(2);
    expect(() => clock.runImmediates()).toThrow('a faulty target');
  });

  it('calls everything that is overdue after the event loop was blocked', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const recorder = new Recorder();
    for (const delayMs of [10, 500, 2_000, 9_000]) timers.schedule(delayMs, recorder);
    clock.lag(3_000);
    clock.advance(0);
    expect(recorder.told).toEqual([4_000, 4_000, 4_000]);
    expect(timers.size).toBe(1);
  });

  it('wakes for nothing but timers that are still there', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock, 10);
    const recorder = new Recorder();
    timers.schedule(60_000, recorder);
    for (let index = 0; index < 1_000; index++) timers.cancel(timers.schedule(10 + index * 10, new Recorder()));
    let wakeUps = 0;
    const { setTimeout } = clock;
    clock.setTimeout = (fn, ms) => {
      wakeUps++;
      return setTimeout.call(clock, fn, ms);
    };
    clock.advance(70_000);
    expect(wakeUps).toBeLessThanOrEqual(2);
    expect(recorder.told).toHaveLength(1);
  });

  it('waits longer than the longest timeout of the event loop', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const recorder = new Recorder();
    const dayMs = 86_400_000;
    timers.schedule(100 * dayMs, recorder);
    clock.advance(99 * dayMs);
    expect(recorder.told).toEqual([]);
    clock.advance(2 * dayMs);
    expect(recorder.told).toHaveLength(1);
  });

  it('takes delays that make no sense as none', () => {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const recorder = new Recorder();
    timers.schedule(-5, recorder);
    timers.schedule(Number.NaN, recorder);
    clock.advance(10);
    expect(recorder.told).toHaveLength(2);
  });

  it('agrees with a plain list of deadlines, whatever is scheduled, cancelled and waited for', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('schedule' as const), value: fc.integer({ min: 0, max: 500 }) }),
      fc.record({ kind: fc.constant('cancel' as const), value: fc.nat(50) }),
      fc.record({ kind: fc.constant('advance' as const), value: fc.integer({ min: 0, max: 120 }) }),
      fc.record({ kind: fc.constant('lag' as const), value: fc.integer({ min: 0, max: 300 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new FakeClock(1_000.25);
        const timers = new Timers(clock, 10);
        const pending = new Map<Timer, number>();
        const shared = target((now, timer) => {
          const due = pending.get(timer);
          expect(due).toBeDefined();
          expect(now).toBeGreaterThanOrEqual(due!);
          pending.delete(timer);
        });
        for (const { kind, value } of steps) {
          if (kind === 'schedule') pending.set(timers.schedule(value, shared), clock.now() + value);
          else if (kind === 'lag') clock.lag(value);
          else if (kind === 'cancel') {
            const timer = [...pending.keys()][value];
            if (timer === undefined) continue;
            timers.cancel(timer);
            pending.delete(timer);
          } else {
            clock.advance(value);
            for (const due of pending.values()) expect(due).toBeGreaterThan(clock.now() - 12);
          }
          expect(timers.size).toBe(pending.size);
          expect(clock.armed).toBe(pending.size > 0 ? 1 : 0);
        }
        clock.advance(2_000);
        expect(pending.size).toBe(0);
        expect(clock.armed).toBe(0);
      }),
    );
  });
});

describe('systemClock', () => {
  it('drives timers without holding the process open', async () => {
    const timers = new Timers(systemClock, 1);
    const started = systemClock.now();
    // A timeout that does hold the process: the one under test does not.
    const held = setInterval(() => {}, 60_000);
    const now = await new Promise<number>((resolve) => timers.schedule(5, target(resolve)));
    clearInterval(held);
    expect(now - started).toBeGreaterThanOrEqual(5);
    expect((systemClock.setTimeout(() => {}, 1) as NodeJS.Timeout).hasRef()).toBe(false);
    expect(timers.size).toBe(0);
  });
});
