// The ids and the deadlines of the streams of a session.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Deadlines, StreamIds } from '../../../lib/mux/stream/stream-table.js';
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
  it('expire in the order of addition, each at its own time', () => {
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

  it('do not expire early with others that were added shortly before', () => {
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

  it('do not expire for a member that was removed in time', () => {
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

  it('still need one timer when an expired member adds another', () => {
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
    // It is set for the member that is due first.
    expect(expired).toEqual(['a', 'b']);
    expect(timers.size).toBe(1);
    clock.advance(5_000);
    expect(expired).toEqual(['a', 'b', "a'", "b'", "a''", "b''"]);
    expect(timers.size).toBe(0);
  });

  it('leave no timer when they are cleared after an expired member has added another', () => {
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

const LAST = 0xffff_ffff;

function liveIds(...ids: number[]): Map<number, unknown> {
  return new Map(ids.map((id) => [id, null]));
}

const none = liveIds();

function take(ids: StreamIds, count: number, live = none): Array<number | undefined> {
  return Array.from({ length: count }, () => ids.take(live));
}

describe('StreamIds', () => {
  it('are odd for the client and even for the server, in order, never 0', () => {
    expect(take(new StreamIds(true, false), 4)).toEqual([1, 3, 5, 7]);
    expect(take(new StreamIds(false, false), 4)).toEqual([2, 4, 6, 8]);
  });

  it('start at the given id, rounded up to the parity of their side', () => {
    expect(take(new StreamIds(true, false, 100), 2)).toEqual([101, 103]);
    expect(take(new StreamIds(false, false, 101), 2)).toEqual([102, 104]);
    expect(take(new StreamIds(true, false, 101), 1)).toEqual([101]);
  });

  it('continue past 2^31 as unsigned numbers', () => {
    expect(take(new StreamIds(true, false, 2 ** 31 - 3), 4)).toEqual([
      2 ** 31 - 3,
      2 ** 31 - 1,
      2 ** 31 + 1,
      2 ** 31 + 3,
    ]);
    expect(take(new StreamIds(false, false, 2 ** 31 - 2), 3)).toEqual([2 ** 31 - 2, 2 ** 31, 2 ** 31 + 2]);
  });

  it('run out at 2^32 with a peer that does not expect them again', () => {
    const client = new StreamIds(true, false, LAST - 2);
    expect(take(client, 4)).toEqual([LAST - 2, LAST, undefined, undefined]);
    const server = new StreamIds(false, false, LAST - 1);
    expect(take(server, 3)).toEqual([LAST - 1, undefined, undefined]);
    expect(new StreamIds(false, false, LAST).take(none)).toBeUndefined();
  });

  it('wrap where they may, and skip live ids', () => {
    const client = new StreamIds(true, true, LAST);
    expect(take(client, 4, liveIds(1, 3, 7))).toEqual([LAST, 5, 9, 11]);
    const server = new StreamIds(false, true, LAST);
    expect(take(server, 2, liveIds(4))).toEqual([2, 6]);
  });

  it('skip live ids in every later round', () => {
    const ids = new StreamIds(true, true, LAST);
    const live = liveIds(LAST, 1);
    expect(ids.take(none)).toBe(LAST);
    expect(ids.take(live)).toBe(3);
    Reflect.set(ids, 'next', LAST);
    expect(ids.take(live)).toBe(3);
  });

  it('recognise the ids of the peer by their parity', () => {
    const client = new StreamIds(true, true);
    const server = new StreamIds(false, true);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: LAST }), (id) => {
        expect(client.isPeers(id)).toBe(id % 2 === 0);
        expect(server.isPeers(id)).toBe(id % 2 === 1);
      }),
    );
  });

  it('are never live, and always of their side, wherever they start', () => {
    const start = fc.oneof(fc.integer({ min: LAST - 20, max: LAST }), fc.integer({ min: 1, max: 20 }));
    fc.assert(
      fc.property(fc.boolean(), start, fc.array(fc.boolean(), { maxLength: 60 }), (client, first, keeps) => {
        const ids = new StreamIds(client, true, first);
        const live = liveIds();
        for (const keep of keeps) {
          const id = ids.take(live) as number;
          expect(live.has(id)).toBe(false);
          expect(ids.isPeers(id)).toBe(false);
          expect(id).toBeGreaterThan(0);
          expect(id).toBeLessThanOrEqual(LAST);
          if (keep) live.set(id, null);
        }
      }),
    );
  });
});
