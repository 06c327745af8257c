// Which circuits a participant dials, accepts and ends.

import { beforeEach, describe, expect, it } from '@jest/globals';
import { NEIGHBOURHOOD_LIMITS, Neighbourhood } from '../../../../lib/messages/broadcast/overlay/neighbourhood.js';

const { graceMs, lingerMs, suspectMs } = NEIGHBOURHOOD_LIMITS;
let now: number;
let dials: string[];
let ended: string[];
let circuits: Neighbourhood;

beforeEach(() => {
  now = 0;
  dials = [];
  ended = [];
  const host = {
    now: () => now,
    dial: (id: string) => dials.push(id),
    hangUp: (id: string) => ended.push(id),
    wake: () => {},
  };
  circuits = new Neighbourhood('m', host);
});

function at(ms: number): void {
  now = ms;
  circuits.onTime();
}

describe('The circuits of a participant', () => {
  it('are dialled by the smaller id, and by the other one when that does not', () => {
    circuits.update(['m', 'a', 'z'], []);
    expect(dials).toEqual(['z']);
    at(graceMs - 1);
    expect(dials).toEqual(['z']);
    at(graceMs);
    expect(dials).toEqual(['z', 'a']);
  });

  it('are one for each pair: of two dials that cross, that of the smaller id', () => {
    circuits.update(['m', 'a', 'z'], []);
    at(graceMs);
    expect([circuits.answerTo('a'), circuits.answerTo('z')]).toEqual(['accept', 'wait']);
    circuits.onUp('z', true);
    expect(circuits.answerTo('z')).toBe('refuse');
    // Later, the other end has lost the circuit.
    now += 10_000;
    expect(circuits.answerTo('z')).toBe('accept');
  });

  it('are not refused by both ends when the dial of the smaller id fails', () => {
    circuits.update(['m', 'z'], []);
    expect(circuits.answerTo('z')).toBe('wait');
    circuits.onDown('z', true);
    expect(circuits.answerTo('z')).toBe('accept');
  });

  it('end some time after nobody wants them, by the one who has dialled', () => {
    circuits.update(['m', 'y', 'z'], []);
    circuits.onUp('y', true);
    circuits.onUp('z', false);
    circuits.update(['m'], []);
    at(lingerMs - 1);
    expect(ended).toEqual([]);
    at(lingerMs);
    expect(ended).toEqual(['y']);
  });

  it('leave out for a while who has failed, and longer each time', () => {
    circuits.update(['m', 'z'], []);
    circuits.onDown('z', true);
    at(suspectMs - 1);
    expect(dials).toEqual(['z']);
    at(suspectMs);
    expect(dials).toEqual(['z', 'z']);
    circuits.onDown('z', true);
    at(2 * suspectMs);
    expect(dials).toHaveLength(2);
    at(3 * suspectMs);
    expect(dials).toHaveLength(3);
    // One that has gone and is there again is new.
    circuits.onDown('z', true);
    circuits.update(['m'], []);
    circuits.update(['m', 'z'], []);
    expect(dials).toHaveLength(4);
  });

  it('make up for earlier failures when they last', () => {
    circuits.update(['m', 'z'], []);
    for (let failures = 0; failures < 5; failures++) circuits.onDown('z', true);
    circuits.onUp('z', true);
    at(31_999);
    circuits.onDown('z', true);
    at(31_999 + 60_000 - 1);
    expect(dials).toHaveLength(1);
    at(31_999 + 60_000);
    expect(dials).toHaveLength(2);
    circuits.onUp('z', true);
    at(now + 60_000);
    circuits.onDown('z', true);
    at(now + suspectMs);
    expect(dials).toHaveLength(3);
  });

  it('are limited in number', () => {
    const ids = Array.from({ length: NEIGHBOURHOOD_LIMITS.maxNeighbours }, (_, index) => `x${index}`);
    for (const id of ids) circuits.onUp(id, false);
    expect(circuits.answerTo('y')).toBe('refuse');
    expect(circuits.answerTo('x0')).toBe('accept');
  });
});
