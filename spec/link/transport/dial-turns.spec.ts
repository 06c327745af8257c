import { describe, expect, it } from '@jest/globals';
import { type DialTurn, DialTurns } from '../../../lib/link/transport/connect.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('turns of link dials', () => {
  function scene(max: number) {
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const turns = new DialTurns(max);
    const begun: string[] = [];
    const queue = async (name: string, signal?: AbortSignal): Promise<DialTurn> => {
      const turn = turns.take(timers) ?? (await turns.wait(timers, signal));
      begun.push(name);
      return turn;
    };
    return { clock, timers, turns, begun, queue };
  }

  it('are taken at once while there are some, then in order as earlier ones end', async () => {
    const { timers, turns, begun, queue } = scene(2);
    const first = queue('a');
    const second = queue('b');
    const third = queue('c');
    const fourth = queue('d');
    expect([begun, turns.size]).toEqual([['a', 'b'], 2]);
    (await second).end();
    (await second).end();
    await third;
    expect([begun, turns.size]).toEqual([['a', 'b', 'c'], 1]);
    for (const turn of [await first, await third]) turn.end();
    (await fourth).end();
    expect([begun, turns.size, timers.size]).toEqual([['a', 'b', 'c', 'd'], 0, 0]);
    expect(turns.take(timers)).toBeDefined();
  });

  it('pass on after a second: an address that does not answer delays no other dial', async () => {
    const { clock, begun, queue } = scene(1);
    const silent = await queue('silent');
    const next = queue('next');
    clock.advance(990);
    expect(begun).toEqual(['silent']);
    clock.advance(20);
    await next;
    expect(begun).toEqual(['silent', 'next']);
    // It had its turn, and does not give back another's.
    silent.end();
    const third = queue('third');
    expect(begun).toHaveLength(2);
    (await next).end();
    await third;
    expect(begun).toHaveLength(3);
  });

  it('are given up with the reason of the signal', async () => {
    const { turns, begun, queue } = scene(1);
    const first = await queue('first');
    const aborter = new AbortController();
    const given = queue('given up', aborter.signal);
    const last = queue('last');
    aborter.abort(new Error('no longer wanted'));
    await expect(given).rejects.toThrow('no longer wanted');
    await expect(queue('late', aborter.signal)).rejects.toThrow('no longer wanted');
    expect(turns.size).toBe(1);
    first.end();
    await last;
    expect(begun).toEqual(['first', 'last']);
  });
});
