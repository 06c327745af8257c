import { describe, expect, it } from '@jest/globals';
import { Deadline, inTime } from '../../lib/util/deadline.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';

function setup() {
  const clock = new FakeClock();
  const timers = new Timers(clock);
  const late: number[] = [];
  const deadline = new Deadline(timers, () => late.push(clock.now()));
  return { clock, timers, late, deadline };
}

describe('Deadline', () => {
  it('calls back once, when it has passed', () => {
    const { clock, late, deadline } = setup();
    deadline.set(100);
    clock.advance(99);
    expect(late).toEqual([]);
    clock.advance(500);
    expect(late).toHaveLength(1);
  });

  it('can be set again, which replaces it, and cleared', () => {
    const { clock, timers, late, deadline } = setup();
    deadline.set(100);
    deadline.set(300);
    clock.advance(200);
    expect([late, timers.size]).toEqual([[], 1]);
    deadline.clear();
    deadline.clear();
    clock.advance(500);
    expect([late, timers.size]).toEqual([[], 0]);
  });

  it('can be set again when it has passed', () => {
    const clock = new FakeClock();
    let left = 3;
    const deadline: Deadline = new Deadline(new Timers(clock), () => {
      if (--left > 0) deadline.set(10);
    });
    deadline.set(10);
    for (let step = 0; step < 10; step++) clock.advance(20);
    expect(left).toBe(0);
  });
});

describe('inTime', () => {
  it('rejects with ETIMEDOUT and aborts the attempt, which need not listen', async () => {
    const { clock, timers } = setup();
    let signal: AbortSignal | undefined;
    const waiting = inTime(timers, 100, 'there', (given) => {
      signal = given;
      return new Promise(() => {});
    });
    clock.advance(200);
    await expect(waiting).rejects.toMatchObject({ code: 'ETIMEDOUT', address: 'there' });
    expect(signal?.aborted).toBe(true);
  });
});
