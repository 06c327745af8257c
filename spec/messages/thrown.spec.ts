// What code of the user throws, and streams that fail before anybody reads them: none of it may end a process, or keep a sender waiting.

import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { apiClient, defineApi, messages, serveApi, stream } from '../../lib/messages/index.js';
import { type Testnet, testnet } from '../support/testnet.js';

let net: Testnet;

beforeEach(async () => {
  net = await testnet('memory', { secret: '0123456789abcdef' });
});
afterEach(() => net.close());

const UNSPEAKABLE: readonly unknown[] = [
  Object.create(null),
  Object.assign(new Error('x'), { message: 7 }),
  Object.assign(new Error('x'), { message: Object.create(null) }),
  Object.defineProperty(new Error('x'), 'code', {
    get() {
      throw new Error('no');
    },
  }),
  Symbol('thrown'),
  null,
  undefined,
];

async function failureOf(promise: Promise<unknown>): Promise<{ code: string; outcome: string }> {
  try {
    await promise;
  } catch (error) {
    const { code, outcome } = error as { code: string; outcome: string };
    return { code, outcome };
  }
  throw new Error('it has not failed');
}

const FAILED = { code: 'ERR_STARLANE_HANDLER_FAILED', outcome: 'handled' };

describe('a handler that throws what has no words', () => {
  it('has failed, and the next message is handled', async () => {
    const inbox = messages(net.listener).inbox('orders');
    inbox.onMessage(({ data }) => {
      const { at, later } = data as { at: number; later: boolean };
      if (at < 0) return undefined;
      if (later) return Promise.reject(UNSPEAKABLE[at]);
      throw UNSPEAKABLE[at];
    });
    const post = messages(net.joiner);
    for (const later of [false, true]) {
      for (const at of UNSPEAKABLE.keys()) expect(await failureOf(post.send('orders', { at, later }))).toEqual(FAILED);
    }
    await post.send('orders', { at: -1 });
  });

  it('has failed in a streaming call as well', async () => {
    const api = defineApi({
      name: 'streams',
      version: '1',
      commands: {
        fail: {
          number: 1,
          output: stream(),
          // biome-ignore lint/correctness/useYield: it fails before.
          handler: async function* (at: number) {
            throw UNSPEAKABLE[at];
          },
        },
      },
    });
    serveApi(net.listener, api);
    const client = apiClient(net.joiner, api);
    for (const at of UNSPEAKABLE.keys()) {
      expect(await failureOf(client.fail(at)[Symbol.asyncIterator]().next())).toEqual(FAILED);
    }
  });
});

describe('a stream that fails before anybody reads it', () => {
  function broken(): Readable {
    const source = new Readable({ read: () => {} });
    source.destroy(new Error('no such file'));
    return source;
  }

  it('fails as a message', async () => {
    messages(net.listener).onMessage('orders', ({ data }) => (data as Readable).toArray());
    const failed = await failureOf(messages(net.joiner).send('orders', broken()));
    expect(['handled', 'not-handled']).toContain(failed.outcome);
  });

  it('breaks off as an answer', async () => {
    messages(net.listener)
      .inbox('orders')
      .onCommand(1, () => broken());
    const answer = (await messages(net.joiner).call('orders', 1)) as Readable;
    await expect(answer.toArray()).rejects.toThrow();
  });
});

describe('a stream that nobody reads', () => {
  it('is destroyed when its message is over', async () => {
    const post = messages(net.joiner);
    const source = new Readable({ read: () => {} });
    await expect(post.send('nobody', source, { timeoutMs: 10 })).rejects.toMatchObject({ outcome: 'not-handled' });
    expect(source.destroyed).toBe(true);
    const other = new Readable({ read: () => {} });
    await expect(post.send('nobody', other, { signal: AbortSignal.abort() })).rejects.toThrow();
    expect(other.destroyed).toBe(true);
  });

  it('is destroyed when the reader of an answer has left', async () => {
    const source = new Readable({ read: () => {} });
    const closed = new Promise((resolve) => source.once('close', resolve));
    messages(net.listener)
      .inbox('orders')
      .onCommand(1, () => source);
    const answer = (await messages(net.joiner).call('orders', 1)) as Readable;
    answer.destroy();
    await closed;
  });
});

describe('bytes that change after they were sent', () => {
  it('arrive as they were, and break nothing else', async () => {
    const got: unknown[] = [];
    messages(net.listener).onMessage('orders', ({ data }) => void got.push(data));
    const post = messages(net.joiner);
    const altered = new Uint8Array([1, 2, 3]);
    const detached = new Uint8Array([4, 5, 6]);
    const sent = [post.send('orders', altered), post.send('orders', detached), post.send('orders', 'last')];
    altered.fill(0);
    structuredClone(detached, { transfer: [detached.buffer] });
    await Promise.all(sent);
    expect(got).toEqual([Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6]), 'last']);
  });
});
