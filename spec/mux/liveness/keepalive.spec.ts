import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Keepalive, OWN_LAG_MS, Verdict } from '../../../lib/mux/liveness/keepalive.js';

const IDLE_MS = 5_000;
const TIMEOUT_MS = 15_000;

/** A keepalive whose checks come when they are due, plus a lag. */
class Watched {
  now = 1_000;
  readonly keepalive = new Keepalive(IDLE_MS, TIMEOUT_MS, this.now);

  /** Waits for the next check and makes it, `lagMs` late. */
  check(lagMs = 0): Verdict {
    this.now += this.keepalive.nextCheckMs(this.now) + lagMs;
    return this.keepalive.check(this.now);
  }

  /** Checks as long as the verdict is to wait. */
  checkUntilDue(lagMs = 0): Verdict {
    let verdict = this.check(lagMs);
    while (verdict === Verdict.WAIT) verdict = this.check();
    return verdict;
  }

  receivesAfter(ms: number): void {
    this.now += ms;
    this.keepalive.onReceived(this.now);
  }
}

describe('Keepalive', () => {
  it('pings after the idle time, and reports silence after the timeout', () => {
    const watched = new Watched();
    expect(watched.check()).toBe(Verdict.PING);
    expect(watched.now).toBe(1_000 + IDLE_MS);
    expect(watched.checkUntilDue()).toBe(Verdict.SILENT);
    expect(watched.now).toBe(1_000 + TIMEOUT_MS);
    expect(watched.keepalive.silentMs(watched.now)).toBe(TIMEOUT_MS);
  });

  it('keeps waiting while bytes of the peer arrive', () => {
    const watched = new Watched();
    for (let round = 0; round < 10; round++) {
      const wait = watched.keepalive.nextCheckMs(watched.now);
      watched.receivesAfter(wait - 1);
      watched.now += 1;
      expect(watched.keepalive.check(watched.now)).toBe(Verdict.WAIT);
    }
  });

  it('pings again in the next idle time after an answer', () => {
    const watched = new Watched();
    expect(watched.check()).toBe(Verdict.PING);
    watched.receivesAfter(100);
    expect(watched.check()).toBe(Verdict.PING);
  });

  it('waits proportionally longer on a path above 150 ms, but at most four times as long', () => {
    for (const [rttMs, times] of [
      [0, 1],
      [150, 1],
      [300, 2],
      [10_000, 4],
    ]) {
      const watched = new Watched();
      watched.keepalive.onRoundTrip(rttMs);
      expect(watched.checkUntilDue()).toBe(Verdict.PING);
      expect(watched.checkUntilDue()).toBe(Verdict.SILENT);
      expect(watched.now).toBe(1_000 + times * TIMEOUT_MS);
    }
  });

  it('never reports a peer silent that it has not pinged', () => {
    // The first check comes late, and all of the timeout has passed by then.
    const keepalive = new Keepalive(1_000, 1_200, 0);
    expect(keepalive.nextCheckMs(0)).toBe(1_000);
    expect(keepalive.check(1_000 + OWN_LAG_MS)).toBe(Verdict.PING);
    expect(keepalive.nextCheckMs(1_000 + OWN_LAG_MS)).toBe(1);
    expect(keepalive.check(1_000 + OWN_LAG_MS + 1)).toBe(Verdict.SILENT);
  });

  it('does not count the time in which this process was blocked', () => {
    const watched = new Watched();
    expect(watched.check()).toBe(Verdict.PING);
    // The deadline passed while the event loop was blocked; the answer was in the kernel all the time.
    expect(watched.check(60_000)).toBe(Verdict.WAIT);
    expect(watched.checkUntilDue()).toBe(Verdict.SILENT);
    expect(watched.keepalive.silentMs(watched.now)).toBe(TIMEOUT_MS);
    const idle = new Watched();
    expect(idle.check(60_000)).toBe(Verdict.PING);
    expect(idle.keepalive.silentMs(idle.now)).toBe(IDLE_MS);
    expect(idle.checkUntilDue()).toBe(Verdict.SILENT);
    expect(idle.now).toBe(1_000 + 60_000 + TIMEOUT_MS);
  });

  it('treats a slightly late check as on time', () => {
    const watched = new Watched();
    expect(watched.check(OWN_LAG_MS)).toBe(Verdict.PING);
    expect(watched.keepalive.silentMs(watched.now)).toBe(IDLE_MS + OWN_LAG_MS);
  });

  it('gives the peer its full time from the ping on, and no more, whatever the lag', () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant('received' as const), ms: fc.nat(20_000) }),
      fc.record({ kind: fc.constant('check' as const), ms: fc.oneof(fc.nat(OWN_LAG_MS), fc.nat(30_000)) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const watched = new Watched();
        let receivedAt = watched.now;
        let lagMs = 0;
        for (const { kind, ms } of events) {
          if (kind === 'received') {
            // A byte arrives before the check that is due.
            const wait = watched.keepalive.nextCheckMs(watched.now);
            watched.receivesAfter(Math.min(ms, wait));
            receivedAt = watched.now;
            lagMs = 0;
            continue;
          }
          const verdict = watched.check(ms);
          lagMs += ms;
          if (verdict !== Verdict.SILENT) continue;
          const silentMs = watched.now - receivedAt;
          expect(silentMs).toBeGreaterThanOrEqual(TIMEOUT_MS);
          expect(silentMs).toBeLessThanOrEqual(TIMEOUT_MS + lagMs + 1);
          return;
        }
      }),
    );
  });
});
