import { describe, expect, it } from '@jest/globals';
import { MessageType } from '../../../lib/wire/messages.js';
import { NodeFlag } from '../../../lib/wire/records.js';
import { thrownCode } from '../../support/thrown.js';
import { GossipNet, type NetNode } from '../gossip-net.js';
import { nodeOf } from '../signed-records.js';

function expectEqual(nodes: readonly NetNode[]): void {
  expect(new Set(nodes.map((node) => node.root)).size).toBe(1);
}

/** Nodes in a line, all in sync. */
function line(net: GossipNet, names: string, latencyMs = 5): NetNode[] {
  const nodes = net.addAll(...names);
  for (let index = 1; index < nodes.length; index++) net.link(nodes[index - 1], nodes[index], latencyMs);
  net.pass(15_000);
  expectEqual(nodes);
  return nodes;
}

describe('gossip', () => {
  it('sends two nodes the records of each other when a link comes up', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    const [link] = net.link(a, b);
    net.pass(1_000);
    expect(a.linksOf(b)).toEqual([a.id]);
    expect(b.linksOf(a)).toEqual([b.id]);
    expectEqual([a, b]);
    expect([a.synced.length, b.synced.length]).toEqual([1, 1]);
    expect(a.gossip.isSettled(link)).toBe(true);
  });

  it('reaches every node of a line, with services', () => {
    const net = new GossipNet();
    const nodes = net.addAll('a', 'b', 'c', 'd', 'e');
    nodes[0].gossip.own.bind({ service: 'echo', port: 80, weight: 1 });
    for (let index = 1; index < nodes.length; index++) net.link(nodes[index - 1], nodes[index]);
    net.pass(3_000);
    expectEqual(nodes);
    expect(nodes[4].gossip.store.size).toBe(6);
    expect(nodes[4].servicesOf(nodes[0])).toEqual(['echo']);
    nodes[0].gossip.own.unbind('echo', 80);
    net.pass(1_500);
    expect(nodes[4].servicesOf(nodes[0])).toEqual([]);
    expectEqual(nodes);
  });

  it('has sent the services of a node before its SYNCED', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    for (let port = 0; port < 500; port++) a.gossip.own.bind({ service: 's', port, weight: 1 });
    const seen: number[] = [];
    const [, link] = net.link(a, b);
    link.tap = (message) => {
      if (message.type === MessageType.SYNCED) seen.push(b.servicesOf(a).length);
      b.gossip.onMessage(link, message);
    };
    net.pass(2_000);
    expect(seen).toEqual([500]);
  });

  it('publishes services that a loop binds after the loop, each shard once, some in each turn', () => {
    const net = new GossipNet();
    const maxServicesPerNode = 20_000;
    const [a, b] = [net.add('a', { maxServicesPerNode }), net.add('b', { maxServicesPerNode })];
    net.link(a, b);
    net.pass(5_000);
    const { counters } = a.gossip;
    const before = counters.originations;
    for (let n = 0; n < 20_000; n++) {
      a.gossip.own.bind({ service: `s${n}`, port: 0, weight: 1 });
      // The loop takes its time.
      if (n % 20 === 0) net.clock.lag(1);
    }
    expect(counters.originations).toBe(before);
    net.clock.advance(10);
    expect(counters.originations).toBe(before + 32);
    net.pass(2_000);
    expect(counters.originations).toBe(before + 512);
    expect(b.servicesOf(a)).toHaveLength(20_000);
    for (let n = 0; n < 20_000; n++) a.gossip.own.unbind(`s${n}`, 0);
    net.pass(2_000);
    expect(counters.originations).toBe(before + 1_024);
    expect(b.servicesOf(a)).toEqual([]);
    expect(b.gossip.counters.parked).toBe(0);
  });

  it('passes losses on in the same turn, and gains soon', () => {
    const net = new GossipNet();
    const [a, b, , , e] = line(net, 'abcde', 20);
    const far = net.add('far');
    net.link(a, far, 20);
    net.pass(60_000);
    expect(e.linksOf(a)).toContain(far.id);

    a.gossip.own.describe({ links: [{ peerId: b.id, cost: 10 }] }, 'now');
    net.pass(79, 1);
    expect(e.linksOf(a)).toContain(far.id);
    net.pass(2, 1);
    expect(e.linksOf(a)).toEqual([b.id]);

    net.pass(60_000);
    a.gossip.own.describe({ addresses: ['tcp://h:1'] }, 'soon');
    net.pass(4 * 20 + 50 + 5 * 20);
    expect(e.gossip.store.node(a.id)?.addresses).toEqual(['tcp://h:1']);
  });

  it('crosses each link once in each direction at most', () => {
    const net = new GossipNet();
    const nodes = line(net, 'abcdefgh');
    const ring = net.link(nodes[7], nodes[0]);
    net.pass(15_000);
    const [a] = nodes;
    const links = [...nodes.flatMap((node) => [...node.links]), ...ring];
    for (const link of links) link.sent.length = 0;
    a.gossip.own.describe({ flags: NodeFlag.RELAY }, 'soon');
    net.pass(2_000);
    for (const node of nodes) expect(node.gossip.store.node(a.id)?.flags).toBe(NodeFlag.RELAY);
    const crossings = new Set(links).size;
    let copies = 0;
    for (const link of new Set(links)) {
      const own = link.sentRecords.filter(({ nodeId, flags }) => nodeId === a.id && flags === NodeFlag.RELAY);
      expect(own.length).toBeLessThanOrEqual(1);
      copies += own.length;
    }
    // No node sends it back to where it came from.
    expect(copies).toBeLessThanOrEqual(crossings / 2 + 1);
  });

  it('sends a slow neighbour the newest version only, once it accepts messages', () => {
    const net = new GossipNet();
    const [a, b, c] = line(net, 'abc');
    const [slow] = [...b.links].filter(({ peerId }) => peerId === c.id);
    slow.isBlocked = true;
    slow.sent.length = 0;
    for (let count = 0; count < 5; count++) {
      a.gossip.own.describe({ flags: 0x100 + count }, 'now');
      net.pass(1_500);
    }
    expect(b.gossip.store.node(a.id)?.flags).toBe(0x104);
    expect(slow.sentRecords).toEqual([]);
    expect(b.gossip.isSettled(slow)).toBe(false);
    slow.drain();
    net.pass(100);
    expect(slow.sentRecords.map(({ flags }) => flags)).toEqual([0x104]);
    expect(c.gossip.store.node(a.id)?.flags).toBe(0x104);
    expect(b.gossip.isSettled(slow)).toBe(true);
  });

  it('does not send records that the neighbour has sent meanwhile', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    const { own, link } = net.impostor(a, 'x');
    own.send({ type: MessageType.DIGEST, rootHigh: 0, rootLow: 0, count: 0 });
    net.pass(100);
    link.isBlocked = true;
    const record = nodeOf('far');
    net.feed(a, [record]);
    own.sendRecords([record]);
    net.pass(100);
    link.sent.length = 0;
    link.drain();
    net.pass(1_000);
    expect(link.sentRecords).toEqual([]);
    expect(a.gossip.store.get(record.key)).toEqual(record);
  });

  it('sends messages of 16 KiB', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    net.feed(
      a,
      Array.from({ length: 300 }, (_, n) => nodeOf(`n${n}`)),
    );
    const [link] = net.link(a, b);
    net.pass(2_000);
    expectEqual([a, b]);
    const batches = link.sent.filter(({ type }) => type === MessageType.RECORDS);
    expect(batches.length).toBeGreaterThan(2);
    for (const batch of batches) {
      const size = 'records' in batch ? batch.records.reduce((sum, { record }) => sum + record.bytes.length + 6, 0) : 0;
      expect(size).toBeLessThanOrEqual(16 * 1024);
    }
    expect(b.verifications).toBeLessThanOrEqual(301);
  });

  it('sends a client everything, and expects nothing from it', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    const client = net.add('client', { role: 'client' });
    client.gossip.own.bind({ service: 'mine', port: 1, weight: 1 });
    net.link(a, client);
    net.link(b, client);
    a.gossip.own.bind({ service: 'echo', port: 1, weight: 1 });
    net.pass(10_000);
    expect(client.servicesOf(a)).toEqual(['echo']);
    expect(client.gossip.store.node(b.id)).toBeDefined();
    expect(client.synced).toHaveLength(2);
    expect(a.synced).toHaveLength(1);
    expect(client.gossip.counters.originations).toBe(0);
    // It is no bridge: it does not pass records of one node on to the other.
    expect(a.gossip.store.size).toBe(2);
    expect(b.gossip.store.size).toBe(1);
    for (const link of client.links) expect(link.sentRecords).toEqual([]);
  });

  it('accepts no records from a client', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    const { own } = net.impostor(a, 'x', 'client');
    own.sendRecords([nodeOf('x')]);
    net.pass(1_000);
    expect([...a.gossip.store.nodes()].map(({ nodeId }) => nodeId)).not.toContain(nodeOf('x').nodeId);
  });

  it('announces the leaving of a node to all neighbours at once, slow ones too, and nothing after that', () => {
    const net = new GossipNet();
    const [a, b, c] = line(net, 'abc');
    const [link] = b.links;
    for (const one of b.links) one.isBlocked = true;
    b.gossip.leave();
    b.gossip.own.describe({ flags: 0x10 }, 'now');
    b.gossip.own.bind({ service: 'late', port: 1, weight: 1 });
    net.pass(100);
    for (const node of [a, c]) {
      expect(node.gossip.store.node(b.id)).toMatchObject({
        flags: NodeFlag.LEAVING,
        links: [],
        addresses: [],
        lifeS: 600,
      });
      expect(node.servicesOf(b)).toEqual([]);
    }
    expect(link.sentTypes.at(-1)).toBe(MessageType.RECORDS);
  });

  it('refuses a service that would fit no record', () => {
    const net = new GossipNet();
    const [a] = net.addAll('a');
    expect(thrownCode(() => a.gossip.own.bind({ service: 'a:b', port: 1, weight: 1 }))).toBe('ERR_STARLANE_MESSAGE');
    expect(thrownCode(() => a.gossip.own.bind({ service: 'a', port: 1, weight: 1, meta: 'x'.repeat(5_000) }))).toBe(
      'ERR_STARLANE_MESSAGE',
    );
  });

  it('may be called back from all its events', () => {
    const net = new GossipNet();
    const nodes = line(net, 'abcd');
    const [a, b, c, d] = nodes;
    let calls = 0;
    b.react = (record) => {
      calls++;
      b.gossip.own.bind({ service: `s${calls}`, port: 1, weight: 1 });
      b.gossip.own.describe({ flags: calls & 0xff }, 'now');
      if (record.nodeId === d.id) for (const link of [...b.links]) if (link.peerId === a.id) link.destroy(new Error());
    };
    d.gossip.own.describe({ flags: 1 }, 'now');
    net.pass(30_000);
    expect(calls).toBeGreaterThan(0);
    expectEqual([b, c, d]);
    expect(c.servicesOf(b)).toContain('s1');

    c.react = () => c.gossip.dispose();
    const before = c.gossip.store.size;
    d.gossip.own.describe({ flags: 2 }, 'now');
    b.gossip.own.describe({ flags: 3 }, 'now');
    net.pass(1_000);
    expect(c.gossip.store.size).toBe(before);
  });

  it('leaves no timer behind after dispose', () => {
    const net = new GossipNet();
    const nodes = line(net, 'abc');
    nodes[0].gossip.own.bind({ service: 'a', port: 1, weight: 1 });
    for (const node of nodes) node.gossip.dispose();
    expect(net.timers.size).toBe(0);
    nodes[0].gossip.own.describe({ flags: 1 }, 'now');
    for (const link of nodes[0].links) nodes[0].gossip.onLink(link);
    expect(net.timers.size).toBe(0);
  });
});
