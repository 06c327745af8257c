import { describe, expect, it } from '@jest/globals';
import { NodeFlag } from '../../../lib/wire/records.js';
import { GossipNet, type NetNode } from '../gossip-net.js';
import { nodeOf, shardOf } from '../signed-records.js';

const HOUR = 3_600_000;

/** A node that knows another one that cannot be reached any more. */
function widow(net: GossipNet, lifeS = 3_600): NetNode {
  const node = net.add('node');
  net.feed(node, [nodeOf('gone', { lifeS }), shardOf('gone', { lifeS }), nodeOf('there', { lifeS })]);
  node.unreachable.add(nodeOf('gone').nodeId);
  return node;
}

const GONE = nodeOf('gone').nodeId;

describe('a node that is gone', () => {
  it('is kept for the rest of its life, and forgotten with all that is of it', () => {
    const net = new GossipNet();
    const node = widow(net);
    net.pass(HOUR - 60_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBeDefined();
    expect(node.forgotten).toEqual([]);
    net.pass(150_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBe(undefined);
    expect(node.forgotten.map(({ key }) => key)).toEqual([GONE, `${GONE}/0/1`]);
    // One that can be reached is kept, however old.
    expect(node.gossip.store.node(nodeOf('there').nodeId)).toBeDefined();
    expect(node.gossip.store.size).toBe(2);
  });

  it('lives on when it comes back in time', () => {
    const net = new GossipNet();
    const node = widow(net);
    net.pass(HOUR / 2, 10_000);
    node.unreachable.clear();
    net.pass(2 * HOUR, 10_000);
    expect(node.gossip.store.node(GONE)).toBeDefined();
    node.unreachable.add(GONE);
    net.pass((3 * HOUR) / 4, 10_000);
    expect(node.gossip.store.node(GONE)).toBeDefined();
    net.pass(HOUR / 2, 10_000);
    expect(node.gossip.store.node(GONE)).toBe(undefined);
  });

  it('loses no life by short absences', () => {
    const net = new GossipNet();
    const node = widow(net, 300);
    for (let sweep = 0; sweep < 100; sweep++) {
      if (sweep % 2 === 0) node.unreachable.add(GONE);
      else node.unreachable.clear();
      net.pass(30_000, 10_000);
    }
    expect(node.gossip.store.entry(GONE)?.leftS).toBe(300);
  });

  it('is forgotten ten minutes after it has announced its leaving, even if others still reach it', () => {
    const net = new GossipNet();
    const node = net.add('node');
    net.feed(node, [nodeOf('gone', { flags: NodeFlag.LEAVING })]);
    net.pass(9 * 60_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBeDefined();
    net.pass(2 * 60_000 + 30_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBe(undefined);
  });

  it('is not brought back by an old copy, only by a newer record', () => {
    const net = new GossipNet();
    const node = widow(net, 60);
    net.pass(180_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBe(undefined);
    const { own } = net.impostor(node, 'x');
    own.sendRecords([nodeOf('gone', { seq: 0 }), nodeOf('gone', { lifeS: 60 }), shardOf('gone', { lifeS: 60 })], 40);
    net.pass(1_000);
    expect(node.gossip.store.entry(GONE)).toBe(undefined);
    own.sendRecords([nodeOf('gone', { seq: 2 })]);
    net.pass(1_000);
    expect(node.gossip.store.node(GONE)?.seq).toBe(2);
  });

  it('is known again after a split from the half where it was never gone', () => {
    const net = new GossipNet();
    const [left, right] = net.addAll('left', 'right');
    const record = nodeOf('gone');
    net.feed(left, [record]);
    net.feed(right, [record]);
    left.unreachable.add(GONE);
    net.pass(2 * HOUR, 10_000);
    expect(left.gossip.store.node(GONE)).toBe(undefined);
    expect(right.gossip.store.node(GONE)).toBeDefined();
    left.unreachable.clear();
    net.link(left, right);
    net.pass(5_000);
    expect(left.gossip.store.node(GONE)).toBeDefined();
    expect(left.root).toBe(right.root);
  });

  it('may come back as a stranger after two hours', () => {
    const net = new GossipNet();
    const node = widow(net, 60);
    net.pass(180_000, 10_000);
    net.pass(2 * HOUR + 60_000, 10_000);
    const { own } = net.impostor(node, 'x');
    own.sendRecords([nodeOf('gone', { seq: 0, lifeS: 60 })], 40);
    net.pass(1_000);
    expect(node.gossip.store.node(GONE)?.seq).toBe(0);
  });

  it('has less life left with every node that passes it on', () => {
    const net = new GossipNet();
    const nodes = net.addAll('a', 'b', 'c', 'd');
    for (let index = 1; index < nodes.length; index++) net.link(nodes[index - 1], nodes[index]);
    net.pass(5_000);
    for (const node of nodes) node.unreachable.add(GONE);
    net.feed(nodes[0], [nodeOf('gone')]);
    expect(nodes.map((node) => node.gossip.store.entry(GONE)?.leftS)).toEqual([3_600, 3_599, 3_598, 3_597]);
  });

  it('is not forgotten because of the claim of a relay while it is reachable', () => {
    const net = new GossipNet();
    const [node, other] = net.addAll('node', 'other');
    const records = [nodeOf('gone'), nodeOf('told before')];
    net.feed(node, records.slice(1));
    const { own } = net.impostor(node, 'liar');
    own.sendRecords(records, 0);
    net.pass(5_000);
    const [link] = net.link(node, other);
    net.pass(5_000);
    const told = link.sent.flatMap((message) => ('records' in message ? message.records : []));
    for (const { nodeId } of records) {
      expect(node.gossip.store.entry(nodeId)?.leftS).toBe(3_600);
      expect(told.find(({ record }) => record.nodeId === nodeId)?.remainingLifeS).toBe(3_600);
      node.unreachable.add(nodeId);
    }
    net.pass(HOUR / 2, 10_000);
    for (const { nodeId } of records) expect(node.gossip.store.node(nodeId)).toBeDefined();
  });

  it('has its whole life again when a relay had shortened it before it was reached', () => {
    const net = new GossipNet();
    const node = net.add('node');
    node.unreachable.add(GONE);
    net.feed(node, [nodeOf('gone')]);
    net.impostor(node, 'liar').own.sendRecords([nodeOf('gone')], 0);
    net.pass(100);
    expect(node.gossip.store.entry(GONE)?.leftS).toBe(0);
    node.unreachable.clear();
    net.pass(35_000, 1_000);
    node.unreachable.add(GONE);
    net.pass(HOUR / 2, 10_000);
    expect(node.gossip.store.node(GONE)).toBeDefined();
  });

  it('does not start its last ten minutes again, whatever others claim', () => {
    const net = new GossipNet();
    const node = net.add('node');
    const record = nodeOf('gone', { flags: NodeFlag.LEAVING });
    net.feed(node, [record]);
    expect(node.gossip.store.entry(GONE)?.leftS).toBe(600);
    const { own } = net.impostor(node, 'x');
    own.sendRecords([record], 0);
    net.pass(5 * 60_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBeDefined();
    own.sendRecords([record], 600);
    net.pass(6 * 60_000 + 30_000, 10_000);
    expect(node.gossip.store.node(GONE)).toBe(undefined);
  });

  it('is forgotten by all, and none passes it on again', () => {
    const net = new GossipNet();
    const nodes = net.addAll('a', 'b', 'c', 'd');
    for (let index = 1; index < nodes.length; index++) net.link(nodes[index - 1], nodes[index]);
    net.pass(5_000);
    net.feed(nodes[0], [nodeOf('gone', { lifeS: 600 }), shardOf('gone', { lifeS: 600 })]);
    for (const [index, node] of nodes.entries()) {
      net.pass(7_000 * index, 1_000);
      node.unreachable.add(GONE);
    }
    net.pass(900_000, 1_000);
    for (const node of nodes) {
      expect(node.gossip.store.entry(GONE)).toBe(undefined);
      expect(node.forgotten).toHaveLength(2);
    }
    expect(new Set(nodes.map((node) => node.root)).size).toBe(1);
  });
});
