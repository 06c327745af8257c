import { describe, expect, it } from '@jest/globals';
import { Deadlines } from '../../../lib/mux/stream/deadlines.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

function make(timeoutMs: number, onExpired?: (member: string, deadlines: Deadlines<string>) => void) {
  const clock = new FakeClock();
  const timers = new Timers(clock);
  const expired: string[] = [];
  const deadlines: Deadlines<string> = new Deadlines(timers, timeoutMs, (member) => {
    expired.push(member);
    onExpired?.(member, deadlines);
  });
  return { clock, timers, expired, deadlines };
}

describe('Deadlines', () => {
  it('expire in the order in which members were added, each at its own time', () => {
    const { clock, timers, expired, deadlines } = make(1_000);
    deadlines.add('a');
    clock.advance(400);
    deadlines.add('b');
    deadlines.add('c');
    clock.advance(599);
    expect(expired).toEqual([]);
    clock.advance(20);
    expect(expired).toEqual(['a']);
    clock.advance(400);
    expect(expired).toEqual(['a', 'b', 'c']);
    expect(deadlines.size).toBe(0);
    expect(timers.size).toBe(0);
  });

  it('do not expire ahead of time with others that were added shortly before', () => {
    const { clock, expired, deadlines } = make(1_000);
    deadlines.add('a');
    clock.advance(30);
    deadlines.add('b');
    clock.advance(980);
    expect(expired).toEqual(['a']);
    clock.advance(40);
    expect(expired).toEqual(['a', 'b']);
  });

  it('need one timer for any number of members', () => {
    const { timers, deadlines } = make(1_000);
    for (let member = 0; member < 1_000; member++) deadlines.add(String(member));
    expect(timers.size).toBe(1);
  });

  it('do not expire for a member that was taken out in time', () => {
    const { clock, timers, expired, deadlines } = make(1_000);
    deadlines.add('a');
    deadlines.add('b');
    deadlines.delete('a');
    deadlines.delete('never added');
    clock.advance(2_000);
    expect(expired).toEqual(['b']);
    expect(timers.size).toBe(0);
  });

  it('do not exist with a timeout of 0', () => {
    const { clock, timers, expired, deadlines } = make(0);
    deadlines.add('a');
    expect(timers.size).toBe(0);
    clock.advance(1_000_000);
    expect(expired).toEqual([]);
  });

  it('leave no timer when they are cleared', () => {
    const { clock, timers, expired, deadlines } = make(1_000);
    deadlines.add('a');
    deadlines.clear();
    expect(timers.size).toBe(0);
    clock.advance(2_000);
    expect(expired).toEqual([]);
    deadlines.add('b');
    clock.advance(2_000);
    expect(expired).toEqual(['b']);
  });

  it('still need one timer when an expired member brings in another', () => {
    const { clock, timers, expired, deadlines } = make(1_000, (member) => {
      if (member.length < 3) deadlines.add(`${member}'`);
    });
    deadlines.add('a');
    clock.advance(500);
    deadlines.add('b');
    clock.advance(520);
    expect(expired).toEqual(['a']);
    expect(timers.size).toBe(1);
    clock.advance(500);
    // And it is set for the one that is due first.
    expect(expired).toEqual(['a', 'b']);
    expect(timers.size).toBe(1);
    clock.advance(5_000);
    expect(expired).toEqual(['a', 'b', "a'", "b'", "a''", "b''"]);
    expect(timers.size).toBe(0);
  });

  it('leave no timer when they are cleared after an expired member brought in another', () => {
    const { clock, timers, deadlines } = make(1_000, (member) => deadlines.add(`${member}'`));
    deadlines.add('a');
    clock.advance(1_100);
    deadlines.clear();
    expect(timers.size).toBe(0);
  });

  it('expire for the others when one of them throws', () => {
    const { clock, expired, deadlines } = make(1_000, (member) => {
      if (member === 'a') throw new Error('fault');
    });
    deadlines.add('a');
    deadlines.add('b');
    clock.advance(500);
    deadlines.add('c');
    clock.advance(5_000);
    expect(() => clock.runImmediates()).toThrow('fault');
    expect(expired).toEqual(['a', 'b', 'c']);
  });
});
