// What a policy makes of the outcomes of dials, with the time as the spec says.

import { beforeEach, describe, expect, it } from '@jest/globals';
import { failover } from '../../../lib/circuit/dial/destination.js';
import { type DialTarget, DialTargets } from '../../../lib/circuit/dial/dial-target.js';
import { Policies, type Policy } from '../../../lib/circuit/resilience/policy.js';
import { ServiceInstance } from '../../../lib/mesh/directory/service.js';
import { type ResilienceOptions, resolveResilience } from '../../../lib/options/resilience.js';
import { nodeIdOf } from '../../support/relay-fixture.js';

const targets = new DialTargets(nodeIdOf('me'));
const echo = targets.get('echo');
/** Instances at a distance of so many ms. */
const [near, other, far] = [1, 1, 200].map(
  (rttMs, index) => new ServiceInstance('echo', nodeIdOf(`N${index}`), 0, 1, undefined, { rttMs }),
);

let now: number;
let warnings: Error[];
let policies: Policies;
let policy: Policy;

function make(options: ResilienceOptions): void {
  policies = new Policies(
    resolveResilience(options),
    () => now,
    (error) => warnings.push(error),
  );
  policy = policies.normal as Policy;
}

function dial(target: DialTarget, instance: ServiceInstance, tookMs: number | undefined): void {
  const watched = policy.begin(target);
  watched.onOpen(target);
  if (tookMs === undefined) watched.onFault(target, instance);
  else watched.onConnected(target, instance, tookMs, tookMs);
  watched.onEnd();
}

beforeEach(() => {
  now = 0;
  warnings = [];
});

describe('a policy', () => {
  it('asks a second instance after the percentile of the times of the service, when it knows it', () => {
    make({ hedge: true });
    for (let ms = 1; ms < 20; ms++) dial(echo, near, ms);
    expect(policy.hedgeMs(echo)).toBe(Number.POSITIVE_INFINITY);
    dial(echo, near, 20);
    expect(policy.hedgeMs(echo)).toBe(19);
    expect(policy.hedgeMs(targets.get('web'))).toBe(Number.POSITIVE_INFINITY);
    make({ hedge: { delayMs: 5 } });
    expect(policy.hedgeMs(echo)).toBe(5);
  });

  it('leaves out an instance whose answers are slow, but none that is far away', () => {
    make({ outlierEjection: { latencyFactor: 3 } });
    const all = [near, other, far];
    for (let index = 0; index < 30; index++) {
      dial(echo, near, 5);
      dial(echo, far, 205);
    }
    expect(policy.healthy(echo, all)).toBe(all);
    for (let index = 0; index < 10; index++) dial(echo, other, 100);
    expect(policy.healthy(echo, all)).toEqual([near, far]);
    expect(policies.counters.ejections).toBe(1);
    now += 30_000;
    expect(policy.healthy(echo, all)).toBe(all);
  });

  it('takes an instance for slow that others had to stand in for', () => {
    make({ outlierEjection: { latencyFactor: 3 }, hedge: { delayMs: 100 } });
    for (let index = 0; index < 10; index++) {
      const watched = policy.begin(echo);
      watched.onOpen(echo);
      watched.onConnected(echo, near, 5, 5);
      watched.onSlower(echo, other, 105);
      watched.onEnd();
    }
    dial(echo, near, 5);
    for (let index = 0; index < 10; index++) policy.onAnswer(echo, other, 105);
    expect(policy.healthy(echo, [near, other])).toEqual([near]);
  });

  it('knows each address by itself', () => {
    make({ outlierEjection: { failures: 1 }, circuitBreaker: { failures: 2 } });
    dial(echo, near, undefined);
    dial(echo, near, undefined);
    expect(policy.healthy(echo, [near, other])).toEqual([other]);
    const web = targets.get('echo:80');
    expect(policy.healthy(web, [near, other])).toEqual([near, other]);
    expect([policy.begin(echo).waitMs(echo), policy.begin(web).waitMs(web)]).toEqual([5_000, 0]);
    expect(policies.count()).toEqual({ open: 1, ejected: 1 });
    now += 5_000;
    expect(policy.begin(echo).waitMs(echo)).toBe(0);
  });

  it('lets a dial through to a service of which a new instance has come, and to no other', () => {
    make({ circuitBreaker: { failures: 1 } });
    const all = ['echo', '0.echo', '1.echo', 'web'].map((address) => targets.get(address));
    all.push(targets.get(failover('web', '0.echo')));
    for (const target of all) dial(target, near, undefined);
    policies.onService(new ServiceInstance('echo', nodeIdOf('new'), 0, 1, undefined, undefined, '0'));
    expect(all.map((target) => policy.begin(target).waitMs(target))).toEqual([0, 0, 5_000, 5_000, 0]);
    dial(echo, near, 1);
    policies.onService(near);
    expect(policies.count().open).toBe(4);
  });

  it('names the service whose breaker lets a dial through first', () => {
    make({ circuitBreaker: { failures: 1 } });
    const [a, b] = [targets.get('a'), targets.get('b')];
    dial(a, near, undefined);
    now += 1_000;
    dial(b, near, undefined);
    const watched = policy.begin(targets.get(failover('a', 'b')));
    expect(watched.rejection([b, a])).toMatchObject({
      code: 'ERR_STARLANE_BREAKER_OPEN',
      retryAfterMs: 4_000,
      message: expect.stringContaining(': a, '),
    });
    expect(watched.rejection([])).toBeUndefined();
    expect(watched.rejection([a, targets.get('c')])).toBeUndefined();
    expect(policies.counters.rejected).toBe(1);
  });

  it('warns of breakers ten times at once at most, and of each once a minute', () => {
    make({ circuitBreaker: { failures: 1, openMs: 1 } });
    for (let round = 0; round < 3; round++) {
      dial(echo, near, undefined);
      now += 1;
    }
    expect(warnings.length).toBe(1);
    for (let index = 0; index < 20; index++) dial(targets.get(`service-${index}`), near, undefined);
    expect([warnings.length, policies.counters.breakersOpened]).toEqual([10, 23]);
    now += 60_000;
    dial(echo, near, undefined);
    expect(warnings.length).toBe(11);
  });

  it('keeps sixteen others, of which equal options share one', () => {
    make({});
    expect(policies.normal).toBeUndefined();
    const one = policies.of({ hedge: true });
    expect(policies.of({ hedge: {}, retryBudget: false })).toBe(one);
    expect([policies.of(undefined), policies.of(false), policies.of({})]).toEqual([undefined, undefined, undefined]);
    for (let delayMs = 1; delayMs <= 16; delayMs++) policies.of({ hedge: { delayMs } });
    expect(policies.of({ hedge: true })).not.toBe(one);
  });
});
