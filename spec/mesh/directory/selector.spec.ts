import { describe, expect, it } from '@jest/globals';
import {
  byWeight,
  hash,
  keyHashOf,
  nearest,
  priority,
  random,
  randomBy,
  toSelector,
} from '../../../lib/mesh/directory/selector.js';
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

describe('priority', () => {
  const instances = [
    instance('a', { meta: { zone: 2 }, cost: 1 }),
    instance('b', { meta: { zone: 1 }, cost: 9, instance: 'replica' }),
    instance('c', { meta: { zone: 1 }, cost: 3, instance: 'primary' }),
  ];
  const zone = ({ meta }: ServiceInfo): number => (meta as { zone: number }).zone;

  it('picks among the instances with the lowest number, with another selector', () => {
    expect(priority(zone, nearest)(instances)?.nodeId).toBe('c');
    expect(priority(zone, 'nearest')(instances.slice(0, 2))?.nodeId).toBe('b');
    expect(priority(zone)(instances.slice(0, 1))?.nodeId).toBe('a');
  });

  it('follows the names of instances, and takes those without one of these last', () => {
    const first = priority(['primary', 'replica']);
    const order: Array<string | undefined> = [];
    for (let left = instances; left.length > 0; left = left.filter(({ nodeId }) => nodeId !== order.at(-1))) {
      order.push(first(left)?.nodeId);
    }
    expect(order).toEqual(['c', 'b', 'a']);
  });

  it('takes what is no number last, and any instance when all are', () => {
    const order = ({ nodeId }: ServiceInfo): number => (nodeId === 'c' ? 5 : Number.NaN);
    expect(priority(order)(instances)?.nodeId).toBe('c');
    expect(priority(() => undefined as unknown as number, nearest)(instances)?.nodeId).toBe('a');
  });

  it('keeps the key of a selector by key, and refuses what is no order', () => {
    expect(keyHashOf(priority(zone, hash('alice')))).toBe(keyHashOf(hash('alice')));
    expect(keyHashOf(priority(zone))).toBeUndefined();
    expect(() => priority('a' as never)).toThrow('a function or a list of names');
    expect(() => priority(zone, 'best' as 'random')).toThrow('a selector');
  });
});

describe('a choice by weight', () => {
  const all = [
    { name: 'v1', weight: 90 },
    { name: 'v2', weight: 10 },
    { name: 'v3', weight: 0 },
  ];
  const nameOf = ({ name }: { name: string }): string => name;
  const counted = (picks: string[]): Map<string, number> => {
    const counts = new Map<string, number>();
    for (const pick of picks) counts.set(pick, (counts.get(pick) ?? 0) + 1);
    return counts;
  };

  it('is random in proportion, and takes weight 0 when there is nothing else', () => {
    const picks = Array.from({ length: 100 }, (_, index) => byWeight(all, undefined, nameOf, () => index / 100).name);
    expect(counted(picks)).toEqual(
      new Map([
        ['v1', 90],
        ['v2', 10],
      ]),
    );
    expect(byWeight([all[2]], undefined, nameOf).name).toBe('v3');
    const none = all.map(({ name }) => ({ name, weight: 0 }));
    expect(byWeight(none, undefined, nameOf, () => 0.5).name).toBe('v2');
    expect(byWeight(all, undefined, nameOf, () => 1).name).toBe('v2');
  });

  it('is the same for a key, in proportion over keys, and moves few keys when weights change', () => {
    const pick = (key: number, of = all): string => byWeight(of, keyHashOf(hash(key)), nameOf).name;
    const keys = Array.from({ length: 5_000 }, (_, key) => key);
    const before = keys.map((key) => pick(key));
    expect(keys.map((key) => pick(key, [...all].reverse()))).toEqual(before);
    expect(Math.abs((counted(before).get('v2') ?? 0) - 500)).toBeLessThan(120);
    const after = keys.map((key) => pick(key, [all[0], { name: 'v2', weight: 20 }]));
    // Keys move only to the one that has gained.
    expect(keys.every((key) => after[key] === before[key] || after[key] === 'v2')).toBe(true);
    const gone = keys.map((key) => pick(key, all.slice(1)));
    expect(keys.every((key) => before[key] !== 'v2' || gone[key] === 'v2')).toBe(true);
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
