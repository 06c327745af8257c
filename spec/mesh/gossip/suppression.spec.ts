// Of two neighbours that both have a record to pass on, one waits for the other's copy.

import { describe, expect, it } from '@jest/globals';
import { GossipPeer } from '../../../lib/mesh/gossip/peer.js';
import { DuplicateSuppression, SuppressedRecords } from '../../../lib/mesh/gossip/suppression.js';
import type { MeshRecord } from '../../../lib/wire/records.js';
import { GossipNet, type NetLink, type NetNode } from '../gossip-net.js';
import { nodeOf } from '../signed-records.js';

const LATENCY_MS = 20;

/** A link from a node to one that a spec plays, and what was sent to that. */
function scene(
  names: readonly [string, string] = ['self', 'peer'],
  changes: { rttMs?: number; isSynced?: boolean } = {},
) {
  const net = new GossipNet();
  const [self, other] = net.addAll(...names);
  const [link] = net.link(self, other, LATENCY_MS);
  link.rttMs = changes.rttMs ?? 2 * LATENCY_MS;
  const peer = new GossipPeer(link);
  peer.sync.isSynced = changes.isSynced ?? true;
  const told: Array<[MeshRecord, boolean]> = [];
  let releases = 0;
  const suppression = new DuplicateSuppression(
    self.id,
    net.timers,
    new Set([peer]),
    (_peer, record, isUrgent) => told.push([record, isUrgent]),
    () => releases++,
  );
  return { net, self, other, peer, suppression, told, releases: () => releases };
}

/** A record that this end is to wait with, and one that it is not. */
function drawn({ peer, suppression }: ReturnType<typeof scene>): { waits: MeshRecord; goes: MeshRecord } {
  const records = Array.from({ length: 64 }, (_, index) => nodeOf(`origin ${index}`));
  const waits = records.find((record) => suppression.suppress(peer, record, false)) as MeshRecord;
  const goes = records.find((record) => !suppression.suppress(peer, record, false)) as MeshRecord;
  peer.suppressed.clear();
  return { waits, goes };
}

describe('a record of another node', () => {
  it('waits at one end of each link and not at the other, whatever its origin', () => {
    let first = 0;
    for (let index = 0; index < 200; index++) {
      const names = [`one ${index % 10}`, `other ${index % 7}`] as const;
      const ends = [scene(names), scene([names[1], names[0]])];
      const record = nodeOf(`origin ${index}`);
      const waits = ends.map(({ peer, suppression }) => suppression.suppress(peer, record, false));
      expect(waits.filter(Boolean)).toHaveLength(1);
      first += Number(waits[0]);
    }
    expect(first).toBeGreaterThan(60);
    expect(first).toBeLessThan(140);
  });

  it('is sent after half the round trip and a moment more, if the neighbour has not sent it by then', () => {
    const one = scene();
    const { waits } = drawn(one);
    one.suppression.suppress(one.peer, waits, true);
    one.net.clock.advance(LATENCY_MS + 24);
    expect(one.told).toEqual([]);
    one.net.clock.advance(20);
    expect(one.told).toEqual([[waits, true]]);
    expect([one.peer.suppressed.size, one.releases()]).toEqual([0, 1]);
  });

  it('is sent after a tenth of a second at the latest, however long the link', () => {
    const far = scene(undefined, { rttMs: 900 });
    const { waits } = drawn(far);
    far.suppression.suppress(far.peer, waits, false);
    far.net.clock.advance(120);
    expect(far.told).toHaveLength(1);
  });

  it('is not sent when the neighbour has sent it, or a newer one', () => {
    const one = scene();
    const { waits } = drawn(one);
    one.suppression.suppress(one.peer, waits, false);
    one.peer.knows(waits);
    one.net.clock.advance(500);
    expect(one.told).toEqual([]);
  });

  it('does not wait for a peer that cannot send it: before the initial sync, without a round trip, to its origin', () => {
    const { waits } = drawn(scene());
    const unmeasured = scene(undefined, { rttMs: 0 });
    const fresh = scene(undefined, { isSynced: false });
    expect([unmeasured, fresh].map(({ suppression, peer }) => suppression.suppress(peer, waits, false))).toEqual([
      false,
      false,
    ]);
    const one = scene();
    const own = { ...waits, nodeId: one.other.id } as MeshRecord;
    expect(one.suppression.suppress(one.peer, own, false)).toBe(false);
  });

  it('waits no longer when the node stops', () => {
    const one = scene();
    one.suppression.suppress(one.peer, drawn(one).waits, false);
    one.suppression.dispose();
    one.net.clock.advance(500);
    expect(one.told).toEqual([]);
  });
});

describe('the outbox of a neighbour', () => {
  it('is the newest version of each record, each until its own time', () => {
    const suppressed = new SuppressedRecords();
    const [a1, a2, b] = [nodeOf('a'), nodeOf('a', { seq: 2 }), nodeOf('b')];
    suppressed.put(a1, false, 10);
    suppressed.put(a2, true, 30);
    suppressed.put(b, false, 20);
    const told: unknown[] = [];
    const take = (record: MeshRecord, isUrgent: boolean): unknown => told.push([record, isUrgent]);
    expect([suppressed.size, suppressed.release(5, take), suppressed.release(20, take)]).toEqual([2, 20, 30]);
    expect(told).toEqual([[b, false]]);
    suppressed.cancel(a1);
    expect(suppressed.release(30, take)).toBe(Number.POSITIVE_INFINITY);
    expect(told.at(-1)).toEqual([a2, true]);
  });
});

describe('a change in a mesh whose links are all known to be well', () => {
  function clique(isMeasured: boolean): { copies: number; lateMs: number } {
    const net = new GossipNet();
    const nodes = net.addAll('a', 'b', 'c', 'd', 'e', 'f');
    const links: NetLink[] = [];
    nodes.forEach((one, index) => {
      for (const other of nodes.slice(index + 1)) links.push(...net.link(one, other, LATENCY_MS));
    });
    net.pass(10_000);
    for (const link of links) if (isMeasured) link.rttMs = 2 * LATENCY_MS;
    const [origin, ...others] = nodes as [NetNode, ...NetNode[]];
    const before = origin.gossip.store.node(origin.id);
    for (const link of links) link.sent.length = 0;
    origin.gossip.own.describe({ addresses: ['tcp://127.0.0.1:1'] }, 'now');
    const hasNew = (node: NetNode): boolean => node.gossip.store.node(origin.id)?.addresses.length === 1;
    let lateMs = 0;
    for (; !others.every(hasNew) && lateMs < 1_000; lateMs += 5) net.pass(5);
    net.pass(1_000);
    expect(before).toBeDefined();
    return { copies: links.flatMap((link) => link.sentRecords).length, lateMs };
  }

  it('crosses each link about once instead of twice, and no later', () => {
    const [eager, suppression] = [clique(false), clique(true)];
    expect(eager.lateMs).toBeLessThanOrEqual(LATENCY_MS + 10);
    expect(suppression.lateMs).toBe(eager.lateMs);
    // Five from the origin, and ten links between the others.
    expect(eager.copies).toBe(5 + 2 * 10);
    expect(suppression.copies).toBe(5 + 10);
  });
});
