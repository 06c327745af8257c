// When a member book forgets what has expired: in time, whatever the clock on the wall does.

import { describe, expect, it } from '@jest/globals';
import type { MemberBook, MemberChange } from '../../lib/identity/member-book.js';
import { MAX_CHECK_MS, MemberSweeper } from '../../lib/identity/member-sweeper.js';
import { MAX_TIMEOUT_MS, Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';
import { newAuthority, newBook, newMember } from '../support/members.js';

const START_MS = Date.UTC(2030, 0, 1);
const DAY_MS = 86_400_000;
const authority = newAuthority();

class Scene {
  readonly clock = new FakeClock();
  readonly book: MemberBook;
  readonly sweeper: MemberSweeper;
  readonly expired: string[] = [];
  /** By how much the wall clock was set. */
  setMs = 0;
  private readonly beganMs = this.clock.now();

  constructor(...lifetimes: number[]) {
    this.book = newBook(authority, { now: () => this.wallMs });
    for (const lifetimeMs of lifetimes) this.add(lifetimeMs);
    this.book.onChange((change: MemberChange) => {
      if (change.type === 'expired') this.expired.push(change.nodeId);
    });
    this.sweeper = new MemberSweeper(this.book, new Timers(this.clock));
    this.sweeper.start();
  }

  get wallMs(): number {
    return START_MS + this.setMs + this.clock.now() - this.beganMs;
  }

  add(lifetimeMs: number): string {
    const { statement, identity } = newMember(authority, { lifetimeMs }, this.wallMs);
    this.book.add(statement);
    return identity.nodeId;
  }
}

describe('a member book that is swept', () => {
  it('forgets a certificate when it ends, and wakes for nothing else', () => {
    const scene = new Scene(10_000, 20_000);
    scene.clock.advance(9_999);
    expect(scene.expired).toHaveLength(0);
    scene.clock.advance(11);
    expect(scene.expired).toHaveLength(1);
    scene.clock.advance(10_000);
    expect([scene.expired.length, scene.book.size, scene.clock.armed]).toEqual([2, 0, 0]);
  });

  it('forgets one that came later, and ends earlier', () => {
    const scene = new Scene(DAY_MS);
    const brief = scene.add(5_000);
    scene.clock.advance(5_010);
    expect(scene.expired).toEqual([brief]);
  });

  it('takes over a newer certificate', () => {
    const scene = new Scene();
    const { identity, statement } = newMember(authority, { lifetimeMs: 10_000 }, scene.wallMs);
    scene.book.add(statement);
    scene.clock.advance(9_000);
    scene.book.add(newMember(authority, { lifetimeMs: 10_000 }, scene.wallMs, identity).statement);
    scene.clock.advance(9_990);
    expect(scene.expired).toEqual([]);
    scene.clock.advance(20);
    expect(scene.expired).toEqual([identity.nodeId]);
  });

  it('waits longer than a timeout of Node can', () => {
    const scene = new Scene(60 * DAY_MS);
    expect(60 * DAY_MS).toBeGreaterThan(MAX_TIMEOUT_MS);
    scene.clock.advance(60 * DAY_MS - 1);
    expect(scene.expired).toEqual([]);
    scene.clock.advance(20);
    expect(scene.expired).toHaveLength(1);
  });

  it('notices within half a minute that the clock was set ahead, or that the machine has slept', () => {
    const scene = new Scene(10 * DAY_MS);
    scene.clock.advance(1_000);
    scene.setMs = 10 * DAY_MS;
    scene.clock.advance(MAX_CHECK_MS + 10);
    expect(scene.expired).toHaveLength(1);
  });

  it('forgets nothing early when the clock was set back, not even what seems to begin in the future', () => {
    const scene = new Scene(10_000, 2 * DAY_MS);
    scene.setMs = -DAY_MS;
    scene.clock.advance(20_000);
    expect(scene.expired).toEqual([]);
    scene.clock.advance(DAY_MS);
    expect(scene.expired).toHaveLength(1);
    scene.clock.advance(2 * DAY_MS);
    expect(scene.expired).toHaveLength(2);
  });

  it('keeps a certificate that seems to begin in the future while another one ends', () => {
    const scene = new Scene();
    const brief = scene.add(10_000);
    scene.setMs = DAY_MS;
    scene.add(DAY_MS);
    scene.setMs = 0;
    scene.clock.advance(10_010);
    expect(scene.expired).toEqual([brief]);
    expect(scene.book.size).toBe(1);
  });

  it('lets members of an authority go that has been succeeded, at the end of the overlap', () => {
    const scene = new Scene(10 * DAY_MS);
    const next = newAuthority();
    scene.book.add(authority.succeed(next, scene.wallMs + DAY_MS, scene.wallMs));
    scene.clock.advance(DAY_MS - 20);
    expect(scene.expired).toEqual([]);
    // The statement counts in seconds.
    scene.clock.advance(1_030);
    expect(scene.expired).toHaveLength(1);
    expect(scene.book.authorities()).toEqual([next.publicKey]);
  });

  it('wakes no more when it is stopped', () => {
    const scene = new Scene(10_000);
    scene.sweeper.stop();
    expect(scene.clock.armed).toBe(0);
    scene.add(1_000);
    expect(scene.clock.armed).toBe(0);
    scene.clock.advance(20_000);
    expect(scene.expired).toEqual([]);
  });
});
