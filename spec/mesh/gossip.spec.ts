import { describe, expect, it } from '@jest/globals';
import { MessageType } from '../../lib/wire/messages.js';
import { GossipNet, type NetNode } from './gossip-net.js';

function expectEqual(nodes: readonly NetNode[]): void {
  expect(new Set(nodes.map((node) => node.root)).size).toBe(1);
}

describe('gossip', () => {
  it('tells two nodes of each other when a link comes up', () => {
    const net = new GossipNet();
    const [a, b] = net.addAll('a', 'b');
    net.link(a, b);
    net.pass(1_000);
    expect(a.linksOf(b)).toEqual([a.id]);
    expect(b.linksOf(a)).toEqual([b.id]);
    expectEqual([a, b]);
    expect(a.synced).toHaveLength(1);
    expect(b.synced).toHaveLength(1);
  });

  it('reaches every node of a line, with services', () => {
    const net = new GossipNet();
    const nodes = net.addAll('a', 'b', 'c', 'd', 'e');
    nodes[0].gossip.bind({ service: 'echo', port: 80, weight: 1 });
    for (let index = 1; index < nodes.length; index++) net.link(nodes[index - 1], nodes[index]);
    net.pass(3_000);
    expectEqual(nodes);
    expect(nodes[4].gossip.store.size).toBe(6);
    expect(nodes[4].servicesOf(nodes[0])).toEqual(['echo']);
    nodes[0].gossip.unbind('echo', 80);
    net.pass(1_500);
    expect(nodes[4].servicesOf(nodes[0])).toEqual([]);
    expectEqual(nodes);
    expect(MessageType.RECORDS).toBe(6);
  });
});
