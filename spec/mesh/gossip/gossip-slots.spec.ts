import { describe, expect, it } from '@jest/globals';
import { type Message, MessageType } from '../../../lib/wire/messages.js';
import { GossipNet, type NetLink } from '../gossip-net.js';
import { nodeOf } from '../signed-records.js';

const ZEROS = { high: new Uint32Array(256), low: new Uint32Array(256) };

function strangers(count: number, prefix = 'n') {
  return Array.from({ length: count }, (_, n) => nodeOf(`${prefix}${n}`));
}

function typesOf(heard: readonly Message[]): number[] {
  return heard.map(({ type }) => type);
}

/** A node that knows a hundred others, and four neighbours that it was linked to before all others. */
function scene() {
  const net = new GossipNet();
  const node = net.add('node');
  net.feed(node, strangers(100));
  const hogs = Array.from({ length: 4 }, (_, n) => net.impostor(node, `hog ${n}`));
  for (const { own } of hogs) {
    own.tap = () => {};
    own.send({ type: MessageType.DIGEST, ...node.gossip.store.digest, count: 101 });
  }
  net.pass(100);
  const ask = (own: NetLink): void => own.send({ type: MessageType.BUCKETS, ...ZEROS });
  return { net, node, hogs, ask };
}

describe('the places for exchanges', () => {
  it('are not used by peers with equal stores', () => {
    const { net, node, hogs, ask } = scene();
    const { own, heard } = net.impostor(node, 'x');
    for (let round = 0; round < 3; round++) {
      const { high, low } = node.gossip.store.digest;
      for (const hog of hogs) hog.own.send({ type: MessageType.BUCKETS, high: high.slice(), low: low.slice() });
      net.pass(200);
    }
    for (const { link } of hogs) {
      expect(link.sentTypes).toContain(MessageType.ENTRIES);
      expect(node.gossip.isSettled(link)).toBe(true);
    }
    ask(own);
    net.pass(100);
    expect(typesOf(heard)).toContain(MessageType.ENTRIES);
  });

  it('go to the peer that was served longest ago, however often others request one', () => {
    const { net, node, hogs, ask } = scene();
    for (const { own } of hogs) ask(own);
    net.pass(100);
    const { own, heard } = net.impostor(node, 'x');
    ask(own);
    for (let second = 0; second < 12; second++) {
      for (const hog of hogs) ask(hog.own);
      net.pass(1_000, 50);
    }
    expect(typesOf(heard)).toContain(MessageType.ENTRIES);
  });

  it('use up the budget of a peer that requests comparisons without differences', () => {
    const { net, node, hogs } = scene();
    const [{ own, link }] = hogs;
    const { high, low } = node.gossip.store.digest;
    for (let turn = 0; turn < 2_000; turn++) {
      own.send({ type: MessageType.BUCKETS, high, low });
      if (turn % 100 === 0) net.pass(5);
    }
    net.pass(100);
    expect(link.sentTypes.filter((type) => type === MessageType.ENTRIES).length).toBeLessThan(700);
    expect(node.gossip.counters.unanswered).toBeGreaterThan(1_000);
  });

  it('do not hold a new link back without end', () => {
    const net = new GossipNet();
    const node = net.add('node');
    const { link, own } = net.impostor(node, 'x');
    // It is for the node to begin, and it cannot.
    link.isBlocked = true;
    own.send({ type: MessageType.DIGEST, rootHigh: 1, rootLow: 1, count: 1_000 });
    net.pass(9_000, 50);
    expect(link.sentTypes).toEqual([MessageType.DIGEST]);
    net.pass(5_000, 50);
    link.drain();
    net.pass(100);
    expect(link.sentTypes).toContain(MessageType.SYNCED);
    expect(link.sentRecords.map(({ nodeId }) => nodeId)).toEqual([node.id]);
  });
});
