// Messages and calls between whole nodes.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode } from '../../lib/index.js';
import { apiClient, exportService, type Message, messages, serveApi } from '../../lib/messages/index.js';
import { type Testnet, testnet } from '../support/testnet.js';

let net: Testnet;

beforeEach(async () => {
  net = await testnet('memory');
});

afterEach(() => net.close());

describe('a message', () => {
  it('is handled by the service that it names, and resolves with where that was', async () => {
    const got: Message[] = [];
    messages(net.listener).onMessage('orders', (message) => {
      got.push(message);
    });
    const receipt = await messages(net.joiner).send('orders', { id: 7 });
    expect(receipt).toEqual({ nodeId: net.listener.id, id: got[0].id });
    expect(got.map(({ data, from, service }) => ({ data, from, service }))).toEqual([
      { data: { id: 7 }, from: net.joiner.id, service: 'orders' },
    ]);
  });

  it('arrives as what it was', async () => {
    const values = [undefined, null, 'text', '', 7, [1, { a: null }], Buffer.from('bytes'), new Uint8Array(0), 'ü€😀'];
    const got: unknown[] = [];
    messages(net.listener).onMessage('orders', ({ data }) => {
      got.push(data);
    });
    for (const value of values) await messages(net.joiner).send('orders', value);
    expect(got.map((value) => (value instanceof Uint8Array ? [...value] : value))).toEqual(
      values.map((value) => (value instanceof Uint8Array ? [...value] : value)),
    );
  });

  it('waits until somebody offers the service', async () => {
    const sent = messages(net.joiner).send('orders', 1);
    messages(net.listener).onMessage('orders', () => {});
    expect((await sent).nodeId).toBe(net.listener.id);
  });

  it('is not handled when nobody offers the service in time', async () => {
    const error = await messages(net.joiner)
      .send('nobody', 1, { timeoutMs: 20 })
      .catch((reason) => reason);
    expect(error).toMatchObject({
      code: 'ERR_STARLANE_NOT_HANDLED',
      outcome: 'not-handled',
      cause: { code: 'ETIMEDOUT' },
    });
  });

  it('has failed when the handler throws, with code and message of its error', async () => {
    messages(net.listener).onMessage('orders', () => {
      throw Object.assign(new Error('no such order'), { code: 'ENOENT' });
    });
    const error = await messages(net.joiner)
      .send('orders', 1)
      .catch((reason) => reason);
    expect(error).toMatchObject({
      code: 'ERR_STARLANE_HANDLER_FAILED',
      outcome: 'handled',
      cause: { code: 'ENOENT', message: 'no such order' },
    });
  });

  it('reaches a node by its id, and the node itself', async () => {
    messages(net.listener).onMessage(({ data }) => {
      expect(data).toBe('hello');
    });
    await messages(net.joiner).send(`@${net.listener.id}`, 'hello');
    await messages(net.listener).send(`@${net.listener.id}`, 'hello');
  });

  it('runs after the one before it', async () => {
    const seen: string[] = [];
    messages(net.listener).onMessage('orders', async ({ data }) => {
      seen.push(`begin ${data}`);
      await undefined;
      seen.push(`end ${data}`);
    });
    const post = messages(net.joiner);
    await Promise.all([post.send('orders', 1), post.send('orders', 2), post.send('orders', 3)]);
    expect(seen).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2', 'begin 3', 'end 3']);
  });
});

it('what arrives is counted by what becomes of it', async () => {
  const inbox = messages(net.listener).inbox('orders', { maxMessageBytes: 10 });
  inbox.onMessage(({ data }) => {
    if (data === 'no') throw new Error('no');
  });
  const post = messages(net.joiner);
  const ends = [
    post.send('orders', 'yes'),
    post.send('orders', 'no'),
    post.send('orders', 'far too long for it'),
    post.call('orders', 7),
  ];
  await Promise.allSettled(ends);
  expect(messages(net.listener).stats().received).toEqual({ total: 4, handled: 1, failed: 1, refused: 2, running: 0 });
});

describe('a call', () => {
  it('resolves with what the handler returns', async () => {
    const inbox = messages(net.listener).inbox('hello');
    inbox.onCommand(1, (input: { name: string }) => ({ greeting: `hello ${input.name}` }));
    inbox.onCommand(2, async (_input, call) => call.from);
    const post = messages(net.joiner);
    expect(await post.call('hello', 1, { name: 'Ada' })).toEqual({ greeting: 'hello Ada' });
    expect(await post.call('hello', 2)).toBe(net.joiner.id);
  });

  it('knows a missing handler from a handler that is late', async () => {
    const inbox = messages(net.listener).inbox('hello');
    inbox.onCommand(1, () => new Promise(() => {}));
    const post = messages(net.joiner);
    const missing = await post.call('hello', 2).catch((reason) => reason);
    expect(missing).toMatchObject({ code: 'ERR_STARLANE_NO_HANDLER', outcome: 'not-handled' });
    expect(missing).toMatchObject({ message: expect.stringMatching(/command \d+ of /) });
    const late = await post.call('hello', 1, 1, { timeoutMs: 500 }).catch((reason) => reason);
    expect(late).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' });
  });

  it('runs beside others', async () => {
    const inbox = messages(net.listener).inbox('hello');
    const running: Array<() => void> = [];
    inbox.onCommand(1, () => new Promise<void>((resolve) => running.push(resolve)).then(() => running.length));
    inbox.onCommand(2, () => {
      for (const finish of running) finish();
    });
    const post = messages(net.joiner);
    const calls = [post.call('hello', 1), post.call('hello', 1), post.call('hello', 2)];
    expect(await Promise.all(calls)).toEqual([2, 2, undefined]);
  });
});

describe('a loop over an inbox', () => {
  it('handles a message when it asks for the next one', async () => {
    const inbox = messages(net.listener).inbox('orders');
    const post = messages(net.joiner);
    const log: string[] = [];
    const sends = [1, 2, 3].map((data) => post.send('orders', data).then(() => log.push(`handled ${data}`)));
    for await (const { data } of inbox) {
      log.push(`took ${data}`);
      if (data === 2) break;
    }
    await Promise.all(sends.slice(0, 2));
    expect(log).toEqual(['took 1', 'took 2', 'handled 1', 'handled 2'].sort((a, b) => log.indexOf(a) - log.indexOf(b)));
    for await (const { data } of inbox) {
      expect(data).toBe(3);
      break;
    }
    await sends[2];
  });
});

describe('a loop over an inbox that is ended from elsewhere', () => {
  it('takes no message that comes later', async () => {
    const inbox = messages(net.listener).inbox('orders');
    const loop = inbox[Symbol.asyncIterator]();
    const waiting = loop.next();
    await loop.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    const sent = messages(net.joiner).send('orders', 1);
    const other = inbox[Symbol.asyncIterator]();
    expect((await other.next()).value?.data).toBe(1);
    await other.return?.();
    await sent;
  });

  it('gives what it is asked for at once one after the other', async () => {
    const loop = messages(net.listener).inbox('orders')[Symbol.asyncIterator]();
    const results = [loop.next(), loop.next(), loop.next()];
    const post = messages(net.joiner);
    const sends = [1, 2, 3].map((data) => post.send('orders', data));
    expect((await Promise.all(results)).map(({ value }) => value.data)).toEqual([1, 2, 3]);
    await loop.return?.();
    await Promise.all(sends);
  });
});

it('a node has one object for its messages', () => {
  const node = createNode();
  expect(messages(node)).toBe(messages(node));
  return node.close();
});

it.each([[undefined], [null], [{}], ['orders']])('%j is no node', (value) => {
  for (const call of [messages, serveApi, apiClient] as Array<(...args: unknown[]) => unknown>) {
    expect(() => call(value, 'orders')).toThrow(
      expect.objectContaining({
        code: 'ERR_STARLANE_ARGUMENT',
        message: expect.stringContaining('first argument must be a node'),
      }),
    );
  }
  expect(() => exportService(value as never)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
});
