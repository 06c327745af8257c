import { describe, expect, it } from '@jest/globals';
import { type Message, MessageType } from '../../../lib/wire/messages.js';
import type { MeshRecord } from '../../../lib/wire/records.js';
import { GossipNet, type NetLink, type NetNode } from '../gossip-net.js';
import { nodeOf, shardOf } from '../signed-records.js';

function expectEqual(nodes: readonly NetNode[]): void {
  expect(new Set(nodes.map((node) => node.root)).size).toBe(1);
}

function strangers(count: number, prefix = 'n'): MeshRecord[] {
  return Array.from({ length: count }, (_, n) => nodeOf(`${prefix}${n}`));
}

function count(links: readonly NetLink[], type: number): number {
  return links.reduce((sum, link) => sum + link.sentTypes.filter((sent) => sent === type).length, 0);
}

function recordsOver(links: readonly NetLink[]): number {
  return links.reduce((sum, link) => sum + link.sentRecords.length, 0);
}

/** Two nodes that know the same. */
function twoEqual(net: GossipNet, records: readonly MeshRecord[]): [NetNode, NetNode, [NetLink, NetLink]] {
  const [a, b] = net.addAll('a', 'b');
  net.feed(a, records);
  const links = net.link(a, b);
  net.pass(20_000);
  expectEqual([a, b]);
  return [a, b, links];
}

describe('databases that are compared', () => {
  it('cost a digest each when they are equal', () => {
    const net = new GossipNet();
    const [a, b, [standing]] = twoEqual(net, strangers(200));
    net.drop(standing);
    const before = net.bytes;
    const links = net.link(a, b);
    net.pass(40);
    for (const link of links) {
      expect(link.sentTypes.filter((type) => type !== MessageType.RECORDS)).toEqual([
        MessageType.DIGEST,
        MessageType.SYNCED,
      ]);
    }
    expect(net.bytes - before).toBeLessThan(100);
  });

  it('are sent to a new node by one neighbour, however many it has', () => {
    const net = new GossipNet();
    const nodes = net.addAll('a', 'b', 'c', 'd', 'e');
    const records = strangers(400);
    net.feed(nodes[0], records);
    for (let index = 1; index < nodes.length; index++) net.link(nodes[index - 1], nodes[index]);
    net.pass(20_000);
    expectEqual(nodes);
    const newcomer = net.add('new');
    const links = nodes.flatMap((node) => net.link(newcomer, node, 10));
    net.pass(5_000);
    expectEqual([...nodes, newcomer]);
    expect(newcomer.gossip.store.size).toBe(406);
    expect(newcomer.synced).toHaveLength(5);
    // All of it once, and the few changes that the links themselves make.
    expect(recordsOver(links)).toBeLessThan(400 + 100);
    expect(newcomer.verifications).toBeLessThan(450);
  });

  it('are compared by buckets when both are large, and only differences are sent, and passed on', () => {
    const net = new GossipNet();
    const [left, a, b, right] = net.addAll('left', 'a', 'b', 'right');
    const common = strangers(300);
    net.feed(a, [...common, ...strangers(5, 'left')]);
    net.feed(b, [...common, ...strangers(7, 'right')]);
    net.link(left, a);
    net.link(b, right);
    net.pass(20_000);
    const links = net.link(a, b);
    net.pass(2_000);
    expectEqual([left, a, b, right]);
    expect(left.gossip.store.size).toBe(300 + 12 + 4);
    expect(count(links, MessageType.BUCKETS)).toBe(1);
    expect(count(links, MessageType.ENTRIES)).toBe(1);
    expect(count(links, MessageType.WANT)).toBe(1);
    expect(recordsOver(links)).toBeLessThan(12 + 4 + 12);
  });

  it('are compared again when a record got lost, and not for records on their way', () => {
    const net = new GossipNet();
    const [a, b, links] = twoEqual(net, strangers(100));
    const syncs = a.gossip.counters.syncs + b.gossip.counters.syncs;
    let isLosing = true;
    links[1].tap = (message: Message) => {
      if (!isLosing || message.type !== MessageType.RECORDS) b.gossip.onMessage(links[1], message);
    };
    net.feed(a, [nodeOf('lost')]);
    isLosing = false;
    net.pass(1_000);
    expect(a.root).not.toBe(b.root);
    net.pass(20_000);
    expectEqual([a, b]);
    expect(a.gossip.counters.syncs + b.gossip.counters.syncs).toBe(syncs + 1);

    for (let round = 0; round < 100; round++) {
      a.gossip.own.describe({ flags: round }, 'soon');
      b.gossip.own.describe({ flags: round }, 'soon');
      net.pass(700);
    }
    expect(a.gossip.counters.syncs + b.gossip.counters.syncs).toBe(syncs + 1);
  });

  it('do not differ from one that is as the own one was a moment ago', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    const { own, heard } = net.impostor(a, 'x');
    own.send({ type: MessageType.DIGEST, rootHigh: 0, rootLow: 0, count: 0 });
    net.pass(5_000);
    const { rootHigh, rootLow } = a.gossip.store.digest;
    a.gossip.own.describe({ flags: 1 }, 'now');
    own.send({ type: MessageType.DIGEST, rootHigh, rootLow, count: 1 });
    net.pass(60_000, 50);
    expect(heard.map(({ type }) => type)).not.toContain(MessageType.ENTRIES);
    // Long ago is another matter.
    own.send({ type: MessageType.DIGEST, rootHigh, rootLow, count: 1 });
    net.pass(60_000, 50);
    expect(heard.map(({ type }) => type)).toContain(MessageType.ENTRIES);
  });

  it('are compared more and more rarely with a peer that accepts nothing', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    net.feed(a, strangers(3));
    const { own, heard } = net.impostor(a, 'x');
    // It knows more, so it is for the node to begin, and never takes anything.
    own.tap = (message) => {
      heard.push(message);
      if (message.type === MessageType.ENTRIES) own.send({ type: MessageType.WANT, isLast: true, keys: [] });
    };
    for (let round = 0; round < 240; round++) {
      own.send({ type: MessageType.DIGEST, rootHigh: round, rootLow: 1, count: 1_000 });
      net.pass(5_000, 50);
    }
    const exchanges = heard.filter(({ type }) => type === MessageType.ENTRIES).length;
    expect(exchanges).toBeGreaterThan(10);
    expect(exchanges).toBeLessThan(30);
  });

  it('are no reason to wait for a peer that does not answer', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    net.feed(a, strangers(3));
    const silent = net.impostor(a, 'x');
    silent.own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 100 });
    const mute = net.impostor(a, 'y');
    net.pass(9_000);
    for (const { heard } of [silent, mute]) expect(heard.map(({ type }) => type)).not.toContain(MessageType.SYNCED);
    net.pass(5_000);
    for (const { heard } of [silent, mute]) expect(heard.map(({ type }) => type)).toContain(MessageType.SYNCED);
  });

  it('are compared in the end with a peer that should have begun, or was not ready for the first digest', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    net.feed(a, strangers(100));
    const { own, heard } = net.impostor(a, 'x');
    const types = (): number[] => heard.map(({ type }) => type);
    own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 10 });
    net.pass(9_000);
    expect(types().filter((type) => type !== MessageType.RECORDS)).toEqual([MessageType.DIGEST]);
    net.pass(9_000);
    expect(types().filter((type) => type === MessageType.DIGEST)).toHaveLength(2);
    expect(types()).toContain(MessageType.SYNCED);
    net.pass(20_000);
    expect(types()).toContain(MessageType.ENTRIES);
  });

  it('are compared with four peers at once at most, the one that has waited longest first', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    net.feed(a, strangers(100));
    const peers = Array.from({ length: 8 }, (_, n) => net.impostor(a, `peer ${n}`));
    // Each has as many records, none answers: some wait for the node to begin, the others begin.
    for (const { own } of peers) {
      own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 102 });
      own.send({ type: MessageType.BUCKETS, high: new Uint32Array(256).fill(1), low: new Uint32Array(256) });
    }
    net.pass(2_000);
    const busy = peers.map(({ heard }) =>
      heard.some(({ type }) => type === MessageType.ENTRIES || type === MessageType.BUCKETS),
    );
    expect(busy).toEqual([true, true, true, true, false, false, false, false]);
    net.pass(12_000);
    const later = peers.filter(({ heard }) => heard.some(({ type }) => type === MessageType.ENTRIES));
    expect(later).toHaveLength(8);
  });

  it('end well when both begin at the same time', () => {
    const net = new GossipNet();
    const [a, b, links] = twoEqual(net, strangers(100));
    const buckets = { high: new Uint32Array(256), low: new Uint32Array(256) };
    net.feed(a, [nodeOf('one')]);
    links[0].send({ type: MessageType.BUCKETS, ...buckets });
    links[1].send({ type: MessageType.BUCKETS, ...buckets });
    net.pass(1_000);
    for (const [index, node] of [a, b].entries()) expect(node.gossip.isSettled(links[index])).toBe(true);
    expectEqual([a, b]);
  });

  it('of thousands of entries take more than one message', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    const shards: MeshRecord[] = [];
    for (let origin = 0; origin < 10; origin++) {
      for (let shard = 0; shard < 512; shard++) shards.push(shardOf(`n${origin}`, { shard, shards: 512 }));
    }
    net.feed(a, shards.slice(0, 3_000));
    net.feed(a, shards.slice(3_000, 5_000));
    net.feed(b, shards.slice(2_000, 4_000));
    net.feed(b, shards.slice(4_000));
    expect([a.gossip.store.size, b.gossip.store.size]).toEqual([5_001, 3_121]);
    const links = net.link(a, b);
    net.pass(5_000);
    expectEqual([a, b]);
    expect(a.gossip.store.size).toBe(5_122);
    expect(count(links, MessageType.ENTRIES)).toBeGreaterThan(1);
    expect(recordsOver(links)).toBeLessThan(2_120 + 10);
  });

  it('are not sent again and again to a peer that requests them', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    net.feed(a, strangers(1_000));
    const { own } = net.impostor(a, 'x');
    own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 0 });
    net.pass(1_000);
    const all = new Uint8Array(32).fill(0xff);
    const before = net.bytes;
    for (let second = 0; second < 120; second++) {
      for (let again = 0; again < 5; again++) {
        own.send({ type: MessageType.ENTRIES, isLast: true, bitmap: all, entries: [] });
        own.send({ type: MessageType.BUCKETS, high: new Uint32Array(256), low: new Uint32Array(256) });
        own.send({ type: MessageType.WANT, isLast: true, keys: strangers(20).map(({ key }) => key) });
      }
      net.pass(1_000, 50);
    }
    const asked = 120 * 5 * (33 + 2_053 + 5 + 12 * 20 + 100);
    const database = a.gossip.store.bytes;
    expect(net.bytes - before - asked).toBeLessThan(1024 * 1024 + 2 * database + 121 * 64 * 1024);
    expect(a.gossip.counters.unanswered).toBeGreaterThan(0);
    // A new link is no new beginning.
    own.destroy(new Error('again'));
    net.pass(100);
    const again = net.impostor(a, 'x');
    const used = net.bytes;
    again.own.send({ type: MessageType.ENTRIES, isLast: true, bitmap: all, entries: [] });
    net.pass(1_000);
    expect(net.bytes - used).toBeLessThan(database / 2);
  });

  it.each([
    { what: 'few records', count: 0 },
    { what: 'many records', count: 200 },
  ])('are equal a moment after a reconnect, whichever end has changed meanwhile: $what', ({ count: size }) => {
    for (const changed of ['a', 'b', 'both']) {
      const net = new GossipNet();
      const [a, b, [first]] = twoEqual(net, strangers(size));
      net.drop(first);
      for (const node of changed === 'both' ? [a, b] : [changed === 'a' ? a : b]) {
        node.gossip.own.describe({ flags: 1 }, 'soon');
        node.gossip.own.bind({ service: 'late', port: 1, weight: 1 });
      }
      net.pass(5_000);
      net.link(a, b);
      net.pass(100);
      expectEqual([a, b]);
    }
  });

  it('keep changes while the entries of a peer are on their way', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    net.feed(a, strangers(3));
    const { own, heard } = net.impostor(a, 'x');
    own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 1 });
    const feeder = net.impostor(a, 'feeder');
    net.pass(5_000);
    const entries = [...a.gossip.store.records()];
    own.send({ type: MessageType.ENTRIES, isLast: false, bitmap: new Uint8Array(32), entries });
    net.pass(5, 1);
    heard.length = 0;
    // What the peer has mentioned is replaced before the last message of its entries comes.
    const newer = nodeOf('n1', { seq: 99 });
    feeder.own.sendRecords([newer]);
    own.send({ type: MessageType.ENTRIES, isLast: true, bitmap: new Uint8Array(32).fill(0xff), entries: [] });
    net.pass(100, 1);
    const records = heard.flatMap((message) => (message.type === MessageType.RECORDS ? message.records : []));
    expect(records.map(({ record }) => record.hashLow)).toContain(newer.hashLow);
  });

  it('lose nothing when a link ends in the middle', () => {
    const net = new GossipNet();
    const [a, b, c] = net.addAll('a', 'b', 'c');
    net.feed(a, strangers(300));
    net.feed(b, strangers(300, 'm'));
    const [first] = net.link(a, b, 10);
    net.pass(35);
    net.cut(first);
    net.pass(1_000);
    expect(a.root).not.toBe(b.root);
    net.link(a, c);
    net.link(c, b);
    net.pass(20_000);
    expectEqual([a, b, c]);
    expect(a.gossip.store.size).toBe(603);
  });
});
