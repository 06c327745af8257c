import { describe, expect, it } from '@jest/globals';
import type { MeshRecord } from '../../../lib/wire/records.js';
import { GossipNet, type NetNode, pretendIdentity } from '../gossip-net.js';
import { nodeOf, shardOf } from '../signed-records.js';

function expectEqual(nodes: readonly NetNode[]): void {
  expect(new Set(nodes.map((node) => node.root)).size).toBe(1);
}

/** The link of a node is lost, and it is silent after that. */
function crash(net: GossipNet, node: NetNode): void {
  node.gossip.dispose();
  for (const link of [...node.links]) {
    link.destroy(new Error('crashed'));
    net.pass(20);
    (link.other.end as NetNode).links.delete(link.other);
    (link.other.end as NetNode).announce('now');
  }
}

describe('the identity of a node', () => {
  it('reports the epoch with which it begins', () => {
    const net = new GossipNet();
    const [a, b] = [net.add('a', { firstEpoch: 7 }), net.add('b')];
    expect(a.epochs).toEqual([]);
    net.link(a, b);
    net.pass(1_000);
    expect([a.epochs, a.gossip.own.epoch]).toEqual([[7], 7]);
    expect(b.gossip.store.node(a.id)?.epoch).toBe(7);
  });

  it.each([0, 30])('survives a restart without kept state, %d changes into the old run', (changes) => {
    const net = new GossipNet();
    const [a, b, c] = net.addAll('a', 'b', 'c');
    net.link(a, b);
    net.link(b, c);
    a.gossip.own.bind({ service: 'old', port: 1, weight: 1 });
    net.pass(2_000);
    for (let count = 0; count < changes; count++) {
      a.gossip.own.describe({ flags: count }, 'soon');
      net.pass(3_000, 50);
    }
    expect(c.servicesOf(a)).toEqual(['old']);
    crash(net, a);

    const reborn = net.add('a', { run: 2 });
    reborn.gossip.own.bind({ service: 'new', port: 1, weight: 1 });
    net.link(reborn, b);
    net.pass(500);
    for (const node of [b, c]) {
      expect(node.servicesOf(reborn)).toEqual(['new']);
      expect(node.gossip.store.node(a.id)).toMatchObject({ bootId: reborn.identity.bootId, epoch: 2 });
    }
    expectEqual([reborn, b, c]);
    // It has listened before it published, so that no record had to be corrected.
    expect(reborn.epochs).toEqual([2]);
    for (const node of [reborn, b, c]) expect(node.warnings).toEqual([]);
    expect(b.gossip.counters.twins + c.gossip.counters.twins).toBe(0);
  });

  it.each(['a', 'b', 'c', 'd', 'e', 'f'])(
    'is heard of before it is spoken of by a node that knows much, %s',
    (name) => {
      const net = new GossipNet();
      const [old, b] = net.addAll(name, 'other');
      net.feed(
        b,
        Array.from({ length: 100 }, (_, n) => nodeOf(`n${n}`)),
      );
      net.link(old, b);
      net.pass(3_000);
      crash(net, old);
      const reborn = net.add(name, { run: 2 });
      net.feed(
        reborn,
        Array.from({ length: 80 }, (_, n) => nodeOf(`n${n}`)),
      );
      expect(reborn.epochs).toEqual([]);
      net.link(reborn, b);
      net.pass(1_000);
      expect(reborn.epochs).toEqual([2]);
      expectEqual([reborn, b]);
    },
  );

  it('continues from a kept epoch without a warning', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    net.link(a, b);
    for (let port = 0; port < 200; port++) a.gossip.own.bind({ service: 's', port, weight: 1 });
    net.pass(2_000);
    expect(b.gossip.store.size).toBe(6);
    crash(net, a);
    const reborn = net.add('a', { run: 2, firstEpoch: 2 });
    net.link(reborn, b);
    net.pass(5_000);
    expectEqual([reborn, b]);
    expect(reborn.epochs).toEqual([2]);
    // The shards of the old run are gone with it.
    expect(b.gossip.store.size).toBe(2);
    expect(b.gossip.store.instances).toBe(0);
    const last = b.heard.findLast((record) => record.nodeId === a.id) as MeshRecord;
    expect(last.bootId).toBe(reborn.identity.bootId);
  });

  it('is reclaimed by the node itself when an old record turns up late', () => {
    const net = new GossipNet();
    const [a, b, c] = net.addAll('a', 'b', 'c');
    net.link(a, b);
    net.pass(5_000);
    // Somewhere a record of an earlier run has been kept that beats the present one.
    net.feed(c, [nodeOf('a', { epoch: 5, seq: 9, run: 9 }), shardOf('a', { epoch: 5, seq: 10, run: 9 })]);
    net.link(b, c);
    net.pass(1_000);
    expectEqual([a, b, c]);
    expect(c.gossip.store.node(a.id)).toMatchObject({ epoch: 6, bootId: a.identity.bootId });
    expect(a.gossip.counters.echoes).toBeGreaterThan(0);
    expect(a.epochs).toEqual([1, 6]);
    expect(c.gossip.store.shardsOf(a.id)).toEqual([]);
    expect([a, b, c].flatMap((node) => node.warnings)).toEqual([]);
  });

  it('keeps its services when it had to be reclaimed', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    for (let port = 0; port < 100; port++) a.gossip.own.bind({ service: 's', port, weight: 1 });
    net.link(a, b);
    net.pass(5_000);
    const { own } = net.impostor(b, 'x');
    own.sendRecords([nodeOf('a', { epoch: 3, run: 9 })]);
    net.pass(2_000);
    expect(b.gossip.store.node(a.id)?.bootId).toBe(a.identity.bootId);
    expect(b.servicesOf(a)).toHaveLength(100);
    expectEqual([a, b]);
  });

  it('is not moved by records that it has not signed', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    const { own } = net.impostor(a, 'x');
    net.pass(5_000);
    const { nodeId } = pretendIdentity('a');
    const record = nodeOf('a', { epoch: 50, run: 9 });
    const forged = { ...record, bytes: Buffer.from(record.bytes) };
    forged.bytes[forged.bytes.length - 1] ^= 1;
    own.sendRecords([forged]);
    net.pass(1_000);
    expect([a.gossip.own.epoch, a.gossip.counters.invalid, a.id]).toEqual([1, 1, nodeId]);
  });

  it('is reported when two processes have it, and their conflict does not flood the others', () => {
    const net = new GossipNet();
    const [left, middle, right] = net.addAll('left', 'middle', 'right');
    net.link(left, middle);
    net.link(middle, right);
    const [one, other] = [net.add('twice', { run: 1 }), net.add('twice', { run: 2 })];
    net.link(one, left);
    net.link(other, right);
    net.pass(30_000);
    expect(one.warnings).toContain('ERR_STARLANE_DUPLICATE_IDENTITY');
    expect(other.warnings).toContain('ERR_STARLANE_DUPLICATE_IDENTITY');
    const heard = middle.heard.filter(({ nodeId }) => nodeId === one.id).length;
    expect(heard).toBeLessThan(20);
    net.pass(300_000, 50);
    expect(middle.heard.filter(({ nodeId }) => nodeId === one.id).length - heard).toBeLessThan(20);
    // When one of them is gone the other one stays.
    crash(net, other);
    net.pass(130_000, 50);
    expect(middle.gossip.store.node(one.id)?.bootId).toBe(one.identity.bootId);
    expectEqual([left, middle, right, one]);
  });

  it.each(['y', 'z'])('is reported once by others when two records have one number, %s first', (first) => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    net.link(a, b);
    net.pass(2_000);
    const twins = [nodeOf('x', { peers: [first] }), nodeOf('x', { peers: [first === 'y' ? 'z' : 'y'] })];
    const { own } = net.impostor(a, 'feeder');
    for (let turn = 0; turn < 5; turn++) own.sendRecords(twins);
    net.pass(1_000);
    expectEqual([a, b]);
    expect(a.warnings).toEqual(['ERR_STARLANE_DUPLICATE_IDENTITY']);
    expect(a.gossip.counters.twins).toBeGreaterThan(0);
  });

  it('publishes after two seconds when the first neighbour sends nothing', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    a.gossip.own.describe({ flags: 1 }, 'soon');
    net.pass(10_000);
    expect(a.gossip.store.size).toBe(0);
    const { heard } = net.impostor(a, 'x');
    net.pass(1_900);
    expect(a.gossip.store.size).toBe(0);
    net.pass(300);
    expect(a.gossip.store.node(a.id)?.flags).toBe(1);
    expect(heard.some((message) => 'records' in message)).toBe(true);
  });

  it('begins a new epoch when its numbers are used up', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    net.link(a, b);
    net.pass(2_000);
    (a.gossip.own as unknown as { seq: number }).seq = 0xffff_ffff;
    a.gossip.own.describe({ flags: 3 }, 'soon');
    net.pass(2_000);
    expect(b.gossip.store.node(a.id)).toMatchObject({ epoch: 2, seq: 1, flags: 3 });
    expect(a.epochs).toEqual([1, 2]);
  });

  it('is renewed about once an hour', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    net.link(a, b, 1);
    net.pass(30_000);
    const seqs = new Set<number | undefined>();
    for (let minute = 0; minute < 240; minute++) {
      seqs.add(b.gossip.store.node(a.id)?.seq);
      net.pass(60_000, 10_000);
    }
    expect(seqs.size).toBeGreaterThanOrEqual(4);
    expect(seqs.size).toBeLessThanOrEqual(6);
  });
});
