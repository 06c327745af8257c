import { describe, expect, it } from '@jest/globals';
import type { NodeId } from '../../../lib/address.js';
import { type Message, MessageType } from '../../../lib/wire/messages.js';
import type { MeshRecord } from '../../../lib/wire/records.js';
import { GossipNet, type NetNode } from '../gossip-net.js';
import { nodeOf, shardOf } from '../signed-records.js';

const MAX_NODES = 40;

function nodesOf(count: number, prefix: string): MeshRecord[] {
  return Array.from({ length: count }, (_, n) => nodeOf(`${prefix}${n}`));
}

function hide(node: NetNode, records: readonly MeshRecord[]): void {
  for (const { nodeId } of records) node.unreachable.add(nodeId);
}

function known(node: NetNode, records: readonly MeshRecord[]): NodeId[] {
  return records.map(({ nodeId }) => nodeId).filter((nodeId) => node.gossip.store.node(nodeId) !== undefined);
}

function wanted(heard: readonly Message[]): string[] {
  return heard.flatMap((message) => (message.type === MessageType.WANT ? message.keys : []));
}

/** A node that knows as many as it may: itself, some that are there, and made-up ones. */
function full(made: readonly MeshRecord[], there = nodesOf(MAX_NODES - 1 - made.length, 'there')) {
  const net = new GossipNet();
  const node = net.add('node', { maxNodes: MAX_NODES });
  hide(node, made);
  net.feed(node, [...made, ...there]);
  net.pass(15_000, 50);
  expect(node.gossip.store.originCount).toBe(MAX_NODES);
  return { net, node, there };
}

describe('a node with a full store', () => {
  it('evicts unreachable nodes for new ones, the oldest first, and no reachable one', () => {
    const made = nodesOf(10, 'made');
    const { net, node, there } = full(made);
    const fresh = nodesOf(4, 'fresh');
    net.feed(node, fresh);
    expect(known(node, fresh)).toHaveLength(4);
    expect(known(node, made)).toEqual(made.slice(4).map(({ nodeId }) => nodeId));
    expect(node.forgotten).toEqual(made.slice(0, 4));
    net.feed(node, nodesOf(20, 'more'));
    expect([known(node, made), known(node, there).length]).toEqual([[], 29]);
    expect([node.gossip.store.originCount, node.gossip.counters.rejected]).toEqual([MAX_NODES, 14]);
  });

  it('prefers to keep nodes that were reachable once', () => {
    const made = nodesOf(3, 'made');
    const { net, node, there } = full(made);
    hide(node, there.slice(0, 3));
    net.feed(node, nodesOf(4, 'fresh'));
    expect(known(node, made)).toEqual([]);
    expect(known(node, there)).toEqual(there.slice(1).map(({ nodeId }) => nodeId));
  });

  it('gives every newcomer time to be reached', () => {
    const made = nodesOf(5, 'made');
    const { net, node } = full(made);
    const [first, second] = [nodesOf(5, 'first'), nodesOf(5, 'second')];
    hide(node, [...first, ...second]);
    net.feed(node, first);
    net.feed(node, second);
    expect([known(node, first).length, known(node, second).length]).toEqual([5, 0]);
  });

  it('evicts no node for services that it rejects', () => {
    const made = nodesOf(5, 'made');
    const net = new GossipNet();
    const node = net.add('node', { maxNodes: 6, maxServicesPerNode: 1 });
    hide(node, made);
    net.feed(node, made);
    net.pass(15_000, 50);
    const services = [1, 2].map((port) => ({ service: 's', port, weight: 1 }));
    net.feed(node, [shardOf('fresh', { services })]);
    expect(known(node, made)).toHaveLength(5);
  });

  it('does not request versions that it has just rejected or evicted, but newer ones', () => {
    const made = nodesOf(2, 'made');
    const { net, node } = full(made);
    const { own, heard } = net.impostor(node, 'x');
    const fresh = nodesOf(6, 'fresh');
    const tell = (entries: readonly MeshRecord[]): string[] => {
      heard.length = 0;
      own.send({ type: MessageType.ENTRIES, isLast: true, bitmap: new Uint8Array(32), entries });
      net.pass(100);
      return wanted(heard);
    };
    expect(tell(fresh)).toHaveLength(6);
    own.sendRecords(fresh);
    net.pass(1_000);
    expect(known(node, fresh)).toHaveLength(2);
    expect(tell([...fresh, ...made])).toEqual([]);
    const newer = nodeOf('fresh5', { seq: 2 });
    expect(tell([...fresh, newer])).toEqual([newer.key]);
    net.pass(5 * 60_000, 1_000);
    expect(tell([...fresh, ...made])).toHaveLength(6);
  });
});

describe('a node that was never reachable', () => {
  it('is forgotten after ten minutes, whatever life its record claims', () => {
    const net = new GossipNet();
    const node = net.add('node');
    const [made, there] = [nodesOf(3, 'made'), nodesOf(3, 'there')];
    hide(node, made);
    net.feed(node, [...made, ...there]);
    hide(node, there);
    net.pass(9 * 60_000, 10_000);
    expect(known(node, made)).toHaveLength(3);
    net.pass(3 * 60_000, 10_000);
    expect([known(node, made).length, known(node, there).length]).toEqual([0, 3]);
  });

  it('counts as reached from the moment in which it is reachable', () => {
    const net = new GossipNet();
    const node = net.add('node');
    const [one] = nodesOf(1, 'made');
    hide(node, [one]);
    net.feed(node, [one]);
    node.gossip.onReached(one.nodeId);
    net.pass(30 * 60_000, 10_000);
    expect(known(node, [one])).toHaveLength(1);
  });
});
