// Back-pressure of streaming calls: what an end does not read, the other one does not make.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node } from '../../../lib/index.js';
import { apiClient, defineApi, serveApi, stream } from '../../../lib/messages/index.js';
import { knows, type Testnet, testnet } from '../../support/testnet.js';

let net: Testnet;
let near: Node;
/** What the handler does. */
let work: (input: AsyncIterable<unknown>) => AsyncGenerator<unknown>;

const api = defineApi({
  name: 'numbers',
  version: '1.0.0',
  commands: {
    raw: { number: 4, input: stream(), output: stream(), handler: (input) => work(input) },
    early: { number: 5, input: stream(), handler: () => 'enough' },
  },
});

beforeEach(async () => {
  net = await testnet('memory', { secret: '0123456789abcdef', closeTimeoutMs: 1_000 });
  near = net.joiner;
  serveApi(net.listener, api);
  await knows(near, 'numbers');
});
afterEach(() => net.close());

const client = () => apiClient(near, api);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe('a slow end', () => {
  const chunk = 'x'.repeat(16_000);
  const rounds = async () => {
    // Everything that could move has had the time for it.
    for (let turn = 0; turn < 100; turn++) await client().early([]);
  };

  it('slows a fast handler down', async () => {
    let made = 0;
    work = async function* () {
      for (;;) {
        made++;
        yield chunk;
      }
    };
    let read = 0;
    for await (const _item of client().raw([])) {
      read++;
      if (read === 1) {
        await rounds();
        expect(made * chunk.length).toBeLessThan(8 * 1024 * 1024);
      }
      if (read > 2 * made || read === 2_000) break;
    }
    expect(made).toBeGreaterThanOrEqual(read);
  });

  it('slows a fast caller down', async () => {
    let made = 0;
    let goOn: (value?: unknown) => void = () => {};
    const gate = new Promise((resolve) => {
      goOn = resolve;
    });
    work = async function* (input) {
      await gate;
      let count = 0;
      for await (const _item of input) count++;
      yield count;
    };
    const input = (async function* () {
      for (made = 0; made < 2_000; made++) yield chunk;
    })();
    const counted = all(client().raw(input));
    while (made === 0) await new Promise(setImmediate);
    await rounds();
    expect(made * chunk.length).toBeLessThan(8 * 1024 * 1024);
    goOn();
    expect(await counted).toEqual([2_000]);
  });
});
