import { beforeEach, describe, expect, it } from '@jest/globals';
import { LinkCosts } from '../../../lib/mesh/health/link-cost.js';
import { Timers } from '../../../lib/util/timers.js';
import { byteToCostMs } from '../../../lib/wire/records.js';
import { FakeClock } from '../../support/fake-clock.js';

let clock: FakeClock;
let told: string[];
let costs: LinkCosts;
beforeEach(() => {
  clock = new FakeClock(0);
  told = [];
  costs = new LinkCosts(new Timers(clock), { onCosts: (urgency) => told.push(urgency) });
});

/** In ms, as precise as the byte. */
function announced(peerId = 'a'): number | undefined {
  const link = costs.announced().find((one) => one.peerId === peerId);
  return link && Math.round(byteToCostMs(link.cost) * 10) / 10;
}

/** A sample each second. */
function measure(rttMs: number, seconds: number): void {
  for (let second = 0; second < seconds; second++) {
    costs.onSample('a', rttMs);
    clock.advance(1000);
  }
}

function flap(times: number, pauseMs = 0): void {
  for (let round = 0; round < times; round++) {
    costs.onUp('a');
    costs.onDown('a', true);
    clock.advance(pauseMs);
  }
}

describe('the announced cost', () => {
  it('is a guess until the link has been measured, and then the measured value, at once', () => {
    costs.onUp('a');
    expect([announced(), costs.costMs('a')]).toEqual([4.9, 5]);
    costs.onSample('a', 40);
    expect([announced(), costs.costMs('a')]).toEqual([39.5, 40]);
    expect(told).toEqual(['soon', 'soon']);
  });

  it('stays the guess when it was about right', () => {
    costs.onUp('a');
    costs.onSample('a', 5.5);
    expect([announced(), told]).toEqual([4.9, ['soon']]);
  });

  it('ignores values that were measured while this process was late, and invalid ones', () => {
    costs.onUp('a');
    costs.onSample('a', 900, true);
    costs.onSample('a', Number.NaN);
    costs.onSample('a', -1);
    costs.onSample('stranger', 1);
    expect([announced(), costs.costMs('a'), told]).toEqual([4.9, 5, ['soon']]);
  });

  it('follows the average, not each sample', () => {
    costs.onUp('a');
    costs.onSample('a', 10);
    costs.onSample('a', 110);
    expect(costs.costMs('a')).toBeCloseTo(26.4, 1);
  });

  it('is published again when it has differed for 30 s, and 60 s after the last time', () => {
    costs.onUp('a');
    measure(10, 1);
    measure(40, 50);
    expect([announced(), told.length]).toEqual([9.9, 2]);
    measure(40, 15);
    expect([announced(), told]).toEqual([39.5, ['soon', 'soon', 'metric']]);
    measure(10, 50);
    expect(told.length).toBe(3);
    measure(10, 10);
    expect([told.length, (announced() as number) < 11]).toEqual([4, true]);
  });

  it('is not published for a change of less than three steps, of less than 2 ms, or one that does not last', () => {
    costs.onUp('a');
    measure(20, 70);
    measure(24, 120);
    for (let round = 0; round < 5; round++) {
      measure(60, 15);
      measure(20, 25);
    }
    measure(20, 100);
    costs.onUp('b');
    for (let round = 0; round < 100; round++) {
      costs.onSample('b', round < 50 ? 0.5 : 2);
      clock.advance(1000);
    }
    expect(told).toEqual(['soon', 'soon', 'soon', 'soon']);
    expect(announced('b')).toBe(0.5);
  });

  it('starts again with each link', () => {
    costs.onUp('a');
    costs.onSample('a', 40);
    costs.onDown('a', false);
    expect([announced(), costs.announced()]).toEqual([undefined, []]);
    costs.onUp('a');
    costs.onUp('a');
    expect(announced()).toBe(4.9);
    expect(told).toEqual(['soon', 'soon', 'now', 'soon']);
  });
});

describe('the urgency of a link', () => {
  it('is lower when others have another path to both of its ends, also for its first measurement', () => {
    costs.onUp('a', false);
    costs.onSample('a', 40);
    expect(told).toEqual(['redundantLink', 'redundantLink']);
  });

  it('is the highest when it is lost, unless the peer has announced its leaving', () => {
    costs.onUp('a');
    costs.onUp('b');
    costs.onUp('c');
    told.length = 0;
    costs.onDown('a', true);
    costs.onDown('b', false);
    costs.onDown('c', false, true);
    expect(told).toEqual(['now', 'now', 'peerLeaving']);
    expect(costs.announced()).toEqual([]);
  });
});

describe('a link that is lost again and again', () => {
  it('is not announced after four losses, until it has been calm', () => {
    flap(3);
    costs.onUp('a');
    expect(announced()).toBeDefined();
    costs.onDown('a', true);
    told.length = 0;
    costs.onUp('a');
    costs.onSample('a', 40);
    expect([announced(), told, costs.costMs('a')]).toEqual([undefined, [], 40]);
    clock.advance(119_000);
    expect(announced()).toBeUndefined();
    clock.advance(2000);
    expect([announced(), told]).toEqual([39.5, ['soon']]);
    costs.onDown('a', true);
    expect(told).toEqual(['soon', 'now']);
  });

  it('is announced when it is not lost but closed, or rarely lost', () => {
    for (let round = 0; round < 20; round++) {
      costs.onUp('a');
      costs.onDown('a', false);
    }
    flap(20, 60_000);
    costs.onUp('a');
    expect(announced()).toBeDefined();
  });

  it('is announced after five minutes whatever happens', () => {
    flap(4);
    let waited = 0;
    for (; waited < 1000 && announced() === undefined; waited++) {
      costs.onUp('a');
      clock.advance(1000);
      if (announced() === undefined) costs.onDown('a', true);
    }
    expect(waited).toBeGreaterThan(290);
    expect(waited).toBeLessThanOrEqual(301);
  });

  it('has no effect when it is down at that time, or on other links', () => {
    costs.onUp('b');
    flap(4);
    told.length = 0;
    clock.advance(400_000);
    expect([told, announced('b')]).toEqual([[], 4.9]);
  });

  it('leaves no timer behind when everything stops', () => {
    flap(5);
    expect(clock.armed).toBe(1);
    costs.dispose();
    expect(clock.armed).toBe(0);
  });
});
