import { describe, expect, it } from '@jest/globals';
import { hash, nearest, random, randomBy, toSelector } from '../../../lib/mesh/directory/selector.js';
import type { ServiceInfo } from '../../../lib/mesh/directory/service.js';

function instance(nodeId: string, changes: Partial<ServiceInfo> = {}): ServiceInfo {
  return {
    service: 'x',
    nodeId,
    port: 0,
    cost: 1,
    hops: 1,
    local: false,
    weight: 1,
    meta: undefined,
    ...changes,
  };
}

const MANY = Array.from({ length: 20 }, (_, index) => instance(`node-${index}`));

describe('random', () => {
  it('picks instances in proportion to their weights', () => {
    const instances = [
      instance('a', { weight: 1 }),
      instance('b', { weight: 3 }),
      instance('c', { weight: 0 }),
      instance('d', { weight: 4 }),
    ];
    const picks = Array.from({ length: 8 }, (_, index) => randomBy(() => index / 8)(instances)?.nodeId);
    expect(picks).toEqual(['a', 'b', 'b', 'b', 'd', 'd', 'd', 'd']);
  });

  it('picks weight 0 when there is nothing else', () => {
    const instances = [instance('a', { weight: 0 }), instance('b', { weight: 0 })];
    expect(randomBy(() => 0.6)(instances)?.nodeId).toBe('b');
  });

  it('never fails to pick, whatever the rounding', () => {
    const instances = [instance('a', { weight: 255 }), instance('b', { weight: 1 })];
    expect(randomBy(() => 1)(instances)?.nodeId).toBe('b');
    expect(instances).toContain(random(instances));
  });
});

describe('nearest', () => {
  it('picks the lowest cost, and the first of equals', () => {
    const instances = [instance('a', { cost: 9 }), instance('b', { cost: 2 }), instance('c', { cost: 2 })];
    expect(nearest(instances)?.nodeId).toBe('b');
  });
});

describe('hash', () => {
  it('picks the same instance for the same key, in any order of instances', () => {
    for (const key of ['alice', 'bob', 17]) {
      const picked = hash(key)(MANY);
      expect(hash(key)([...MANY].reverse())).toBe(picked);
    }
  });

  it('spreads keys over instances evenly, and by weight', () => {
    const instances = [instance('a', { weight: 1 }), instance('b', { weight: 3 }), instance('c', { weight: 0 })];
    const counts: Record<string, number> = { a: 0, b: 0, c: 0 };
    for (let key = 0; key < 4000; key++) counts[hash(key)(instances)?.nodeId as string]++;
    expect(counts['c']).toBe(0);
    expect(counts['a']).toBeGreaterThan(850);
    expect(counts['a']).toBeLessThan(1150);
    const perNode = new Map<string, number>();
    for (let key = 0; key < 20_000; key++) {
      const nodeId = hash(key)(MANY)?.nodeId as string;
      perNode.set(nodeId, (perNode.get(nodeId) ?? 0) + 1);
    }
    for (const count of perNode.values()) expect(Math.abs(count - 1000)).toBeLessThan(200);
  });

  it('moves only the keys of an instance that goes', () => {
    const gone = MANY[7];
    const rest = MANY.filter((one) => one !== gone);
    for (let key = 0; key < 500; key++) {
      const before = hash(key)(MANY);
      if (before !== gone) expect(hash(key)(rest)).toBe(before);
    }
  });

  it('distinguishes instances of one node by port', () => {
    const ports = [instance('a', { port: 1 }), instance('a', { port: 2 })];
    const picks = new Set(Array.from({ length: 50 }, (_, key) => hash(key)(ports)?.port));
    expect(picks).toEqual(new Set([1, 2]));
  });
});

describe('the option', () => {
  it('is a name or a function, and random when it is not given', () => {
    expect(toSelector(undefined)).toBe(random);
    expect(toSelector('random')).toBe(random);
    expect(toSelector('nearest')).toBe(nearest);
    expect(toSelector(nearest)).toBe(nearest);
    expect(toSelector('best' as 'random')).toBeUndefined();
  });
});
