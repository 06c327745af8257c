import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { areConflicting, compareVersions, isUrgentChange } from '../../../lib/mesh/records/order.js';
import { Freshness, RecordStore } from '../../../lib/mesh/records/store.js';
import { bucketOf } from '../../../lib/wire/gossip-messages.js';
import { type MeshRecord, NodeFlag, shardOfService } from '../../../lib/wire/records.js';
import { nodeOf, shardOf } from '../signed-records.js';

function put(store: RecordStore, record: MeshRecord, remainingLifeS = record.lifeS): MeshRecord | undefined {
  expect(store.freshness(record)).toBe(Freshness.NEWER);
  return store.put({ record, remainingLifeS }, 0);
}

/** A service whose shard of `shards` is `shard`. */
function serviceIn(shard: number, shards: number): { service: string; port: number; weight: number } {
  let port = 0;
  while (shardOfService('s', port, shards) !== shard) port++;
  return { service: 's', port, weight: 1 };
}

describe('the order of records', () => {
  it('is by epoch, then by seq, then by hash', () => {
    const version = (epoch: number, seq: number, hashHigh = 0, hashLow = 0) => ({
      key: 'k',
      epoch,
      seq,
      hashHigh,
      hashLow,
    });
    const ascending = [
      version(1, 1),
      version(1, 1, 0, 1),
      version(1, 1, 0, 0xffff_ffff),
      version(1, 1, 1, 0),
      version(1, 2),
      version(2, 0),
      version(0xffff_ffff, 0),
    ];
    for (const [index, one] of ascending.entries()) {
      for (const [place, other] of ascending.entries()) {
        expect(Math.sign(compareVersions(one, other))).toBe(Math.sign(index - place));
      }
    }
    expect(areConflicting(ascending[0], ascending[1])).toBe(true);
    expect(areConflicting(ascending[0], ascending[0])).toBe(false);
    expect(areConflicting(ascending[3], ascending[4])).toBe(false);
  });

  it('knows urgent changes', () => {
    const before = nodeOf('a', { peers: ['b', 'c', 'd'] });
    const bad = (record: MeshRecord, previous: MeshRecord | undefined = before): boolean =>
      isUrgentChange(record, previous);
    expect(bad(nodeOf('a', { peers: ['b', 'd'] }))).toBe(true);
    expect(bad(nodeOf('a', { peers: ['b', 'c', 'e', 'f'] }))).toBe(true);
    expect(bad(nodeOf('a', { peers: ['b', 'c', 'd'], run: 2 }))).toBe(true);
    expect(bad(nodeOf('a', { peers: ['b', 'c', 'd'], flags: NodeFlag.LEAVING }))).toBe(true);
    expect(bad(nodeOf('a', { peers: ['b', 'c', 'd'], flags: NodeFlag.DRAIN }))).toBe(true);
    const drained = nodeOf('a', { peers: ['b'], flags: NodeFlag.DRAIN });
    expect(bad(nodeOf('a', { peers: ['b', 'c'], flags: NodeFlag.DRAIN }), drained)).toBe(false);
    expect(bad(nodeOf('a', { peers: ['b', 'c', 'd', 'e'] }))).toBe(false);
    expect(bad(nodeOf('a', { peers: ['b', 'c', 'd'], flags: NodeFlag.OVERLOAD }))).toBe(false);
    expect(isUrgentChange(nodeOf('a'), undefined)).toBe(false);
    expect(isUrgentChange(shardOf('a', { seq: 2 }), shardOf('a'))).toBe(false);
  });
});

describe('the record store', () => {
  it('keeps the newest version of each key', () => {
    const store = new RecordStore();
    const [first, second] = [nodeOf('a', { seq: 1 }), nodeOf('a', { seq: 2 })];
    expect(put(store, first)).toBe(undefined);
    expect(store.freshness(first)).toBe(Freshness.SAME);
    expect(put(store, second)).toBe(first);
    expect(store.freshness(first)).toBe(Freshness.OLDER);
    expect(store.node(first.nodeId)).toBe(second);
    expect(store.get(first.key)).toBe(second);
    expect([...store.nodes()]).toEqual([second]);
    expect(store.size).toBe(1);
    expect(store.holds(second)).toBe(true);
    expect(store.holds(first)).toBe(false);
    expect(store.bytes).toBe(second.bytes.length);
  });

  it('keeps the one with the larger hash of two records with one number, in any order', () => {
    const twins = [nodeOf('a', { peers: ['b'] }), nodeOf('a', { peers: ['c'] })].sort(compareVersions);
    for (const order of [twins, [...twins].reverse()]) {
      const store = new RecordStore();
      for (const record of order) {
        if (store.freshness(record) === Freshness.NEWER) store.put({ record, remainingLifeS: 1 }, 0);
      }
      expect(store.node(twins[0].nodeId)).toBe(twins[1]);
      expect(store.hasConflict(twins[0])).toBe(true);
      expect(store.hasConflict(twins[1])).toBe(false);
    }
  });

  it('has a digest that depends on what is in it, and on nothing else', () => {
    const records: MeshRecord[] = [];
    for (const name of ['a', 'b', 'c', 'd']) {
      records.push(nodeOf(name), nodeOf(name, { seq: 2, peers: ['x'] }), shardOf(name), shardOf(name, { seq: 3 }));
    }
    const digest = (store: RecordStore) => [store.size, store.bytes, store.digest.rootHigh, store.digest.rootLow];
    const expected = new RecordStore();
    for (const record of records) expected.put({ record, remainingLifeS: 1 }, 0);
    expect(expected.size).toBe(8);
    fc.assert(
      fc.property(fc.shuffledSubarray(records, { minLength: records.length }), (order) => {
        const store = new RecordStore();
        for (const record of order) {
          if (store.freshness(record) === Freshness.NEWER) store.put({ record, remainingLifeS: 1 }, 0);
        }
        expect(digest(store)).toEqual(digest(expected));
        const bucket = bucketOf(records[0].nodeId);
        expect(store.digest.high[bucket]).toBe(expected.digest.high[bucket]);
        for (const nodeId of new Set(records.map((record) => record.nodeId))) store.remove(nodeId);
        expect([...digest(store), store.originCount]).toEqual([0, 0, 0, 0, 0]);
        expect(store.digest.high.every((value) => value === 0)).toBe(true);
      }),
    );
  });

  it('returns the shards of a node once they are complete and of the run of its record', () => {
    const store = new RecordStore();
    const halves = [0, 1].map((shard) => shardOf('a', { shard, shards: 2, services: [serviceIn(shard, 2)] }));
    put(store, halves[0]);
    put(store, halves[1]);
    expect(store.shardsOf(halves[0].nodeId)).toEqual([]);
    put(store, nodeOf('a', { run: 1 }));
    expect(store.shardsOf(halves[0].nodeId)).toEqual(halves);
    expect(store.instances).toBe(2);
    expect([...store.records()]).toHaveLength(3);
    expect(store.get(halves[1].key)).toBe(halves[1]);
  });

  it('uses the old layout until the new one is complete, and then drops the old one', () => {
    const store = new RecordStore();
    put(store, nodeOf('a'));
    const whole = shardOf('a', { services: [serviceIn(0, 2), serviceIn(1, 2)] });
    const halves = [0, 1].map((shard) => shardOf('a', { shard, shards: 2, seq: 2, services: [serviceIn(shard, 2)] }));
    put(store, whole);
    put(store, halves[1]);
    expect(store.shardsOf(whole.nodeId)).toEqual([whole]);
    put(store, halves[0]);
    expect(store.shardsOf(whole.nodeId)).toEqual(halves);
    expect(store.size).toBe(3);
    expect(store.instances).toBe(2);
    // A neighbour without the new one may still send the old one.
    expect(store.freshness(shardOf('a', { seq: 9, services: [] }))).toBe(Freshness.STALE);
    expect(store.lacks({ ...whole, seq: 9 })).toBe(false);
  });

  it('drops the shards of an old run as soon as the node has restarted', () => {
    const store = new RecordStore();
    put(store, nodeOf('a', { epoch: 1 }));
    put(store, shardOf('a', { epoch: 1, services: [serviceIn(0, 1)] }));
    put(store, nodeOf('a', { epoch: 2, run: 2 }));
    expect(store.size).toBe(1);
    expect(store.instances).toBe(0);
    const { nodeId } = nodeOf('a');
    expect(store.shardsOf(nodeId)).toEqual([]);
    expect(store.freshness(shardOf('a', { epoch: 1, seq: 9, run: 1 }))).toBe(Freshness.STALE);
    const renewed = shardOf('a', { epoch: 2, run: 2 });
    put(store, renewed);
    expect(store.shardsOf(nodeId)).toEqual([renewed]);
  });

  it('drops shards of a run whose record never came', () => {
    const store = new RecordStore();
    put(store, nodeOf('a', { epoch: 1 }));
    put(store, shardOf('a', { epoch: 5, run: 9 }));
    put(store, nodeOf('a', { epoch: 6 }));
    expect(store.size).toBe(1);
  });

  it('keeps shards of a run whose record has not come yet', () => {
    const store = new RecordStore();
    put(store, nodeOf('a', { epoch: 1 }));
    put(store, shardOf('a', { epoch: 1 }));
    const early = shardOf('a', { epoch: 2, run: 2 });
    put(store, early);
    expect(store.shardsOf(early.nodeId)).toEqual([]);
    put(store, nodeOf('a', { epoch: 2, run: 2 }));
    expect(store.shardsOf(early.nodeId)).toEqual([early]);
  });

  it('begins with fewer shards than the run before when a node does', () => {
    const store = new RecordStore();
    put(store, nodeOf('a', { epoch: 1 }));
    for (const shard of [0, 1]) put(store, shardOf('a', { epoch: 1, shard, shards: 2 }));
    const renewed = shardOf('a', { epoch: 2, run: 2 });
    put(store, renewed);
    put(store, nodeOf('a', { epoch: 2, run: 2 }));
    expect(store.shardsOf(renewed.nodeId)).toEqual([renewed]);
    expect(store.size).toBe(2);
  });

  it('knows which entries are of records that it lacks', () => {
    const store = new RecordStore();
    put(store, nodeOf('a', { seq: 2 }));
    put(store, shardOf('a', { seq: 2 }));
    expect(store.lacks(nodeOf('a', { seq: 3 }))).toBe(true);
    expect(store.lacks(nodeOf('a', { seq: 2 }))).toBe(false);
    expect(store.lacks(nodeOf('a', { seq: 1 }))).toBe(false);
    expect(store.lacks(shardOf('a', { seq: 3 }))).toBe(true);
    expect(store.lacks(shardOf('a', { seq: 1 }))).toBe(false);
    expect(store.lacks(shardOf('a', { shard: 1, shards: 2 }))).toBe(true);
    expect(store.lacks(nodeOf('b'))).toBe(true);
    expect(store.lacks(shardOf('b'))).toBe(true);
  });
});
