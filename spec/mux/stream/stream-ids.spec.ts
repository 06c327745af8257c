import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { StreamIds } from '../../../lib/mux/stream/stream-ids.js';

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

  it('start where they are told, at the parity of their side', () => {
    expect(take(new StreamIds(true, false, 100), 2)).toEqual([101, 103]);
    expect(take(new StreamIds(false, false, 101), 2)).toEqual([102, 104]);
    expect(take(new StreamIds(true, false, 101), 1)).toEqual([101]);
  });

  it('go on past 2^31 as unsigned numbers', () => {
    expect(take(new StreamIds(true, false, 2 ** 31 - 3), 4)).toEqual([
      2 ** 31 - 3,
      2 ** 31 - 1,
      2 ** 31 + 1,
      2 ** 31 + 3,
    ]);
    expect(take(new StreamIds(false, false, 2 ** 31 - 2), 3)).toEqual([2 ** 31 - 2, 2 ** 31, 2 ** 31 + 2]);
  });

  it('run out at 2^32 towards a peer that never expects them again', () => {
    const client = new StreamIds(true, false, LAST - 2);
    expect(take(client, 4)).toEqual([LAST - 2, LAST, undefined, undefined]);
    const server = new StreamIds(false, false, LAST - 1);
    expect(take(server, 3)).toEqual([LAST - 1, undefined, undefined]);
    expect(new StreamIds(false, false, LAST).take(none)).toBeUndefined();
  });

  it('begin again where they may, past those that are live', () => {
    const client = new StreamIds(true, true, LAST);
    expect(take(client, 4, liveIds(1, 3, 7))).toEqual([LAST, 5, 9, 11]);
    const server = new StreamIds(false, true, LAST);
    expect(take(server, 2, liveIds(4))).toEqual([2, 6]);
  });

  it('pass live ids again at every later round', () => {
    const ids = new StreamIds(true, true, LAST);
    const live = liveIds(LAST, 1);
    expect(ids.take(none)).toBe(LAST);
    expect(ids.take(live)).toBe(3);
    Reflect.set(ids, 'next', LAST);
    expect(ids.take(live)).toBe(3);
  });

  it('tell the ids of the peer by their parity', () => {
    const client = new StreamIds(true, true);
    const server = new StreamIds(false, true);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: LAST }), (id) => {
        expect(client.isPeers(id)).toBe(id % 2 === 0);
        expect(server.isPeers(id)).toBe(id % 2 === 1);
      }),
    );
  });

  it('are never live ones, and always the own ones, wherever they start', () => {
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
