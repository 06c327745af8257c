// Topics of a network that are published in another one, one way.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node } from '../../../lib/index.js';
import {
  type ExportTopicOptions,
  exportTopic,
  type TopicExport,
  type TopicMessage,
  topics,
} from '../../../lib/messages/index.js';
import { RelayNet } from '../../support/relay-net.js';
import { knows } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

let a: RelayNet;
let b: RelayNet;
let made: TopicExport[];
let publisher: Node;
let reader: Node;

beforeEach(async () => {
  made = [];
  [a, b] = await Promise.all([RelayNet.line(1), RelayNet.line(1)]);
  await Promise.all([a.settled(), b.settled()]);
  publisher = a.first;
  reader = b.last;
});

afterEach(async () => {
  for (const one of made) one.end();
  await Promise.all([a.close(), b.close()]);
});

function start(options: Partial<ExportTopicOptions> = {}): TopicExport {
  const one = exportTopic({ from: a.last, to: b.first, topic: 'orders.>', ...options });
  made.push(one);
  return one;
}

/** Subscribes, and resolves when the node that publishes there knows it. */
async function subscribe(node: Node, pattern: string, at: Node): Promise<TopicMessage[]> {
  const got: TopicMessage[] = [];
  topics(node).subscribe(pattern, (message) => {
    got.push(message);
  });
  await knows(at, `topic/${pattern}`);
  return got;
}

describe('an exported topic', () => {
  it('is published in the other network, in order, with its headers, and no other topic with it', async () => {
    const one = start();
    await knows(publisher, 'topic/orders.>');
    const [orders, all] = [await subscribe(reader, 'orders.*', b.first), await subscribe(reader, '>', b.first)];
    for (let number = 0; number < 200; number++)
      topics(publisher).publish('orders.new', { number }, { headers: { by: 'a' } });
    topics(publisher).publish('secrets.new', 'hidden');
    await turnsUntil('all have come', () => orders.length === 200 && all.length >= 200);
    expect(orders.map(({ data }) => (data as { number: number }).number)).toEqual(
      Array.from({ length: 200 }, (_, n) => n),
    );
    expect(orders[0]).toMatchObject({
      topic: 'orders.new',
      from: b.first.id,
      headers: { by: 'a', 'starlane.export': '1' },
    });
    await topics(b.first).flush();
    expect(all).toHaveLength(200);
    expect(one.stats()).toEqual({ passed: 200, returned: 0, failed: 0 });
    // Nothing of a is seen in b.
    const names = reader.services().map(({ service }) => service);
    expect(new Set(names)).toEqual(new Set(['topic/orders.*', 'topic/>']));
  });

  it('goes one way: what is published in the other network stays there', async () => {
    start();
    const got = await subscribe(publisher, 'orders.>', a.last);
    await knows(publisher, 'topic/orders.>');
    topics(reader).publish('orders.new', 'from b');
    topics(publisher).publish('orders.new', 'from a');
    await turnsUntil('one has come', () => got.length > 0);
    await Promise.all([topics(reader).flush(), topics(publisher).flush()]);
    expect(got.map(({ data }) => data)).toEqual(['from a']);
  });

  it('makes no circle with an export in the other direction', async () => {
    const there = start();
    const back = start({ from: b.nodes[1] as Node, to: a.nodes[1] as Node });
    const [inA, inB] = [
      await subscribe(publisher, 'orders.>', a.nodes[1] as Node),
      await subscribe(reader, 'orders.>', b.first),
    ];
    await Promise.all([
      knows(publisher, 'topic/orders.>'),
      knows(reader, 'topic/orders.>'),
      knows(b.first, 'topic/orders.>'),
    ]);
    await turnsUntil('the bridges are known', () => publisher.serviceMap().get('topic/orders.>').length === 2);
    await turnsUntil('the bridges are known', () => b.first.serviceMap().get('topic/orders.>').length === 2);
    topics(publisher).publish('orders.new', 'once');
    await turnsUntil('it has come back', () => back.stats().returned === 1 && inB.length === 1);
    await Promise.all([topics(b.first).flush(), topics(publisher).flush()]);
    expect([inA, inB].map((got) => got.map(({ data }) => data))).toEqual([['once'], ['once']]);
    expect(there.stats()).toEqual({ passed: 1, returned: 0, failed: 0 });
    expect(back.stats()).toEqual({ passed: 0, returned: 1, failed: 0 });
  });

  it('comes once when two bridges export it, and goes on when one ends', async () => {
    const [first, second] = [start(), start({ from: a.nodes[1] as Node, to: b.nodes[1] as Node })];
    await turnsUntil('both are known', () => publisher.serviceMap().get('topic/orders.>').length === 2);
    const got = await subscribe(reader, 'orders.>', b.first);
    await knows(b.nodes[1] as Node, 'topic/orders.>');
    for (let number = 0; number < 100; number++) topics(publisher).publish('orders.new', number);
    await topics(publisher).flush();
    await Promise.all([topics(b.first).flush(), topics(b.nodes[1] as Node).flush()]);
    await turnsUntil('all have come', () => got.length >= 100);
    expect(got.map(({ data }) => data as number).sort((x, y) => x - y)).toEqual(
      Array.from({ length: 100 }, (_, n) => n),
    );
    expect(first.stats().passed + second.stats().passed).toBe(100);
    await first.close();
    await turnsUntil('one is left', () => publisher.serviceMap().get('topic/orders.>').length === 1);
    const before = second.stats().passed;
    for (let number = 0; number < 20; number++) topics(publisher).publish('orders.new', 'later');
    await turnsUntil('all have come', () => got.length >= 120);
    expect(second.stats().passed).toBe(before + 20);
  });

  it('passes requests on, and the replies back', async () => {
    start({ topic: 'price' });
    topics(reader).subscribe('price', ({ data }) => `${data} costs 7`);
    await Promise.all([knows(publisher, 'topic/price'), knows(b.first, 'topic/price')]);
    expect(await topics(publisher).request('price', 'tea')).toBe('tea costs 7');
  });

  it('reports the outcome in the other network to the requester', async () => {
    const one = start({ topic: 'price' });
    await knows(publisher, 'topic/price');
    const request = (timeoutMs?: number) => topics(publisher).request('price', 'tea', { timeoutMs });
    await expect(request()).rejects.toMatchObject({ code: 'ERR_STARLANE_NOT_HANDLED', outcome: 'not-handled' });
    let isHanging = false;
    topics(reader).subscribe('price', () => {
      if (isHanging) return new Promise(() => {});
      throw Object.assign(new Error('no tea'), { code: 'NO_TEA' });
    });
    await knows(b.first, 'topic/price');
    await expect(request()).rejects.toMatchObject({
      code: 'ERR_STARLANE_HANDLER_FAILED',
      outcome: 'handled',
      cause: { code: 'NO_TEA', message: 'no tea' },
    });
    isHanging = true;
    await expect(request(300)).rejects.toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' });
    await turnsUntil('it has ended there', () => one.stats().failed === 3);
    expect(one.stats()).toEqual({ passed: 0, returned: 0, failed: 3 });
  });

  it('leaves no listener at its nodes', async () => {
    const counts = () => [a.last, b.first].map((node) => node.listenerCount('close'));
    const before = counts();
    const exports = Array.from({ length: 12 }, (_, index) => start({ topic: `topic${index}` }));
    expect(counts()).toEqual(before);
    await Promise.all(exports.map((one) => one.close()));
  });

  it.each([
    ['unknown option', { topics: 'x' }],
    ['no pattern', { topic: 'a..b' }],
    ['queue', { group: 'a.b' }],
    ['to: ', { to: undefined }],
  ])('refuses wrong options: %s', (message, options) => {
    expect(() => start(options as never)).toThrow(message);
  });
});
