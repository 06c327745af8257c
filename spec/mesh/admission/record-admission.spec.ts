import { describe, expect, it } from '@jest/globals';
import { Floors } from '../../../lib/mesh/admission/floors.js';
import { RecordAdmission } from '../../../lib/mesh/admission/record-admission.js';
import { Refusals } from '../../../lib/mesh/admission/refusals.js';
import { GossipCounters } from '../../../lib/mesh/gossip/counters.js';
import { RecordStore } from '../../../lib/mesh/records/store.js';
import { Timers } from '../../../lib/util/timers.js';
import { type ServiceEntry, shardOfService } from '../../../lib/wire/records.js';
import { FakeClock } from '../../support/fake-clock.js';
import { shardOf } from '../signed-records.js';

const SHARDS = 256;
const META = 'x'.repeat(4_000);

describe('what waits because its origin speaks too fast', () => {
  it('is not lost to a newer version that there is no room for', () => {
    const clock = new FakeClock();
    const store = new RecordStore();
    const limits = { maxNodes: 10, maxInstances: 100_000, maxServicesPerNode: 100_000 };
    const owner = { onAdmitted: () => {}, onRejected: () => {}, onReplaced: () => {}, isReachable: () => true };
    const counters = new GossipCounters();
    const timers = new Timers(clock);
    const admission = new RecordAdmission('me', timers, store, new Floors(), new Refusals(), limits, counters, owner);

    const inShard = Array.from({ length: SHARDS }, (): ServiceEntry[] => []);
    for (let port = 0; port < 4_000; port++) {
      inShard[shardOfService('s', port, SHARDS)].push({ service: 's', port, weight: 1, meta: META });
    }
    const tell = (seq: number, count: number): void => {
      for (const [shard, all] of inShard.entries()) {
        const record = shardOf('a', { shard, shards: SHARDS, seq, services: all.slice(0, count) });
        admission.admit({ record, remainingLifeS: 3_600 }, undefined);
      }
    };
    const { nodeId } = shardOf('a');
    const newerThan = (seq: number): number[] => {
      const shards = [...(store.origin(nodeId)?.shards() ?? [])];
      return shards.filter((record) => record.seq > seq).map(({ shard }) => shard);
    };
    // All that may come at once, then more than can wait.
    let seq = 0;
    while (counters.parked === 0) tell(++seq, 9);
    tell(++seq, 9);
    const parkedOnce = counters.parked;
    const waiting = new Set(store.origin(nodeId)?.parked?.keys());
    expect(waiting.size).toBeGreaterThan(150);
    expect(waiting.size).toBeLessThan(SHARDS);
    tell(seq + 1, 10);
    expect(counters.parked).toBeGreaterThan(parkedOnce);
    for (let second = 0; second < 4_000; second++) clock.advance(1_000);
    const taken = new Set(newerThan(seq - 1).map((shard) => `${nodeId}/${shard}/${SHARDS}`));
    expect([...waiting].filter((key) => !taken.has(key))).toEqual([]);
  });
});
