import { describe, expect, it } from '@jest/globals';
import { MessageType } from '../../../lib/wire/messages.js';
import { type MeshRecord, type ServiceEntry, shardOfService } from '../../../lib/wire/records.js';
import { GossipNet, type NetLink, type NetNode } from '../gossip-net.js';
import { nodeOf, shardOf } from '../signed-records.js';

function strangers(count: number, prefix = 'n'): MeshRecord[] {
  return Array.from({ length: count }, (_, n) => nodeOf(`${prefix}${n}`));
}

function services(count: number, meta?: string) {
  return Array.from({ length: count }, (_, port) => ({ service: 's', port, weight: 1, meta }));
}

function forged(record: MeshRecord): MeshRecord {
  const bytes = Buffer.from(record.bytes);
  bytes[bytes.length - 1] ^= 1;
  return { ...record, bytes };
}

function codeOf(link: NetLink): unknown {
  return (link.error as { code?: unknown } | undefined)?.code;
}

function nodeWith(net: GossipNet, options = {}): NetNode {
  return net.add('node', options);
}

describe('a hostile neighbour', () => {
  it('is disconnected after three forged records, and banned for ten minutes', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { link, own } = net.impostor(node, 'x');
    const [one, two, three, four] = strangers(4);
    own.sendRecords([forged(one), two, forged(three)]);
    net.pass(100);
    expect([link.isUp, node.gossip.isBanned(link.peerId)]).toEqual([true, false]);
    own.sendRecords([forged(four), one]);
    net.pass(100);
    expect([link.isUp, codeOf(link)]).toEqual([false, 'ERR_STARLANE_RECORD']);
    expect(node.gossip.isBanned(link.peerId)).toBe(true);
    expect(node.gossip.counters).toMatchObject({ invalid: 3, accepted: 1, punished: 1 });
    net.pass(599_000, 1_000);
    expect(node.gossip.isBanned(link.peerId)).toBe(true);
    net.pass(2_000);
    expect(node.gossip.isBanned(link.peerId)).toBe(false);
  });

  it('cannot use up the rate of another node by forging its records', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    for (let n = 0; n < 20; n++) {
      const { own } = net.impostor(node, `x${n}`);
      own.sendRecords([forged(nodeOf('victim', { seq: 100 + n })), forged(nodeOf('victim', { seq: 200 + n }))]);
    }
    net.pass(100);
    net.feed(node, [nodeOf('victim', { seq: 1 })]);
    expect(node.gossip.store.node(nodeOf('victim').nodeId)?.seq).toBe(1);
    expect(node.gossip.counters.parked).toBe(0);
  });

  it('is left when it brings more than can be looked at', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { link, own } = net.impostor(node, 'x');
    const shards = Array.from({ length: 30_000 }, (_, n) => shardOf(`n${n >> 9}`, { shard: n & 511, shards: 512 }));
    own.sendRecords(shards);
    net.pass(200);
    expect([link.isUp, codeOf(link)]).toEqual([false, 'ERR_STARLANE_GOSSIP_FLOOD']);
    expect(node.verifications).toBeLessThan(6_000);
    expect(node.gossip.isBanned(link.peerId)).toBe(false);
  });

  it('is left when more bytes of it wait than recordQueueBytes', () => {
    const large = Array.from({ length: 300 }, (_, n) => shardOf(`n${n}`, { services: services(5, 'x'.repeat(4_000)) }));
    for (const [options, code] of [
      [{}, undefined],
      [{ recordQueueBytes: 2 * 1024 * 1024 }, 'ERR_STARLANE_GOSSIP_FLOOD'],
    ] as const) {
      const net = new GossipNet();
      const { link, own } = net.impostor(nodeWith(net, options), 'x');
      // 6 MiB: by default all of it may wait.
      own.sendRecords(large);
      net.pass(200);
      expect([link.isUp, codeOf(link)]).toEqual([code === undefined, code]);
    }
  });

  it('is disconnected when it repeats known records without end', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { link, own } = net.impostor(node, 'x');
    const records = strangers(100);
    for (let turn = 0; turn < 600 && link.isUp; turn++) {
      own.sendRecords(records);
      net.pass(5);
    }
    expect([link.isUp, codeOf(link)]).toEqual([false, 'ERR_STARLANE_GOSSIP_FLOOD']);
    expect(node.verifications).toBe(100);
  });

  it('is processed at a bounded rate, without losses', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { link, own } = net.impostor(node, 'x');
    own.sendRecords(strangers(10_000));
    net.pass(1_000);
    // The burst, and half as much again for each record that was taken.
    expect(node.verifications).toBeGreaterThanOrEqual(8_192);
    expect(node.verifications).toBeLessThan(8_192 + 500);
    net.pass(5_000);
    expect([node.gossip.store.originCount, link.isUp]).toEqual([10_001, true]);
  });

  it('may not send more because it requested a comparison, or because of one that ended long ago', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    net.feed(node, strangers(100));
    const { own } = net.impostor(node, 'x');
    own.tap = () => {};
    const { rootHigh, rootLow, high, low } = node.gossip.store.digest;
    own.send({ type: MessageType.DIGEST, rootHigh, rootLow, count: 60_000 });
    own.send({ type: MessageType.BUCKETS, high: high.slice(), low: low.slice() });
    net.pass(100);
    own.sendRecords(strangers(6_000, 'equal'));
    net.pass(500);
    // The burst, and half as much again for each record that was taken.
    expect(node.verifications).toBeLessThan(100 + 2 * 4_096 + 500);
    expect(node.gossip.counters.verified).toBeGreaterThan(4_000);

    const other = net.impostor(node, 'y');
    other.own.tap = () => {};
    other.own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 60_000 });
    other.own.send({ type: MessageType.BUCKETS, high: new Uint32Array(256), low: new Uint32Array(256) });
    net.pass(25_000, 50);
    const before = node.verifications;
    other.own.sendRecords(strangers(15_000, 'late'));
    net.pass(500);
    expect(node.verifications - before).toBeLessThan(13_000);
  });

  it('costs no checks when there is no room for its records', () => {
    const net = new GossipNet();
    const node = nodeWith(net, { maxNodes: 20, maxInstances: 50 });
    net.feed(node, [nodeOf('a'), ...strangers(18)]);
    net.pass(5_000);
    const before = node.verifications;
    net.feed(node, [...strangers(50, 'm'), shardOf('a', { services: services(51) })].map(forged));
    expect(node.verifications).toBe(before);
    expect(node.gossip.counters).toMatchObject({ rejected: 51, invalid: 0 });
    // Records of this node itself are always processed, even before it has published any.
    const full = net.add('full', { maxNodes: 1 });
    net.feed(full, [nodeOf('other'), nodeOf('full', { epoch: 4 })]);
    net.pass(5_000);
    expect(full.gossip.own.epoch).toBe(5);
  });

  it('gets no answers while it is blocked, and all of them then', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    net.feed(node, strangers(100));
    const { link, own, heard } = net.impostor(node, 'x');
    own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 101 });
    net.pass(12_000);
    heard.length = 0;
    link.isBlocked = true;
    const [lost] = strangers(1, 'lost');
    for (let turn = 0; turn < 50; turn++) {
      own.send({ type: MessageType.BUCKETS, high: new Uint32Array(256), low: new Uint32Array(256) });
      own.send({ type: MessageType.ENTRIES, isLast: true, bitmap: new Uint8Array(32).fill(0xff), entries: [lost] });
      net.pass(1_000, 50);
      node.gossip.own.describe({ flags: turn }, 'soon');
    }
    expect(heard).toEqual([]);
    link.drain();
    net.pass(200);
    const types = heard.map(({ type }) => type);
    expect(types.filter((type) => type === MessageType.WANT)).toHaveLength(1);
    expect(types.filter((type) => type === MessageType.ENTRIES)).toHaveLength(1);
    expect(types).toContain(MessageType.RECORDS);
  });

  it('brings no old records back', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { own, heard } = net.impostor(node, 'x');
    own.sendRecords([nodeOf('a', { seq: 5 })]);
    net.pass(5_000);
    heard.length = 0;
    own.sendRecords([nodeOf('a', { seq: 4 })]);
    net.pass(100);
    expect(node.gossip.store.node(nodeOf('a').nodeId)?.seq).toBe(5);
    expect(node.verifications).toBe(1);
    // It is behind, so it is sent the new one.
    const told = heard.flatMap((message) => ('records' in message ? message.records : []));
    expect(told.map(({ record }) => record.seq)).toEqual([5]);
  });

  it('cannot prolong the life of a record of a node that is gone, only shorten it', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { own } = net.impostor(node, 'x');
    const record = nodeOf('a');
    for (const name of ['a', 'b']) node.unreachable.add(nodeOf(name).nodeId);
    const left = (): number | undefined => node.gossip.store.entry(record.nodeId)?.leftS;
    own.sendRecords([record], 1_000);
    net.pass(100);
    expect(left()).toBe(1_000);
    own.sendRecords([record], 3_000);
    net.pass(100);
    expect(left()).toBe(1_000);
    own.sendRecords([record], 500);
    net.pass(100);
    expect(left()).toBe(500);
    own.sendRecords([nodeOf('b', { lifeS: 60 })], 4_000_000);
    net.pass(100);
    expect(node.gossip.store.entry(nodeOf('b').nodeId)?.leftS).toBe(60);
  });
});

describe('a hostile origin', () => {
  it('is processed once a second after a burst of ten, and then with its newest record', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { own, heard } = net.impostor(node, 'x');
    const other = net.impostor(node, 'y');
    let seq = 0;
    for (let turn = 0; turn < 200; turn++) {
      own.sendRecords([nodeOf('a', { seq: ++seq })]);
      net.pass(100);
    }
    const taken = node.heard.filter(({ nodeId }) => nodeId === nodeOf('a').nodeId);
    expect(taken.length).toBeGreaterThan(25);
    expect(taken.length).toBeLessThanOrEqual(10 + 21);
    net.pass(3_000);
    expect(node.gossip.store.node(nodeOf('a').nodeId)?.seq).toBe(200);
    expect(heard.flatMap((message) => ('records' in message ? message.records : [])).length).toBeLessThan(5);
    const told = other.heard.flatMap((message) => ('records' in message ? message.records : []));
    expect(told.filter(({ record }) => record.nodeId === nodeOf('a').nodeId).length).toBeLessThanOrEqual(32);
  });

  it('may send a whole set of shards at once', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { own } = net.impostor(node, 'x');
    own.sendRecords([nodeOf('a'), ...Array.from({ length: 512 }, (_, shard) => shardOf('a', { shard, shards: 512 }))]);
    net.pass(1_000);
    expect(node.gossip.store.shardsOf(nodeOf('a').nodeId)).toHaveLength(512);
    expect(node.gossip.counters.parked).toBe(0);
  });

  it('fills no database: too many nodes, services, bytes', () => {
    const net = new GossipNet();
    const node = nodeWith(net, { maxNodes: 20, maxServicesPerNode: 50, maxInstances: 120 });
    net.feed(node, strangers(30));
    const { store, counters } = node.gossip;
    expect([store.originCount, counters.rejected]).toEqual([20, 10]);
    // Those that are known may go on.
    net.feed(node, [nodeOf('n0', { seq: 2 })]);
    expect(store.node(nodeOf('n0').nodeId)?.seq).toBe(2);

    net.feed(node, [shardOf('n0', { services: services(51) })]);
    expect([store.instances, counters.rejected]).toEqual([0, 11]);
    for (const name of ['n0', 'n1', 'n2']) net.feed(node, [shardOf(name, { services: services(50) })]);
    expect([store.instances, counters.rejected]).toEqual([100, 12]);
    // Fewer than before are always welcome.
    net.feed(node, [shardOf('n0', { seq: 2, services: services(40) })]);
    expect(store.instances).toBe(90);
    expect(new Set(node.warnings)).toEqual(new Set(['ERR_STARLANE_SERVICE_LIMIT', 'ERR_STARLANE_GOSSIP_FLOOD']));
    expect(node.warnings.length).toBeLessThanOrEqual(3);
  });

  it('fills no database with bytes', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const { own } = net.impostor(node, 'x');
    const inShard = Array.from({ length: 256 }, (): ServiceEntry[] => []);
    for (const entry of services(4_000, 'x'.repeat(4_000))) inShard[shardOfService('s', entry.port, 256)].push(entry);
    const shards = inShard.map((all, shard) => shardOf('a', { shard, shards: 256, services: all.slice(0, 11) }));
    expect(shards.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeGreaterThan(10.2 * 1024 * 1024);
    own.sendRecords(shards.slice(0, 128));
    net.pass(60_000, 50);
    own.sendRecords(shards.slice(128));
    net.pass(60_000, 50);
    expect(node.gossip.store.entry(nodeOf('a').nodeId)?.shardBytes).toBeLessThanOrEqual(10 * 1024 * 1024);
    expect(node.gossip.counters.rejected).toBeGreaterThan(0);
  });
});

describe('checking signatures', () => {
  it('is done for twenty records in a turn, in order, from any neighbour', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const one = net.impostor(node, 'x');
    const other = net.impostor(node, 'y');
    const perTurn: number[] = [];
    const many = Array.from({ length: 60 }, (_, shard) => shardOf('a', { shard, shards: 512 }));
    one.own.sendRecords([nodeOf('a'), ...many]);
    other.own.sendRecords(strangers(40));
    net.clock.advance(2);
    for (let before = 0; net.clock.immediatesWaiting > 0; ) {
      perTurn.push(node.verifications - before);
      before = node.verifications;
      net.clock.runImmediates();
    }
    expect(Math.max(...perTurn)).toBeLessThanOrEqual(20);
    expect(perTurn.length).toBeGreaterThanOrEqual(5);
    expect(node.verifications).toBe(101);
    const ofA = node.heard.filter(({ nodeId }) => nodeId === nodeOf('a').nodeId).map(({ key }) => key);
    expect(ofA).toEqual([nodeOf('a').key, ...many.map(({ key }) => key)]);
  });

  it('is done once for a record that all neighbours send', () => {
    const net = new GossipNet();
    const node = nodeWith(net);
    const peers = Array.from({ length: 6 }, (_, n) => net.impostor(node, `x${n}`));
    const records = strangers(50);
    for (const { own } of peers) own.sendRecords(records);
    net.pass(1_000);
    expect(node.verifications).toBe(50);
    expect(node.gossip.counters.duplicates).toBe(250);
  });

  it('processes a requested store of thousands as fast as it comes', () => {
    const net = new GossipNet();
    const [full, empty] = net.addAll('full', 'empty');
    for (let part = 0; part < 2; part++) net.feed(full, strangers(4_000, `part ${part} `));
    expect(full.gossip.store.size).toBe(8_001);
    const longest: number[] = [];
    net.link(full, empty, 1);
    for (let ms = 0; ms < 2_000 && empty.root !== full.root; ms++) {
      net.clock.advance(1);
      while (net.clock.immediatesWaiting > 0) {
        const before = empty.verifications;
        net.clock.runImmediates();
        longest.push(empty.verifications - before);
      }
    }
    expect(empty.gossip.store.size).toBe(8_002);
    expect(Math.max(...longest)).toBeLessThanOrEqual(20);
    expect(full.gossip.counters.syncs + empty.gossip.counters.syncs).toBe(1);
    expect(MessageType.BUCKETS).toBe(8);
  });
});
