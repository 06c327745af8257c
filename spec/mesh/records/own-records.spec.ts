import { describe, expect, it } from '@jest/globals';
import { IdentityConflict } from '../../../lib/mesh/records/own-records.js';
import { OwnShards, ServiceFlaps, type ShardContent } from '../../../lib/mesh/records/own-shards.js';
import { NodeThrottle, type Urgency } from '../../../lib/mesh/records/throttle.js';
import { canTake, TokenBucket } from '../../../lib/util/token-bucket.js';
import { encodeShardRecord, MAX_SHARD_RECORD_BYTES } from '../../../lib/wire/records.js';
import { thrownCode } from '../../support/thrown.js';
import { pretendIdentity } from '../gossip-net.js';

describe('a token bucket', () => {
  it('lets a burst through, then a number per second', () => {
    const bucket = new TokenBucket({ perS: 2, burst: 3 });
    for (let n = 0; n < 3; n++) {
      expect(bucket.canTake(0)).toBe(true);
      bucket.take(0);
    }
    expect(bucket.canTake(0)).toBe(false);
    expect(bucket.waitMs(0)).toBe(500);
    expect(bucket.canTake(499)).toBe(false);
    expect(bucket.canTake(500)).toBe(true);
    bucket.take(500);
    expect(bucket.waitMs(500, 2)).toBe(1_000);
    expect(bucket.waitMs(10_000, 3)).toBe(0);
  });

  it('lets through more than the burst when it is full, and waits longer after that', () => {
    const bucket = new TokenBucket({ perS: 10, burst: 5 });
    expect(bucket.canTake(0, 20)).toBe(true);
    bucket.take(0, 20);
    expect(bucket.waitMs(0)).toBe(1_600);
    expect(canTake(0, 0, { perS: 1, burst: 1 }, 5)).toBe(true);
  });
});

describe('the throttle of the node record', () => {
  /** Returns when changes that are requested at these times are published. */
  function publishedAt(wants: ReadonlyArray<readonly [ms: number, urgency: Urgency]>, untilMs: number): number[] {
    const throttle = new NodeThrottle();
    const times: number[] = [];
    const left = [...wants];
    for (let now = 0; now <= untilMs; now++) {
      while (left.length > 0 && left[0][0] <= now) throttle.want(left.shift()![1], now);
      if (throttle.dueAt(now) > now) continue;
      times.push(now);
      throttle.onPublished(now);
    }
    return times;
  }

  it('publishes losses at once, gains after a moment, costs after a while', () => {
    expect(publishedAt([[100, 'now']], 10_000)).toEqual([100]);
    expect(publishedAt([[100, 'soon']], 10_000)).toEqual([150]);
    expect(publishedAt([[100, 'metric']], 10_000)).toEqual([5_100]);
    expect(
      publishedAt(
        [
          [100, 'metric'],
          [200, 'soon'],
          [220, 'now'],
        ],
        10_000,
      ),
    ).toEqual([220]);
  });

  it('publishes redundant links after a second, all that come up until then together', () => {
    const three = [100, 400, 1_000].map((ms) => [ms, 'redundantLink'] as const);
    expect(publishedAt(three, 10_000)).toEqual([1_100]);
    expect(publishedAt([...three, [1_050, 'now']], 10_000)).toEqual([1_050]);
    expect(publishedAt([three[0], [200, 'soon'], three[2]], 10_000)).toEqual([250, 2_000]);
  });

  it('publishes the loss of a leaving peer within ten seconds, without delaying other changes', () => {
    expect(publishedAt([[100, 'peerLeaving']], 60_000)).toEqual([10_100]);
    expect(
      publishedAt(
        [
          [100, 'redundantLink'],
          [200, 'peerLeaving'],
          [3_000, 'peerLeaving'],
          [3_100, 'now'],
        ],
        10_000,
      ),
    ).toEqual([1_100, 3_100]);
  });

  it('lets a burst of losses through, and then less than receivers allow', () => {
    const storm = Array.from({ length: 600 }, (_, n) => [10 * n, 'now'] as const);
    const times = publishedAt(storm, 6_000);
    expect(times.slice(0, 5)).toEqual([0, 10, 20, 30, 40]);
    expect(times.length).toBeLessThanOrEqual(5 + 0.9 * 6);
    expect(times.length).toBeGreaterThanOrEqual(9);
  });

  it('makes longer and longer pauses while gains do not stop, and resets them when it is calm', () => {
    const storm = Array.from({ length: 3_000 }, (_, n) => [100 * n, 'soon'] as const);
    const times = publishedAt(storm, 300_000);
    const pauses = times.slice(1).map((at, index) => at - times[index]);
    // The first changes of a calm node need no pause.
    expect(pauses.filter((pause) => pause < 1_000).length).toBeLessThanOrEqual(5);
    expect(pauses.slice(0, 3).every((pause) => pause < 200)).toBe(true);
    expect(pauses.slice(0, 7).every((pause) => pause < 1_200)).toBe(true);
    expect(Math.max(...pauses)).toBeGreaterThanOrEqual(30_000);
    expect(Math.max(...pauses)).toBeLessThan(31_000);
    const calm = publishedAt([...storm, [400_000, 'soon'], [400_100, 'soon'], [401_500, 'soon']], 410_000);
    expect(calm.filter((at) => at >= 400_000)).toEqual([400_050, 400_150, 401_550]);
  });
});

describe('a conflict about an identity', () => {
  it('does not begin after a restart or two', () => {
    const conflict = new IdentityConflict();
    expect([0, 100, 200].map((now) => conflict.onConflict(now))).toEqual([0, 0, 0]);
    expect(conflict.isActive).toBe(false);
    expect([70_000, 70_100].map((now) => conflict.onConflict(now))).toEqual([0, 0]);
  });

  it('makes every answer rarer, until it ends', () => {
    const conflict = new IdentityConflict();
    const delays: number[] = [];
    let now = 0;
    for (let step = 0; step < 12; step++) {
      delays.push(conflict.onConflict(now));
      now += delays[step] + 10;
    }
    expect(delays).toEqual([0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(conflict.isActive).toBe(true);
    expect(conflict.onConflict(now + 400_000)).toBe(0);
    expect(conflict.isActive).toBe(false);
  });
});

describe('services that come and go', () => {
  it('are withheld for a minute after the sixth return in a minute', () => {
    const flaps = new ServiceFlaps();
    const until = Array.from({ length: 9 }, (_, n) => flaps.onBind('a:1', 1_000 * n));
    expect(until).toEqual([0, 0, 0, 0, 0, 0, 0, 67_000, 68_000]);
    expect(flaps.onBind('b:1', 9_000)).toBe(0);
    expect(flaps.onBind('a:1', 69_000)).toBe(0);
  });
});

describe('own shards', () => {
  function due(shards: OwnShards, now: number): ShardContent[] {
    const contents: ShardContent[] = [];
    for (let content = shards.next(now); content !== undefined; content = shards.next(now)) contents.push(content);
    return contents;
  }

  function make(maxServices = 10_000): { shards: OwnShards; untold: string[] } {
    const untold: string[] = [];
    return { shards: new OwnShards(maxServices, (error) => untold.push(error.code)), untold };
  }

  it('do not exist before the first service, and are one empty shard after the last', () => {
    const { shards } = make();
    expect([shards.dueAt(0), due(shards, 1_000)]).toEqual([Number.POSITIVE_INFINITY, []]);
    shards.bind({ service: 'a', port: 1, weight: 1 }, 0);
    expect(shards.dueAt(0)).toBe(1);
    expect(due(shards, 0)).toEqual([]);
    expect(due(shards, 50)).toEqual([{ shard: 0, shards: 1, services: [{ service: 'a', port: 1, weight: 1 }] }]);
    shards.unbind('a', 1, 5_000);
    expect(due(shards, 5_050)).toEqual([{ shard: 0, shards: 1, services: [] }]);
    expect(shards.dueAt(5_050)).toBe(Number.POSITIVE_INFINITY);
  });

  it('are not published when nothing has changed after all', () => {
    const { shards } = make();
    shards.bind({ service: 'a', port: 1, weight: 1 }, 0);
    expect(due(shards, 50)).toHaveLength(1);
    shards.bind({ service: 'b', port: 1, weight: 1 }, 5_000);
    shards.unbind('b', 1, 5_010);
    expect(due(shards, 6_000)).toEqual([]);
    expect(shards.dueAt(6_000)).toBe(Number.POSITIVE_INFINITY);
  });

  it('are published at a bounded rate after a burst when they change all the time', () => {
    const { shards } = make();
    const told: number[] = [];
    for (let now = 0; now < 240_000; now += 10) {
      // Another name every time, as the same one would be withheld; and only the last, so that there is one shard.
      shards.bind({ service: `s${now}`, port: 1, weight: 1 }, now);
      shards.unbind(`s${now - 10}`, 1, now);
      for (const _ of due(shards, now)) told.push(now);
    }
    expect(told.length).toBeLessThanOrEqual(1_800 + 9 * 240);
    const lately = told.filter((at) => at >= 230_000);
    expect(lately.length).toBeGreaterThanOrEqual(80);
    expect(lately.length).toBeLessThanOrEqual(91);
  });

  it('are as many as needed, and one change publishes one of them', () => {
    const { shards } = make();
    for (let port = 0; port < 1_000; port++) shards.bind({ service: 's', port, weight: 1 }, 0);
    const all = due(shards, 100);
    expect(all).toHaveLength(16);
    expect(new Set(all.map(({ shard }) => shard)).size).toBe(16);
    expect(all.flatMap(({ services }) => services)).toHaveLength(1_000);
    shards.bind({ service: 'new', port: 1, weight: 1 }, 5_000);
    const one = due(shards, 5_100);
    expect(one).toHaveLength(1);
    expect(one[0].shards).toBe(16);
    for (let port = 0; port < 100; port++) shards.bind({ service: 'more', port, weight: 1 }, 10_000);
    const doubled = due(shards, 10_100);
    expect(doubled).toHaveLength(32);
    expect(doubled.flatMap(({ services }) => services)).toHaveLength(1_101);
  });

  it('are each published once when twenty thousand services are bound or withdrawn in a row, and bound again', () => {
    const { shards, untold } = make(32_768);
    const bindAll = (now: number) => {
      for (let n = 0; n < 20_000; n++) shards.bind({ service: `s${n}`, port: 0, weight: 1 }, now);
      const bound = due(shards, now + 10);
      expect(bound).toHaveLength(512);
      expect(bound.reduce((sum, { services }) => sum + services.length, 0)).toBe(20_000);
    };
    bindAll(0);
    for (let n = 0; n < 20_000; n++) shards.unbind(`s${n}`, 0, 3_000);
    const withdrawn = due(shards, 3_010);
    expect(withdrawn).toHaveLength(512);
    expect(withdrawn.every(({ services }) => services.length === 0)).toBe(true);
    bindAll(6_000);
    expect(untold).toEqual([]);
  });

  it('are published within two seconds of the last of twenty thousand services that were bound one by one, or withdrawn', () => {
    const { shards } = make(32_768);
    let count = 0;
    /** Changes ten services a millisecond, publishes every ten; returns the time from the last change to the last publication. */
    function storm(start: number, change: (n: number, now: number) => void): number {
      let lastMs = start;
      for (let now = start; now < start + 12_000; now++) {
        for (let n = 10 * (now - start); n < 20_000 && n < 10 * (now - start + 1); n++) change(n, now);
        if (now % 10 !== 0) continue;
        for (const _ of due(shards, now)) {
          count++;
          lastMs = now;
        }
      }
      return lastMs - (start + 2_000);
    }
    expect(storm(0, (n, now) => shards.bind({ service: `s${n}`, port: 0, weight: 1 }, now))).toBeLessThan(1_000);
    expect(count).toBeLessThan(1_800);
    expect(storm(300_000, (n, now) => shards.unbind(`s${n}`, 0, now))).toBeLessThan(2_000);
  });

  it('of large services are split by their size, and each fits a record', () => {
    const { shards, untold } = make();
    const { publicKey, bootId, sign } = pretendIdentity('a');
    const meta = 'x'.repeat(4_000);
    for (let port = 0; port < 200; port++) shards.bind({ service: 's', port, weight: 1, meta }, 0);
    const all = due(shards, 100);
    expect(all.flatMap(({ services }) => services)).toHaveLength(200);
    for (const content of all) {
      const record = encodeShardRecord({ publicKey, bootId, epoch: 1, seq: 1, lifeS: 1, ...content }, sign);
      expect(record.bytes.length).toBeLessThan(MAX_SHARD_RECORD_BYTES);
    }
    expect(untold).toEqual([]);
  });

  it('do not publish more than others accept, and warn about it', () => {
    const { shards, untold } = make(3);
    for (let port = 0; port < 4; port++) shards.bind({ service: 's', port, weight: 1 }, 0);
    shards.bind({ service: 's', port: 0, weight: 2 }, 0);
    expect(untold).toEqual(['ERR_STARLANE_SERVICE_LIMIT']);
    const [{ services }] = due(shards, 100);
    expect(services.map(({ port, weight }) => [port, weight])).toEqual([
      [1, 1],
      [2, 1],
      [0, 2],
    ]);
    const large = make();
    const meta = 'x'.repeat(4_000);
    for (let port = 0; port < 1_100; port++) large.shards.bind({ service: 's', port, weight: 1, meta }, 0);
    expect(large.untold.length).toBeGreaterThan(40);
    expect(thrownCode(() => shards.bind({ service: 's', port: 9, weight: 1, meta: 'x'.repeat(5_000) }, 0))).toBe(
      'ERR_STARLANE_MESSAGE',
    );
  });

  it('withhold services that come and go, and publish them when they have stayed', () => {
    const { shards } = make();
    let now = 0;
    for (let turn = 0; turn < 9; turn++) {
      shards.bind({ service: 's', port: 1, weight: 1 }, now);
      if (turn < 8) shards.unbind('s', 1, now + 100);
      now += 2_000;
      due(shards, now);
    }
    expect(due(shards, now)).toEqual([]);
    const until = shards.dueAt(now);
    expect(until).toBe(16_000 + 60_000);
    expect(due(shards, until)).toEqual([{ shard: 0, shards: 1, services: [{ service: 's', port: 1, weight: 1 }] }]);
  });

  it('are all published again on demand', () => {
    const { shards } = make();
    for (let port = 0; port < 100; port++) shards.bind({ service: 's', port, weight: 1 }, 0);
    expect(due(shards, 100)).toHaveLength(2);
    shards.renew(10_000);
    expect(due(shards, 10_000)).toHaveLength(2);
  });
});
