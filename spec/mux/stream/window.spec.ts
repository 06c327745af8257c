import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  grantDue,
  grownRelayedWindow,
  grownWindow,
  ReceiveBudget,
  ReceiverLoad,
} from '../../../lib/mux/stream/window.js';

const KIB = 1024;
const INITIAL = 256 * KIB;

describe('grantDue', () => {
  it('is nothing below half of the window, and everything due from there on', () => {
    expect(grantDue(INITIAL, INITIAL, 0)).toBe(0);
    expect(grantDue(INITIAL, INITIAL / 2 + 1, 0)).toBe(0);
    expect(grantDue(INITIAL, INITIAL / 2, 0)).toBe(INITIAL / 2);
    expect(grantDue(INITIAL, 0, 0)).toBe(INITIAL);
    expect(grantDue(INITIAL, 0, INITIAL)).toBe(0);
    expect(grantDue(INITIAL, 0, INITIAL / 2)).toBe(INITIAL / 2);
  });

  it('keeps window = credit + unread + due through any sequence of sending, reading and growing', () => {
    const step = fc.record({
      send: fc.double({ min: 0, max: 1, noNaN: true }),
      read: fc.double({ min: 0, max: 1, noNaN: true }),
      elapsedUs: fc.nat(100_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(50_000), (steps, rttUs) => {
        let windowBytes = INITIAL;
        let credit = INITIAL;
        let unread = 0;
        let owed = 0;
        for (const { send, read, elapsedUs } of steps) {
          const sent = Math.floor(credit * send);
          credit -= sent;
          unread += sent;
          const taken = Math.floor(unread * read);
          unread -= taken;
          owed += taken;
          const due = grantDue(windowBytes, credit, unread);
          // All of what was read, or nothing.
          expect(due === 0 || due === owed).toBe(true);
          expect(due > 0).toBe(owed >= windowBytes / 2);
          if (due === 0) continue;
          const grown = grownWindow(windowBytes, 4 * INITIAL, elapsedUs, rttUs);
          credit += due + grown - windowBytes;
          owed = 0;
          windowBytes = grown;
          expect(credit + unread + owed).toBe(windowBytes);
        }
      }),
    );
  });
});

describe('grownWindow', () => {
  const window = fc.integer({ min: INITIAL, max: 64 * INITIAL });
  const max = fc.integer({ min: INITIAL, max: 64 * INITIAL });

  it('never shrinks, at most doubles, and grows no further than the maximum', () => {
    fc.assert(
      fc.property(window, max, fc.nat(1_000_000), fc.nat(1_000_000), (windowBytes, maxBytes, elapsedUs, rttUs) => {
        const grown = grownWindow(windowBytes, maxBytes, elapsedUs, rttUs);
        expect(grown).toBeGreaterThanOrEqual(windowBytes);
        expect(grown).toBeLessThanOrEqual(windowBytes * 2);
        if (grown > windowBytes) expect(grown).toBeLessThanOrEqual(maxBytes);
      }),
    );
  });

  it('does not grow without a measured round trip', () => {
    expect(grownWindow(INITIAL, 4 * INITIAL, 0, 0)).toBe(INITIAL);
    expect(grownWindow(INITIAL, 4 * INITIAL, 0, 1)).toBe(2 * INITIAL);
  });

  it('grows when half a window was read within four round trips', () => {
    expect(grownWindow(INITIAL, 4 * INITIAL, 3_999, 1_000)).toBe(2 * INITIAL);
    expect(grownWindow(INITIAL, 4 * INITIAL, 4_000, 1_000)).toBe(INITIAL);
    expect(grownWindow(INITIAL, INITIAL + 1, 0, 1_000)).toBe(INITIAL + 1);
    expect(grownWindow(INITIAL, INITIAL, 0, 1_000)).toBe(INITIAL);
  });

  it('settles at a multiple of what the path holds', () => {
    // A reader of 100 MiB/s over 10 ms: 1 MiB is on the way at a time.
    const bytesPerUs = (100 * 1024 * KIB) / 1_000_000;
    const rttUs = 10_000;
    let windowBytes = INITIAL;
    for (let round = 0; round < 20; round++) {
      windowBytes = grownWindow(windowBytes, 16 * 1024 * KIB, windowBytes / 2 / bytesPerUs, rttUs);
    }
    expect(windowBytes).toBeGreaterThanOrEqual(bytesPerUs * rttUs);
    expect(windowBytes).toBeLessThanOrEqual(16 * bytesPerUs * rttUs);
  });
});

describe('grownRelayedWindow', () => {
  const SMALL = 64 * KIB;
  const MAX = 16 * 1024 * KIB;

  it('grows to a mebibyte while half of it is read within eight milliseconds, whatever the round trip', () => {
    for (const rttUs of [0, 50, 1_000]) {
      expect(grownRelayedWindow(SMALL, MAX, 7_999, rttUs)).toBe(2 * SMALL);
      expect(grownRelayedWindow(SMALL, MAX, 8_000, rttUs)).toBe(SMALL);
      expect(grownRelayedWindow(1024 * KIB, MAX, 7_999, rttUs)).toBe(1024 * KIB);
    }
  });

  it('grows by the round trip where it is longer, even beyond a mebibyte', () => {
    expect(grownRelayedWindow(SMALL, MAX, 39_999, 10_000)).toBe(2 * SMALL);
    expect(grownRelayedWindow(1024 * KIB, MAX, 39_999, 10_000)).toBe(2048 * KIB);
  });

  it('grows no further than its maximum', () => {
    expect(grownRelayedWindow(SMALL, 0, 1, 50)).toBe(SMALL);
    expect(grownRelayedWindow(SMALL, 100 * KIB, 1, 50)).toBe(100 * KIB);
  });
});

describe('ReceiverLoad', () => {
  it('is behind after many full reads in a row, until one that is not full', () => {
    const load = new ReceiverLoad();
    for (let read = 0; read < 15; read++) load.onRead(64 * KIB, 64 * KIB);
    expect(load.isBehind).toBe(false);
    load.onRead(64 * KIB, 64 * KIB);
    expect(load.isBehind).toBe(true);
    load.onRead(64 * KIB - 1, 64 * KIB);
    expect(load.isBehind).toBe(false);
  });
});

describe('ReceiveBudget', () => {
  it('lets windows grow up to its limit, and takes growth back', () => {
    const budget = new ReceiveBudget(1_000);
    expect(budget.tryGrow(600)).toBe(true);
    expect(budget.tryGrow(401)).toBe(false);
    expect(budget.tryGrow(400)).toBe(true);
    expect(budget.grownBytes).toBe(1_000);
    budget.release(600);
    expect(budget.tryGrow(600)).toBe(true);
  });

  it('reports when more is unread than its limit', () => {
    const budget = new ReceiveBudget(1_000);
    expect(budget.deliver(1_000)).toBe(true);
    expect(budget.deliver(1)).toBe(false);
    budget.consume(500);
    expect(budget.unreadBytes).toBe(501);
    expect(budget.deliver(499)).toBe(true);
  });

  it('counts growth and unread bytes separately', () => {
    const budget = new ReceiveBudget(1_000);
    expect(budget.tryGrow(1_000)).toBe(true);
    expect(budget.deliver(1_000)).toBe(true);
  });

  it('never grants more growth than its limit, whatever is asked', () => {
    const step = fc.record({ grow: fc.boolean(), bytes: fc.nat(400) });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const budget = new ReceiveBudget(1_000);
        const held: number[] = [];
        for (const { grow, bytes } of steps) {
          if (grow && budget.tryGrow(bytes)) held.push(bytes);
          else if (!grow && held.length > 0) budget.release(held.pop() as number);
          expect(budget.grownBytes).toBe(held.reduce((sum, part) => sum + part, 0));
          expect(budget.grownBytes).toBeLessThanOrEqual(1_000);
        }
      }),
    );
  });
});
