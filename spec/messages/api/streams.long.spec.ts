// Streaming inputs and outputs: items in order and checked, the slower end slows the other one down, and both ends learn how it ended.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import type { Node, NodeOptions } from '../../../lib/index.js';
import {
  type ApiServer,
  apiClient,
  defineApi,
  type HandlerCall,
  serveApi,
  stream,
} from '../../../lib/messages/index.js';
import { knows, type Testnet, testnet } from '../../support/testnet.js';

const OPTIONS: NodeOptions = { secret: '0123456789abcdef', closeTimeoutMs: 1_000 };

let net: Testnet;
let near: Node;
let far: Node;
let server: ApiServer;

/** What the handler does, and what it has seen. */
let work: (input: AsyncIterable<unknown>, call: HandlerCall) => AsyncGenerator<unknown> | AsyncIterable<unknown>;
let log: string[];

const api = defineApi({
  name: 'numbers',
  version: '1.0.0',
  commands: {
    up: { number: 1, input: stream(z.number()), output: z.number(), handler: sum },
    down: {
      number: 2,
      input: z.number().max(1_000_000),
      output: stream(z.number().max(100)),
      async *handler(count) {
        for (let at = 1; at <= count; at++) yield at;
      },
    },
    both: {
      number: 3,
      input: stream(z.coerce.number()),
      output: stream(z.coerce.string()),
      handler: (input, call) => work(input, call) as AsyncIterable<string>,
    },
    raw: { number: 4, input: stream(), output: stream(), handler: (input, call) => work(input, call) },
    early: { number: 5, input: stream(), output: z.string(), handler: () => 'enough' },
  },
});

async function sum(input: AsyncIterable<number>): Promise<number> {
  let total = 0;
  for await (const item of input) total += item;
  return total;
}

beforeEach(async () => {
  log = [];
  net = await testnet('memory', OPTIONS);
  near = net.joiner;
  far = net.listener;
  server = serveApi(far, api, { maxItemBytes: 64 * 1024 });
  await knows(near, 'numbers');
});
afterEach(() => net.close());

const client = () => apiClient(near, api);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Lets the event loop turn until something holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(setImmediate);
}

/** Notes how the handler ends. */
function noting(inner: typeof work): typeof work {
  return async function* (input, call) {
    call.signal.addEventListener('abort', () => log.push('aborted'));
    try {
      yield* inner(input, call);
      log.push('returned');
    } catch (error) {
      log.push(`threw ${(error as { code?: string }).code}`);
      throw error;
    } finally {
      log.push('ended');
    }
  };
}

function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}

async function* forward(input: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  for await (const item of input) yield item;
}

async function* endless(): AsyncGenerator<string> {
  for (;;) yield 'x';
}

describe('streams of a call', () => {
  it('carry the input', async () => {
    expect(await client().up([1, 2, 3])).toBe(6);
    expect(await client().up([])).toBe(0);
    expect(
      await client().up(
        (async function* () {
          yield 4;
          yield 5;
        })(),
      ),
    ).toBe(9);
  });

  it('carry the output', async () => {
    expect(await all(client().down(3))).toEqual([1, 2, 3]);
    expect(await all(client().down(0))).toEqual([]);
  });

  it('carry both at the same time', async () => {
    work = forward;
    const turns: string[] = [];
    let answered: (item: unknown) => void = () => {};
    const input = (async function* () {
      for (let at = 0; at < 3; at++) {
        const answer = new Promise((resolve) => {
          answered = resolve;
        });
        yield at;
        turns.push(`${at} -> ${await answer}`);
      }
    })();
    for await (const item of client().both(input)) answered(item);
    expect(turns).toEqual(['0 -> 0', '1 -> 1', '2 -> 2']);
  });

  it('apply the schemas to each item', async () => {
    work = noting(async function* (input) {
      for await (const item of input) {
        log.push(typeof item);
        yield item;
      }
    });
    expect(await all(client().both(['1', '2']))).toEqual(['1', '2']);
    expect(log).toEqual(['number', 'number', 'returned', 'ended']);
  });

  it('carry items of every kind, also empty ones', async () => {
    work = forward;
    const items = [undefined, null, '', 0, { a: [] }, Buffer.from([1, 2]), 'x'.repeat(60_000)];
    expect(await all(client().raw(items))).toEqual(items);
  });

  it('carry many items in order', async () => {
    work = forward;
    const items = Array.from({ length: 1_000 }, (_, at) => at);
    expect(await all(client().raw(items))).toEqual(items);
  });

  it('begin when the first item is asked for', async () => {
    work = noting(forward);
    const output = client().raw([1]);
    expect(server.streamingCalls).toBe(0);
    expect(await all(output)).toEqual([1]);
    await until(() => server.streamingCalls === 0);
  });

  it('leave nothing open when they have ended', async () => {
    work = forward;
    for (let turn = 0; turn < 5; turn++) await all(client().raw([1, 2]));
    await client().early(endless());
    await until(
      () => server.streamingCalls === 0 && near.stats().streams.links === 0 && far.stats().streams.links === 0,
    );
  });
});

describe('the handler of a stream', () => {
  it('ends when the caller leaves the loop', async () => {
    work = noting(endless);
    for await (const _item of client().raw([])) break;
    await until(() => log.includes('ended') && server.streamingCalls === 0);
    expect(log).toEqual(['aborted', 'ended']);
  });

  it('hears that the caller has cancelled, also while it waits', async () => {
    work = noting(async function* (_input, { signal }) {
      yield 1;
      await abortOf(signal);
    });
    const aborter = new AbortController();
    const reason = new Error('changed my mind');
    await expect(
      (async () => {
        for await (const _item of client().raw([], { signal: aborter.signal })) aborter.abort(reason);
      })(),
    ).rejects.toBe(reason);
    await until(() => log.includes('ended') && server.streamingCalls === 0);
  });

  it('has its error at the caller, behind what it has sent', async () => {
    work = async function* () {
      yield 1;
      throw Object.assign(new Error('no paper'), { code: 'EPAPER' });
    };
    const got: unknown[] = [];
    const error = await (async () => {
      for await (const item of client().raw([])) got.push(item);
    })().catch((reason: unknown) => reason);
    expect(got).toEqual([1]);
    expect(error).toMatchObject({
      code: 'ERR_STARLANE_HANDLER_FAILED',
      outcome: 'handled',
      message: expect.stringMatching(/EPAPER: no paper/),
    });
  });

  it('does not pass the outcome of a call that it has made for that of its own', async () => {
    const nested = apiClient(near, 'numbers');
    work = async function* () {
      for await (const item of nested.call('down', 'three')) yield item;
    };
    // The inner call was certainly not handled.
    await expect(all(client().raw([]))).rejects.toMatchObject({
      code: 'ERR_STARLANE_HANDLER_FAILED',
      outcome: 'handled',
      message: expect.stringMatching(/ERR_STARLANE_SCHEMA/),
    });
  });

  it('may leave the rest of its input', async () => {
    let isReturned = false;
    const input = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          await new Promise(setImmediate);
          return { done: false as const, value: 'x' };
        },
        return: async () => {
          isReturned = true;
          return { done: true as const, value: undefined };
        },
      }),
    };
    expect(await client().early(input)).toBe('enough');
    await until(() => isReturned);
  });

  it('gets the error of the input as its end, and the caller gets it itself', async () => {
    work = noting(forward);
    const reason = new Error('the file is gone');
    const input = (async function* () {
      yield 1;
      throw reason;
    })();
    await expect(all(client().raw(input))).rejects.toBe(reason);
    await until(() => log.includes('ended'));
    expect(log).toContain('aborted');
    expect(log).not.toContain('returned');
  });

  it('that returns no iterable has failed', async () => {
    work = () => 'text' as never;
    await expect(all(client().raw([]))).rejects.toMatchObject({ code: 'ERR_STARLANE_SCHEMA', outcome: 'handled' });
  });
});

describe('an item that does not fit', () => {
  it('is found at the caller', async () => {
    await expect(client().up([1, 'two' as never])).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'unknown',
      issues: [{ path: [] }],
    });
  });

  it('is found at the server, whose handler sees it as an error of its input', async () => {
    const bare = apiClient(near, 'numbers');
    await expect(bare.call('up', [1, 'two'])).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'handled',
      issues: [{ path: [], message: expect.stringMatching(/number/) }],
    });
  });

  it('is found in the output', async () => {
    const got: number[] = [];
    const error = await (async () => {
      for await (const item of client().down(200)) got.push(item);
    })().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_SCHEMA', outcome: 'handled' });
    expect(got).toHaveLength(100);
  });

  it('is found in an input without streams before the handler runs', async () => {
    const bare = apiClient(near, 'numbers');
    await expect(all(bare.call('down', 'three'))).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'not-handled',
    });
  });

  it('is too long at either end', async () => {
    work = forward;
    const long = 'x'.repeat(70_000);
    const size = { code: 'ERR_STARLANE_MESSAGE_SIZE' };
    await expect(all(client().raw([long]))).rejects.toMatchObject(size);
    await expect(all(apiClient(near, api, { maxItemBytes: 1_024 }).raw(['x'.repeat(2_000)]))).rejects.toMatchObject(
      size,
    );
    work = async function* () {
      yield long;
    };
    await expect(all(client().raw([]))).rejects.toMatchObject(size);
    await until(() => server.streamingCalls === 0);
  });
});

describe('a call with streams', () => {
  it('has an unknown outcome when the link is lost, and its handler is aborted', async () => {
    work = noting(endless);
    const error = await (async () => {
      for await (const _item of client().raw([])) net.cut();
    })().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_OUTCOME_UNKNOWN', outcome: 'unknown' });
    await until(() => log.includes('ended') && server.streamingCalls === 0);
    expect(log[0]).toBe('aborted');
  });

  it('is not handled when nobody serves it', async () => {
    const other = defineApi({ name: 'other', version: '1', commands: { go: { number: 1, output: stream() } } });
    await expect(all(apiClient(near, other, { timeoutMs: 50 }).go())).rejects.toMatchObject({
      outcome: 'not-handled',
    });
  });

  it('lasts as long as it wants, unless somebody bounds it', async () => {
    work = noting(async function* (_input, { signal, deadline }) {
      yield deadline === undefined;
      await abortOf(signal);
    });
    for await (const item of apiClient(near, api, { timeoutMs: 30_000 }).raw([])) {
      expect(item).toBe(true);
      break;
    }
    await expect(all(client().raw([], { timeoutMs: 100 }))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'unknown',
    });
    await until(() => log.filter((line) => line === 'ended').length === 2);
  });

  it('is refused when too many run', async () => {
    await server.close();
    const gone = knows(near, 'numbers');
    server = serveApi(far, api, { maxStreamingCalls: 1 });
    await gone;
    work = endless;
    for await (const _item of client().raw([])) {
      await expect(all(client().raw([]))).rejects.toMatchObject({
        code: 'ERR_STARLANE_QUEUE_FULL',
        outcome: 'not-handled',
      });
      break;
    }
    await until(() => server.streamingCalls === 0);
    expect(await all(client().down(1))).toEqual([1]);
  });

  it('ends when its server is closed', async () => {
    work = noting(endless);
    const error = await (async () => {
      let closing: Promise<void> | undefined;
      for await (const _item of client().raw([])) closing ??= server.close();
      await closing;
    })().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ outcome: 'unknown' });
    await until(() => log.includes('ended'));
  });
});
