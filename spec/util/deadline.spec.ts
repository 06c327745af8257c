import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { Deadline, inTime, waitWithin } from '../../lib/util/deadline.js';
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

describe('waitWithin', () => {
  function wait(limits: { signal?: AbortSignal; timeoutMs?: number }) {
    const { clock, timers } = setup();
    let ends = 0;
    const settle: { resolve?: (value: string) => void; reject?: (reason: unknown) => void } = {};
    const late = (): Error => new Error('late');
    const waiting = waitWithin<string>(timers, { ...limits, late }, (resolve, reject) => {
      Object.assign(settle, { resolve, reject });
      return () => ends++;
    });
    return { clock, timers, waiting, settle, ends: () => ends };
  }

  it('settles as its functions are called, once, and leaves neither timer nor listener', async () => {
    const { signal } = new AbortController();
    const one = wait({ signal, timeoutMs: 100 });
    one.settle.resolve?.('there');
    one.settle.reject?.(new Error('too late'));
    expect(await one.waiting).toBe('there');
    expect([one.ends(), one.timers.size, getEventListeners(signal, 'abort')]).toEqual([1, 0, []]);
    const other = wait({});
    other.settle.reject?.(new Error('gone'));
    await expect(other.waiting).rejects.toThrow('gone');
    expect(other.ends()).toBe(1);
  });

  it('rejects after the timeout', async () => {
    const { clock, waiting, ends } = wait({ timeoutMs: 100 });
    clock.advance(200);
    await expect(waiting).rejects.toThrow('late');
    expect(ends()).toBe(1);
  });

  it('rejects with the reason of the signal, and does not begin when it has aborted before', async () => {
    const aborter = new AbortController();
    const { timers, waiting, ends } = wait({ signal: aborter.signal, timeoutMs: 100 });
    aborter.abort('enough');
    await expect(waiting).rejects.toBe('enough');
    expect([ends(), timers.size]).toEqual([1, 0]);
    const late = wait({ signal: aborter.signal });
    await expect(late.waiting).rejects.toBe('enough');
    expect([late.settle, late.ends()]).toEqual([{}, 0]);
  });

  it('ends once when it settles while it begins', async () => {
    let ends = 0;
    const waiting = waitWithin<string>(setup().timers, {}, (resolve) => {
      resolve('at once');
      return () => ends++;
    });
    expect([await waiting, ends]).toEqual(['at once', 1]);
  });
});
