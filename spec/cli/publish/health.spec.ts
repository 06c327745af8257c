import { describe, expect, it } from '@jest/globals';
import { Health } from '../../../lib/cli/services/publish/health.js';
import { endInWords, exitCodeFor, Restarts } from '../../../lib/cli/services/publish/restarts.js';

const OK = undefined;

describe('the health of a published service', () => {
  it('is good with the first success, and bad with the first failure', () => {
    const up = new Health({ rise: 3, fall: 3 });
    expect(up.observe(OK)).toBe(true);
    expect(up.isHealthy).toBe(true);
    const down = new Health({ rise: 3, fall: 3 });
    expect(down.observe('ECONNREFUSED')).toBe(true);
    expect(down).toMatchObject({ isHealthy: false, fault: 'ECONNREFUSED' });
  });

  it('changes after as many results in a row as it takes', () => {
    const health = new Health({ rise: 2, fall: 3 });
    const results = [OK, 'a', 'b', OK, 'c', 'd', 'e', OK, 'f', OK, OK];
    expect(results.map((fault) => [health.observe(fault), health.isHealthy])).toEqual([
      [true, true],
      [false, true],
      [false, true],
      [false, true],
      [false, true],
      [false, true],
      [true, false],
      [false, false],
      [false, false],
      [false, false],
      [true, true],
    ]);
    expect(health.fault).toBeUndefined();
  });

  it('says why it is bad, with the newest reason', () => {
    const health = new Health({ rise: 1, fall: 1 });
    health.observe('status 500');
    expect(health.observe('status 503')).toBe(false);
    expect(health.fault).toBe('status 503');
  });

  it('is bad at once when the program has ended', () => {
    const health = new Health({ rise: 1, fall: 10 });
    health.observe(OK);
    expect(health.fail('exit code 1')).toBe(true);
    expect(health.fail('exit code 1')).toBe(false);
    expect(health).toMatchObject({ isHealthy: false, fault: 'exit code 1' });
  });
});

describe('the restarts of a program', () => {
  const failed = { code: 1, signal: null };

  it('wait for a second, twice as long after each failure, and for half a minute at most', () => {
    const restarts = new Restarts('always', () => 0);
    const waits = Array.from({ length: 8 }, () => restarts.next(failed, 100));
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    expect(restarts.count).toBe(8);
  });

  it('differ at random', () => {
    expect(new Restarts('always', () => 0.5).next(failed, 0)).toBe(750);
    expect(new Restarts('always', () => 0.999).next(failed, 0)).toBeGreaterThanOrEqual(500);
  });

  it('begin again after a minute without a fault', () => {
    const restarts = new Restarts('always', () => 0);
    restarts.next(failed, 0);
    restarts.next(failed, 0);
    expect(restarts.next(failed, 59_999)).toBe(4_000);
    expect(restarts.next(failed, 60_000)).toBe(1_000);
  });

  it('follow the policy', () => {
    const cleanly = { code: 0, signal: null };
    const killed = { code: null, signal: 'SIGKILL' as const };
    expect(new Restarts('always', () => 0).next(cleanly, 0)).toBe(1_000);
    expect(new Restarts('on-failure', () => 0).next(cleanly, 0)).toBeUndefined();
    expect(new Restarts('on-failure', () => 0).next(failed, 0)).toBe(1_000);
    expect(new Restarts('on-failure', () => 0).next(killed, 0)).toBe(1_000);
    expect(new Restarts('never', () => 0).next(failed, 0)).toBeUndefined();
  });

  it('have words and exit codes for the end', () => {
    expect([endInWords(failed), exitCodeFor(failed)]).toEqual(['exit code 1', 1]);
    const killed = { code: null, signal: 'SIGKILL' as const };
    expect([endInWords(killed), exitCodeFor(killed)]).toEqual(['SIGKILL', 137]);
  });
});
