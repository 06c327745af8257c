import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { FIRST_SAMPLES, Lateness, Liveness, RoundTrip } from '../../../lib/mux/liveness/liveness.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';

const IDLE_MS = 5_000;
const TIMEOUT_MS = 15_000;

class Host {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly pings: number[] = [];
  readonly silences: number[] = [];
  readonly liveness: Liveness;

  constructor(idleMs = IDLE_MS, isEncrypted = false) {
    this.liveness = new Liveness(this.timers, this, idleMs, TIMEOUT_MS, isEncrypted);
  }

  sendPing(opaque: number): void {
    this.pings.push(opaque);
  }

  onSilent(silentMs: number): void {
    this.silences.push(silentMs);
  }

  /** The peer answers the last ping after `rttMs`. */
  answer(rttMs: number): void {
    this.clock.advance(rttMs);
    this.liveness.onReceived();
    this.liveness.onPong(this.pings[this.pings.length - 1]);
  }

  /** The peer answers until there is no new ping. */
  answerAll(rttMs: number): void {
    for (let answered = 0; answered !== this.pings.length; ) {
      answered = this.pings.length;
      this.answer(rttMs);
    }
  }

  /** Two turns of the event loop, as reading what has arrived takes. */
  twoTurns(): void {
    this.clock.runImmediates();
    this.clock.runImmediates();
  }
}

describe('Liveness', () => {
  it('measures the round trip from the start, several times, and keeps the smallest', () => {
    const host = new Host();
    host.liveness.start();
    expect(host.liveness.rttMs).toBe(0);
    for (const rttMs of [30, 12, 11, 14]) host.answer(rttMs);
    expect(host.liveness.rttMs).toBe(11);
    host.answerAll(11);
    expect(host.pings).toHaveLength(FIRST_SAMPLES);
    host.liveness.stop(new Error('end'));
  });

  it('measures the working round trip again when the last sample is old', () => {
    const host = new Host();
    host.liveness.start();
    host.answerAll(20);
    const pings = host.pings.length;
    expect(host.liveness.measureWorkingRttUs()).toBe(20_000);
    expect(host.pings).toHaveLength(pings);
    host.clock.advance(1_001);
    expect(host.liveness.measureWorkingRttUs()).toBe(20_000);
    expect(host.liveness.measureWorkingRttUs()).toBe(20_000);
    expect(host.pings).toHaveLength(pings + 1);
    host.liveness.stop(new Error('end'));
  });

  it('takes a longer working round trip on an encrypted link, once one is measured', () => {
    const host = new Host(IDLE_MS, true);
    expect(host.liveness.measureWorkingRttUs()).toBe(0);
    host.liveness.start();
    host.answerAll(1);
    expect(host.liveness.measureWorkingRttUs()).toBe(1_350);
    expect(host.liveness.rttMs).toBe(1);
    host.liveness.stop(new Error('end'));
  });

  it('resolves a ping with its time, and rejects it when the session ends', async () => {
    const host = new Host();
    host.liveness.start();
    const measured = host.liveness.ping();
    host.answer(42);
    expect(await measured).toBeCloseTo(42);
    const cut = host.liveness.ping();
    host.liveness.stop(new Error('the end'));
    await expect(cut).rejects.toThrow('the end');
    expect(host.timers.size).toBe(0);
  });

  it('distinguishes pings that are answered out of order', async () => {
    const host = new Host(0);
    const pings = [host.liveness.ping(), host.liveness.ping()];
    host.clock.advance(10);
    host.liveness.onPong(1);
    host.clock.advance(10);
    host.liveness.onPong(0);
    expect(await Promise.all(pings)).toEqual([20, 10]);
  });

  it('ignores answers to no ping', () => {
    const host = new Host(0);
    host.liveness.start();
    host.liveness.onPong(0xffff_ffff);
    host.liveness.onPong(0);
    host.liveness.onPong(0);
    expect(host.pings).toEqual([0, 1]);
  });

  it('limits unanswered pings of a user', async () => {
    const host = new Host(0);
    const pings = Array.from({ length: 256 }, () => host.liveness.ping());
    await expect(host.liveness.ping()).rejects.toMatchObject({ code: 'ERR_STARLANE_STREAM_LIMIT' });
    host.liveness.stop(new Error('the end'));
    const ends = await Promise.allSettled(pings);
    expect(ends.every(({ status }) => status === 'rejected')).toBe(true);
  });

  it('keeps no state for a peer that never answers', () => {
    const host = new Host();
    host.liveness.start();
    for (let round = 0; round < 1_000; round++) {
      // Any byte counts as life, so the idle peer is pinged again and again.
      host.clock.advance(IDLE_MS + 20);
      host.liveness.onReceived();
    }
    expect(host.pings.length).toBeGreaterThan(400);
    expect((Reflect.get(host.liveness, 'pending') as Map<number, unknown>).size).toBeLessThan(5);
    host.liveness.stop(new Error('end'));
  });

  it('pings a quiet peer, and reports it after the timeout and two turns of the event loop', () => {
    const host = new Host();
    host.liveness.start();
    host.answer(1);
    const pings = host.pings.length;
    host.clock.advance(IDLE_MS + 10);
    expect(host.pings).toHaveLength(pings + 1);
    host.clock.advance(TIMEOUT_MS - IDLE_MS);
    expect(host.silences).toEqual([]);
    host.twoTurns();
    expect(host.silences).toHaveLength(1);
    expect(host.silences[0]).toBeGreaterThanOrEqual(TIMEOUT_MS);
    expect(host.silences[0]).toBeLessThan(TIMEOUT_MS + 100);
    host.liveness.stop(new Error('end'));
  });

  it('waits longer for a distant peer', () => {
    const host = new Host();
    host.liveness.start();
    host.answerAll(300);
    host.clock.advance(2 * TIMEOUT_MS - 100);
    host.twoTurns();
    expect(host.silences).toEqual([]);
    host.clock.advance(200);
    host.twoTurns();
    expect(host.silences).toHaveLength(1);
    host.liveness.stop(new Error('end'));
  });

  it('does not report a peer whose bytes were unread while this process was blocked', () => {
    const host = new Host();
    host.liveness.start();
    host.answerAll(1);
    // Just before the check that would find the peer silent.
    host.clock.advance(TIMEOUT_MS - 20);
    host.clock.lag(60_000);
    // Timers run first, reading comes after them.
    host.clock.advance(0);
    expect(host.clock.immediatesWaiting).toBe(1);
    host.clock.runImmediates();
    host.liveness.onReceived();
    host.clock.runImmediates();
    expect(host.silences).toEqual([]);
    // The peer is still watched after that.
    host.clock.advance(IDLE_MS + 10);
    host.clock.advance(TIMEOUT_MS - IDLE_MS + 10);
    host.twoTurns();
    expect(host.silences).toHaveLength(1);
    host.liveness.stop(new Error('end'));
  });

  it('reports a peer that has really gone, soon after this process was blocked', () => {
    const host = new Host();
    host.liveness.start();
    host.clock.advance(IDLE_MS + 10);
    host.clock.lag(60_000);
    host.clock.advance(0);
    host.twoTurns();
    host.clock.advance(TIMEOUT_MS);
    host.twoTurns();
    expect(host.silences).toHaveLength(1);
    host.liveness.stop(new Error('end'));
  });

  it('has no timer without a keepalive, nor after the end', () => {
    const without = new Host(0);
    without.liveness.start();
    expect(without.timers.size).toBe(0);
    const stopped = new Host();
    stopped.liveness.start();
    stopped.clock.advance(IDLE_MS + 10);
    stopped.clock.advance(TIMEOUT_MS);
    stopped.liveness.stop(new Error('end'));
    stopped.twoTurns();
    expect(stopped.silences).toEqual([]);
    expect(stopped.timers.size).toBe(0);
  });
});

describe('RoundTrip', () => {
  it('is 0 before the first sample, and never 0 after it', () => {
    const roundTrip = new RoundTrip();
    expect(roundTrip.us).toBe(0);
    roundTrip.sample(0, 1_000);
    expect(roundTrip.us).toBe(1);
  });

  it('is the smallest sample, in microseconds', () => {
    const roundTrip = new RoundTrip();
    for (const rttMs of [5, 2.5, 9, 3]) roundTrip.sample(rttMs, 0);
    expect(roundTrip.us).toBe(2_500);
  });

  it('does not follow a loaded link up', () => {
    const roundTrip = new RoundTrip();
    roundTrip.sample(10, 0);
    for (let second = 1; second <= 60; second++) roundTrip.sample(400, second * 1_000);
    expect(roundTrip.us).toBe(10_000);
  });

  it('follows a path that has become longer after one minute', () => {
    const roundTrip = new RoundTrip();
    roundTrip.sample(10, 0);
    for (let second = 1; second <= 62; second++) roundTrip.sample(100, second * 1_000);
    expect(roundTrip.us).toBe(100_000);
  });

  it('is always one of the samples, and never above the newest', () => {
    const samples = fc.array(fc.record({ waitMs: fc.nat(20_000), rttMs: fc.integer({ min: 1, max: 500 }) }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(samples, (list) => {
        const roundTrip = new RoundTrip();
        const taken = new Set<number>();
        let now = 0;
        for (const { waitMs, rttMs } of list) {
          now += waitMs;
          roundTrip.sample(rttMs, now);
          taken.add(rttMs * 1_000);
          expect(taken).toContain(roundTrip.us);
          expect(roundTrip.us).toBeLessThanOrEqual(rttMs * 1_000);
        }
      }),
    );
  });
});

function after(samples: readonly number[]): Lateness {
  const lateness = new Lateness();
  for (const rttMs of samples) lateness.sample(rttMs);
  return lateness;
}

const steady = (rttMs: number, count: number): number[] => Array.from({ length: count }, () => rttMs);

describe('Lateness', () => {
  it('is unknown before the first answer, and half a round trip after it', () => {
    expect(new Lateness().ms).toBe(0);
    expect(after([300]).ms).toBe(150);
  });

  it('is almost nothing where every answer takes the same time', () => {
    expect(after(steady(300, 200)).ms).toBeLessThan(1);
  });

  it('rises with one late answer, and stays high over dozens of timely ones', () => {
    const one = [...steady(300, 200), 850];
    expect(after(one).ms).toBeGreaterThan(250);
    expect(after([...one, ...steady(300, 30)]).ms).toBeGreaterThan(100);
  });

  it('is about the delay by one loss when one answer of ten is late', () => {
    const round = [...steady(300, 9), 850];
    const { ms } = after(Array.from({ length: 50 }, () => round).flat());
    expect(ms).toBeGreaterThan(400);
    expect(ms).toBeLessThan(1_000);
  });

  it('is hardly changed by a process that was blocked for a minute', () => {
    expect(after([...steady(300, 200), 60_000]).ms).toBeLessThan(600);
  });
});
