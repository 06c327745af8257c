import { describe, expect, it } from '@jest/globals';
import { NextTurn } from '../../lib/util/next-turn.js';
import { FakeClock } from '../support/fake-clock.js';

describe('NextTurn', () => {
  it('runs once, however often it is requested', () => {
    const clock = new FakeClock();
    let runs = 0;
    const nextTurn = new NextTurn(clock, () => runs++);
    nextTurn.request();
    nextTurn.request();
    expect([runs, nextTurn.isDue]).toEqual([0, true]);
    clock.runImmediates();
    expect([runs, nextTurn.isDue]).toEqual([1, false]);
  });

  it('can be requested again by what it runs', () => {
    const clock = new FakeClock();
    let left = 3;
    const nextTurn: NextTurn = new NextTurn(clock, () => {
      if (--left > 0) nextTurn.request();
    });
    nextTurn.request();
    for (let turn = 0; turn < 5; turn++) clock.runImmediates();
    expect([left, nextTurn.isDue]).toEqual([0, false]);
  });
});
