import { describe, expect, it } from '@jest/globals';
import { RecordAdmission } from '../../../lib/mesh/admission/record-admission.js';
import { RejectedVersions } from '../../../lib/mesh/admission/rejected.js';
import { Tombstones } from '../../../lib/mesh/admission/tombstones.js';
import { type GossipContext, GossipCounters } from '../../../lib/mesh/gossip/gossip.js';
import { RecordStore } from '../../../lib/mesh/records/store.js';
import { Timers } from '../../../lib/util/timers.js';
import { type ServiceEntry, shardOfService } from '../../../lib/wire/records.js';
import { FakeClock } from '../../support/fake-clock.js';
import { shardOf } from '../signed-records.js';

const SHARDS = 256;
const META = 'x'.repeat(4_000);

describe('a record that is parked because its origin is too fast', () => {
  it('is not replaced by a newer version for which there is no room', () => {
    const clock = new FakeClock();
    const store = new RecordStore();
    const limits = { maxNodes: 10, maxInstances: 100_000, maxServicesPerNode: 100_000 };
    const owner = { onAdmitted: () => {}, onRejected: () => {}, onReplaced: () => {} };
    const counters = new GossipCounters();
    const timers = new Timers(clock);
    const part: Partial<GossipContext> = {
      self: 'me',
      timers,
      store,
      counters,
      tombstones: new Tombstones(),
      rejected: new RejectedVersions(),
      isReachable: () => true,
    };
    const admission = new RecordAdmission(part as GossipContext, limits, owner);

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
      const shards = [...(store.entry(nodeId)?.shards() ?? [])];
      return shards.filter((record) => record.seq > seq).map(({ shard }) => shard);
    };
    // All that may come at once, then more than can wait.
    let seq = 0;
    while (counters.parked === 0) tell(++seq, 9);
    tell(++seq, 9);
    const parkedOnce = counters.parked;
    const waiting = new Set(store.entry(nodeId)?.parked?.keys());
    expect(waiting.size).toBeGreaterThan(150);
    expect(waiting.size).toBeLessThan(SHARDS);
    tell(seq + 1, 10);
    expect(counters.parked).toBeGreaterThan(parkedOnce);
    for (let second = 0; second < 4_000; second++) clock.advance(1_000);
    const taken = new Set(newerThan(seq - 1).map((shard) => `${nodeId}/${shard}/${SHARDS}`));
    expect([...waiting].filter((key) => !taken.has(key))).toEqual([]);
  });
});
