// When a certificate is renewed, in virtual time: no clock, no network.

import { describe, expect, it } from '@jest/globals';
import { type Member, readCertificate } from '../../../lib/identity/member-certificate.js';
import { Renewal } from '../../../lib/node/enrolment/renewal.js';
import { Timers } from '../../../lib/util/timers.js';
import { FakeClock } from '../../support/fake-clock.js';
import { newAuthority, newMember } from '../../support/members.js';

const DAY_MS = 86_400_000;
const START_MS = 1_800_000_000_000;

class Scene {
  readonly clock = new FakeClock();
  readonly authority = newAuthority();
  readonly warnings: string[] = [];
  readonly asked: number[] = [];
  own: Member;
  isReachable = true;
  endsMs: number | undefined;
  private readonly renewal: Renewal;
  private readonly identity = newMember(this.authority).identity;

  constructor(readonly lifetimeMs = 30 * DAY_MS) {
    this.own = this.issue();
    this.renewal = new Renewal({
      timers: new Timers(this.clock),
      now: () => this.nowMs,
      random: () => 0.5,
      own: () => this.own,
      authorityEndsMs: () => this.endsMs,
      renew: async () => {
        this.asked.push(this.nowMs);
        if (!this.isReachable) throw new Error('no issuer can be reached');
        this.own = this.issue();
      },
      onWarning: (warning) => this.warnings.push(warning.message),
    });
    this.renewal.update();
  }

  get nowMs(): number {
    return START_MS + this.clock.now();
  }

  /** The days from the start at which it has asked. */
  get askedDays(): number[] {
    return this.asked.map((ms) => Math.round((ms - START_MS) / (DAY_MS / 10)) / 10);
  }

  days(days: number): Promise<void> {
    return this.steps(days * 24, 3_600_000);
  }

  minutes(minutes: number): Promise<void> {
    return this.steps(minutes * 60, 1_000);
  }

  private async steps(count: number, stepMs: number): Promise<void> {
    for (let step = 0; step < count; step++) {
      this.clock.advance(stepMs);
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
    }
  }

  update(): void {
    this.renewal.update();
  }

  private issue(): Member {
    const { authority, lifetimeMs } = this;
    const { certificate } = newMember(authority, { lifetimeMs }, START_MS + this.clock.now(), this.identity);
    return readCertificate(certificate, [authority.publicKey]);
  }
}

describe('A certificate', () => {
  it('is renewed when two thirds of its life have passed, and so is the next one', async () => {
    const scene = new Scene();
    await scene.days(62);
    // 20 days, and half of the spread of one and a half days.
    expect(scene.askedDays).toEqual([20.8, 41.5]);
    expect(scene.warnings).toEqual([]);
  });

  it('is asked for again and again, with a warning each day of its last quarter, until an issuer is there', async () => {
    const scene = new Scene();
    scene.isReachable = false;
    await scene.days(25);
    expect(scene.asked.length).toBeGreaterThan(50);
    expect(scene.warnings).toHaveLength(3);
    expect(scene.warnings[0]).toBe(
      'no certificate was issued: that of this node, member, expires in 7 days, and was not renewed: no issuer can be reached',
    );
    scene.isReachable = true;
    await scene.days(1);
    expect(scene.own.notAfterMs).toBeGreaterThan(START_MS + 54 * DAY_MS);
    const { length } = scene.asked;
    await scene.days(10);
    expect(scene.asked).toHaveLength(length);
  });

  it('that has expired is reported, and still asked for', async () => {
    const scene = new Scene();
    scene.isReachable = false;
    await scene.days(31);
    expect(scene.warnings.at(-1)).toMatch(
      /^the certificate of a node has expired: member, this node: it needs a new token/,
    );
  });

  it('is asked for more often the nearer its end is', async () => {
    const scene = new Scene(3_600_000);
    scene.isReachable = false;
    await scene.minutes(60);
    const lasts = scene.asked.map((ms) => START_MS + 3_600_000 - ms).filter((ms) => ms > 0);
    const gaps = lasts.slice(1).map((ms, index) => lasts[index] - ms);
    expect(gaps.length).toBeGreaterThan(10);
    expect(Math.min(...gaps.slice(-5))).toBeLessThan(Math.max(...gaps) / 2);
  });

  it('of an authority that ends is renewed within the first quarter of the overlap, and an hour', async () => {
    const scene = new Scene();
    scene.endsMs = START_MS + 8 * 3_600_000;
    scene.update();
    await scene.minutes(60);
    expect(scene.asked.length).toBeGreaterThanOrEqual(1);
    expect(scene.asked[0] - START_MS).toBeLessThan(3_600_000);
  });
});
