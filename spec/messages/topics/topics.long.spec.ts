// Publish and subscribe between nodes of one process, over links and over the loopback.

import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, describe, expect, it } from '@jest/globals';
import { starlaneError } from '../../../lib/errors.js';
import { createNode } from '../../../lib/index.js';
import type { TopicMessage } from '../../../lib/messages/index.js';
import { topics } from '../../../lib/messages/index.js';
import { known, Tally, TopicNet } from '../../support/topic-net.js';

let net = new TopicNet();
afterEach(() => net.close());

describe('a topic', () => {
  it('brings each kind of data as it was, with headers, topic, sequence and publisher', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const tally = new Tally<TopicMessage>();
    one.bus.subscribe('data.*', tally.add);
    await known(other, 'data.*');
    const values = [
      Buffer.from([1, 2, 3]),
      'text, täxt',
      '',
      { a: [1, null] },
      null,
      7,
      undefined,
      'x'.repeat(100_000),
    ];
    for (const [index, value] of values.entries())
      other.bus.publish(`data.${index}`, value, { headers: { n: `${index}` } });
    await other.bus.flush();
    expect(tally.values.map(({ data }) => data)).toEqual(values);
    expect(tally.values.map(({ topic }) => topic)).toEqual(values.map((_, index) => `data.${index}`));
    expect(tally.values.map(({ headers }) => headers)).toEqual(values.map((_, index) => ({ n: `${index}` })));
    expect(tally.values.map(({ sequence }) => sequence)).toEqual(values.map((_, index) => index + 1));
    expect(new Set(tally.values.map(({ from }) => from))).toEqual(new Set([other.node.id]));
    expect(tally.values[0].expectsReply).toBe(false);
    expect(tally.values[0].respond('x')).toBe(false);
  });

  it('reaches each pattern that fits, at each node, in order and once, and no other', async () => {
    net = await TopicNet.of(3);
    const [publisher, ...others] = net.members;
    const seen = new Map<string, number[]>();
    const patterns = ['a.b', 'a.*', 'a.>', '>', 'a.c', '*'];
    for (const [index, { bus }] of [...others, publisher].entries()) {
      for (const pattern of patterns) {
        const list: number[] = [];
        seen.set(`${index} ${pattern}`, list);
        bus.subscribe(pattern, ({ data }) => {
          list.push(data as number);
        });
      }
    }
    for (const pattern of patterns) await known(publisher, pattern, 2);
    const numbers = Array.from({ length: 500 }, (_, index) => index);
    for (const number of numbers) publisher.bus.publish('a.b', number);
    await publisher.bus.flush();
    for (const [key, list] of seen) {
      const isWanted = !key.endsWith('a.c') && !key.endsWith(' *');
      expect([key, list]).toEqual([key, isWanted ? numbers : []]);
    }
  });

  it('reaches subscribers that are not lost when lost ones are not looked for', async () => {
    net = await TopicNet.of(2, {}, { resumeMs: 0 });
    const [one, other] = net.members;
    const tally = new Tally<TopicMessage>();
    one.bus.subscribe('a', tally.add);
    await known(other, 'a');
    other.bus.publish('a', 1);
    await other.bus.flush();
    expect(tally.values.map(({ data }) => data)).toEqual([1]);
  });

  it('takes nothing that is no topic, and nothing too long', async () => {
    net = await TopicNet.of(1, {}, { maxMessageBytes: 2_000 });
    const [{ bus, node }] = net.members;
    expect(topics(node)).toBe(bus);
    expect(() => bus.publish('a.*', 1)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
    expect(() => bus.subscribe('a..b')).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT' }));
    expect(() => bus.publish('a', Buffer.alloc(2_001))).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_MESSAGE_SIZE' }),
    );
    for (const options of [{ queue: 'a b' }, { whenFull: 'no' }, { concurrency: 0 }, { x: 1 }, { redeliver: true }]) {
      expect(() => bus.subscribe('a', options as never)).toThrow(
        expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }),
      );
    }
    expect(bus.publish('nobody', 1)).toBe(true);
  });

  it('needs a node', () => {
    for (const wrong of [undefined, {}, 'node']) {
      expect(() => topics(wrong as never)).toThrow(
        expect.objectContaining({
          code: 'ERR_STARLANE_ARGUMENT',
          message: expect.stringContaining('topics(node): the first argument must be a node'),
        }),
      );
    }
  });

  it('runs a handler in the async context of its subscription', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const storage = new AsyncLocalStorage<string>();
    const seen = new Tally<unknown>();
    storage.run('subscriber', () => one.bus.subscribe('a', () => seen.add(storage.getStore())));
    await known(other, 'a');
    for (const { bus } of [one, other]) {
      storage.run('publisher', () => bus.publish('a', 1));
      await bus.flush();
    }
    expect(seen.values).toEqual(['subscriber', 'subscriber']);
  });

  it('has no subscription of a node that may not offer it', async () => {
    const node = createNode();
    const bus = topics(node);
    node.bind = () => {
      throw starlaneError('ERR_STARLANE_RIGHT');
    };
    const seen: unknown[] = [];
    expect(() => bus.subscribe('a', ({ data }) => seen.push(data))).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_RIGHT' }),
    );
    bus.publish('a', 1);
    await bus.flush();
    expect(seen).toEqual([]);
    bus.close();
  });

  it('can be drained in the middle of an iteration, which handles its message first', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const subscription = one.bus.subscribe('numbers');
    await known(other, 'numbers');
    other.bus.publish('numbers', 1);
    let isDrained = false;
    let drained = Promise.resolve();
    for await (const { data } of subscription) {
      expect(data).toBe(1);
      expect(subscription.pending).toBe(1);
      drained = subscription.drain().then(() => {
        isDrained = true;
      });
      await known(other, 'numbers', 1);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(isDrained).toBe(false);
    }
    await drained;
    expect(subscription).toMatchObject({ handled: 1, pending: 0, closed: true });
    await other.bus.flush();
  });

  it('can be iterated, and ends with the loop', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const subscription = one.bus.subscribe('numbers');
    await known(other, 'numbers');
    for (let number = 0; number < 20; number++) other.bus.publish('numbers', number);
    const seen: unknown[] = [];
    for await (const { data } of subscription) {
      seen.push(data);
      if (seen.length === 20) break;
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(subscription.closed).toBe(true);
    await known(other, 'numbers', 0);
  });

  it('stays in its env', async () => {
    const hub = createNode({ env: ['blue', 'green'] });
    const { address } = await hub.listenAndServe('tcp://127.0.0.1:0');
    const blue = createNode({ env: 'blue' });
    const green = createNode({ env: 'green' });
    try {
      await Promise.all([blue.join(address), green.join(address)]);
      const seen: string[] = [];
      topics(blue).subscribe('news', ({ data }) => {
        seen.push(`blue ${data}`);
      });
      topics(green).subscribe('news', ({ data }) => {
        seen.push(`green ${data}`);
      });
      const both = { node: hub, bus: topics(hub) };
      await known(both, 'news', 2);
      await known({ node: green, bus: topics(green) }, 'news', 0);
      topics(green).publish('news', 'of green');
      await topics(green).flush();
      both.bus.publish('news', 'of both');
      await both.bus.flush();
      expect(seen.sort()).toEqual(['blue of both', 'green of both', 'green of green']);
    } finally {
      await Promise.all([hub.close(), blue.close(), green.close()]);
    }
  });

  it('does not reach a subscription whose rules do not allow the publisher', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const seen: unknown[] = [];
    one.bus.subscribe('secret', ({ data }) => seen.push(data), { allow: () => false });
    await known(other, 'secret');
    const warned = new Promise((resolve) => other.bus.once('warning', resolve));
    other.bus.publish('secret', 1);
    expect(await warned).toMatchObject({ code: 'EACCES' });
    await other.bus.flush();
    expect(seen).toEqual([]);
    one.bus.publish('secret', 'of its own');
    await one.bus.flush();
    expect(seen).toEqual(['of its own']);
  });

  it('gets nothing of its own node without the loopback', async () => {
    net = await TopicNet.of(1, { loopback: false });
    const [{ bus }] = net.members;
    const seen: unknown[] = [];
    bus.subscribe('a', ({ data }) => seen.push(data));
    bus.publish('a', 1);
    await bus.flush();
    expect(seen).toEqual([]);
  });

  it('runs as many handlers at a time as it may', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    let running = 0;
    let most = 0;
    const handler = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    one.bus.subscribe('serial', handler);
    await known(other, 'serial');
    for (let number = 0; number < 10; number++) other.bus.publish('serial', number);
    await other.bus.flush();
    expect(most).toBe(1);
    one.bus.subscribe('parallel', handler, { concurrency: 4 });
    await known(other, 'parallel');
    for (let number = 0; number < 50; number++) other.bus.publish('parallel', number);
    await other.bus.flush();
    expect(most).toBe(4);
  });

  it('reports a handler that fails, and goes on', async () => {
    net = await TopicNet.of(1);
    const [{ bus }] = net.members;
    const subscription = bus.subscribe('a', ({ data }) => {
      if (data === 1) throw new Error('one');
      return data === 2 ? Promise.reject(new Error('two')) : undefined;
    });
    const errors: unknown[] = [];
    subscription.on('error', (error) => errors.push((error as Error).message));
    for (const number of [1, 2, 3]) bus.publish('a', number);
    await bus.flush();
    expect(errors).toEqual(['one', 'two']);
    expect(subscription.handled).toBe(3);
  });
});

describe('a queue group', () => {
  it('gives each message to one member, of all nodes, evenly', async () => {
    net = await TopicNet.of(3);
    const [publisher, ...others] = net.members;
    const counts = [0, 0, 0];
    const seen: number[] = [];
    for (const [index, { bus }] of [...others, publisher].entries()) {
      bus.subscribe(index === 1 ? 'work.>' : 'work.*', { queue: 'workers' }, ({ data }) => {
        counts[index]++;
        seen.push(data as number);
      });
    }
    const plain: unknown[] = [];
    others[0].bus.subscribe('work.*', ({ data }) => {
      plain.push(data);
    });
    await known(publisher, 'work.*');
    await known(publisher, 'work.>');
    const numbers = Array.from({ length: 600 }, (_, index) => index);
    for (const number of numbers) {
      publisher.bus.publish('work.x', number);
      if (number % 50 === 0) await publisher.bus.flush();
    }
    await publisher.bus.flush();
    expect(seen.sort((one, other) => one - other)).toEqual(numbers);
    expect(plain).toEqual(numbers);
    for (const count of counts) expect(count).toBeGreaterThan(100);
  });

  it('goes on with the members that are left', async () => {
    net = await TopicNet.of(3);
    const [publisher, one, other] = net.members;
    const seen: unknown[] = [];
    const leaving = one.bus.subscribe('work', { queue: 'q' }, ({ data }) => seen.push(data));
    other.bus.subscribe('work', { queue: 'q' }, ({ data }) => seen.push(data));
    await known(publisher, 'work', 2);
    for (let number = 0; number < 100; number++) publisher.bus.publish('work', number);
    const drained = leaving.drain();
    for (let number = 100; number < 200; number++) publisher.bus.publish('work', number);
    await drained;
    for (let number = 200; number < 300; number++) publisher.bus.publish('work', number);
    await publisher.bus.flush();
    expect(seen.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, index) => index));
  });
});

describe('back-pressure', () => {
  it('makes publish return false, and drained() resolve when the subscriber has caught up', async () => {
    net = await TopicNet.of(2, {}, { highWaterMark: 20_000 });
    const [one, other] = net.members;
    const holds: Array<() => void> = [];
    let handled = 0;
    one.bus.subscribe('slow', { maxPending: 4 }, async () => {
      if (handled === 0) await new Promise<void>((resolve) => holds.push(resolve));
      handled++;
    });
    await known(other, 'slow');
    let published = 1;
    while (other.bus.publish('slow', 'x'.repeat(1_000))) published++;
    expect(published).toBeLessThan(30);
    let isDrained = false;
    const drained = other.bus.drained().then(() => {
      isDrained = true;
    });
    while (holds.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(isDrained).toBe(false);
    holds[0]();
    await drained;
    await other.bus.flush();
    expect(handled).toBe(published);
  });

  it.each(['drop-newest', 'drop-oldest'] as const)('%s at the publisher is reported at both ends', async (whenFull) => {
    net = await TopicNet.of(2, {}, { maxBufferedBytes: 400_000, whenFull });
    const [one, other] = net.members;
    const seen: number[] = [];
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const subscription = one.bus.subscribe('slow', { maxPending: 2 }, async ({ data }) => {
      await gate;
      seen.push((data as { n: number }).n);
    });
    await known(other, 'slow');
    const slow = new Promise((resolve) => other.bus.once('slow', resolve));
    const slowThere = new Promise((resolve) => subscription.once('slow', resolve));
    for (let n = 0; n < 3_000; n++) {
      other.bus.publish('slow', { n, pad: 'x'.repeat(500) });
      if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await slow).toMatchObject({
      code: 'ERR_STARLANE_SLOW_SUBSCRIBER',
      subscriber: one.node.id,
      topic: 'slow',
      count: expect.any(Number),
    });
    release();
    await other.bus.flush();
    other.bus.publish('slow', { n: 3_000 });
    await other.bus.flush();
    expect(await slowThere).toMatchObject({ code: 'ERR_STARLANE_SLOW_SUBSCRIBER', topic: 'slow' });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.length + subscription.lost).toBe(3_001);
    expect(subscription.lost).toBeGreaterThan(0);
    if (whenFull === 'drop-oldest') expect(seen.at(-2)).toBe(2_999);
  });

  it.each(['drop-newest', 'drop-oldest'] as const)(
    '%s at the subscription keeps the publisher going',
    async (whenFull) => {
      net = await TopicNet.of(2);
      const [one, other] = net.members;
      for (const publisher of [one, other]) {
        let release = (): void => {};
        const gate = new Promise<void>((resolve) => {
          release = resolve;
        });
        const seen: unknown[] = [];
        const subscription = one.bus.subscribe('slow', { maxPending: 3, whenFull }, async ({ data }) => {
          await gate;
          seen.push(data);
        });
        const slow = new Promise((resolve) => subscription.once('slow', resolve));
        if (publisher === other) await known(other, 'slow');
        for (let number = 0; number < 100; number++) publisher.bus.publish('slow', number);
        expect(await slow).toMatchObject({ code: 'ERR_STARLANE_SLOW_SUBSCRIBER' });
        while (subscription.lost < 96) await new Promise((resolve) => setImmediate(resolve));
        release();
        await publisher.bus.flush();
        expect(seen).toEqual(whenFull === 'drop-newest' ? [0, 1, 2, 3] : [0, 97, 98, 99]);
        expect(subscription.lost).toBe(96);
        await subscription.drain();
      }
    },
  );

  it('bounds a flush by its timeout and its signal', async () => {
    net = await TopicNet.of(1);
    const [{ bus }] = net.members;
    const subscription = bus.subscribe('never', () => new Promise(() => {}));
    bus.publish('never', 1);
    await expect(bus.flush({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const reason = new Error('enough');
    await expect(bus.flush({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(subscription.drain({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(subscription.closed).toBe(true);
  });
});

describe('a link that breaks', () => {
  it('costs no message, and doubles none', async () => {
    net = await TopicNet.of(3);
    const [hub, publisher, subscriber] = net.members;
    const tally = new Tally<unknown>();
    subscriber.bus.subscribe('a', ({ data }) => tally.add(data));
    await known(publisher, 'a');
    const total = 6_000;
    for (let number = 0; number < total; number++) {
      publisher.bus.publish('a', number);
      if (number % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (number % 2_000 === 1_000) cut(hub.node);
    }
    await publisher.bus.flush({ timeoutMs: 20_000 });
    expect(await tally.reached(total)).toEqual(Array.from({ length: total }, (_, index) => index));
  });

  it('keeps a request whose answer was under way', async () => {
    net = await TopicNet.of(3);
    const [hub, caller, responder] = net.members;
    let runs = 0;
    responder.bus.subscribe('slow', async () => {
      runs++;
      cut(hub.node);
      await known(responder, 'other', 0);
      return 'done';
    });
    await known(caller, 'slow');
    expect(await caller.bus.request('slow', 1, { timeoutMs: 20_000 })).toBe('done');
    expect(runs).toBe(1);
  });
});

/** Destroys all links of a node, as a dead network does. */
function cut(node: { readonly id: string }): void {
  const { linkSet } = node as unknown as { linkSet: { values(): Iterable<{ destroy(error: Error): void }> } };
  for (const link of [...linkSet.values()]) link.destroy(new Error('cut'));
}

describe('interest that comes and goes', () => {
  it('loses nothing between two subscriptions that overlap, and survives quick changes', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    let count = 0;
    const seen = new Set<unknown>();
    const handler = ({ data }: TopicMessage): void => {
      seen.add(data);
    };
    let current = one.bus.subscribe('a', handler);
    await known(other, 'a');
    for (let round = 0; round < 12; round++) {
      for (let number = 0; number < 20; number++) other.bus.publish('a', count++);
      const next = one.bus.subscribe('a', handler, round % 2 === 0 ? { queue: `q${round}` } : {});
      if (round % 2 === 1) {
        await other.bus.flush();
        current.close();
      } else await next.drain();
      if (round % 2 === 1) current = next;
    }
    await other.bus.flush();
    expect(seen.size).toBe(count);
    current.close();
    expect(other.bus.publish('a', 'late')).toBe(true);
    await other.bus.flush();
    expect(seen.has('late')).toBe(false);
  });

  it('ends with close(): no service, no circuit, and an error for what comes later', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    const subscription = one.bus.subscribe('a', () => {});
    await known(other, 'a');
    other.bus.publish('a', 1);
    await other.bus.flush();
    const closed = new Promise((resolve) => subscription.once('close', () => resolve(undefined)));
    one.bus.close();
    await closed;
    await known(other, 'a', 0);
    expect(() => one.bus.publish('a', 1)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_CLOSED' }));
    expect(() => one.bus.subscribe('a')).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_CLOSED' }));
    await expect(one.bus.request('a')).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    expect(topics(one.node)).not.toBe(one.bus);
  });

  it('lets a node drain: what was sent is handled, and its circuits end', async () => {
    net = await TopicNet.of(2);
    const [one, other] = net.members;
    let handled = 0;
    one.bus.subscribe('a', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      handled++;
    });
    await known(other, 'a');
    other.bus.publish('a', 0);
    await other.bus.flush();
    for (let number = 1; number < 100; number++) other.bus.publish('a', number);
    await one.node.drain();
    await other.bus.flush();
    expect(handled).toBe(100);
  });
});
