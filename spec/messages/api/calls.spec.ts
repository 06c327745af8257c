// Calls of an API over a link: types and checks at both ends, errors with what is certain, and clients with and without a definition.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type } from 'arktype';
import * as v from 'valibot';
import { z } from 'zod';
import type { Node, NodeOptions } from '../../../lib/index.js';
import { clientOver } from '../../../lib/messages/api/client.js';
import { networkOf } from '../../../lib/messages/api/node-network.js';
import { apiClient, defineApi, messages, SchemaError, serveApi, stream } from '../../../lib/messages/index.js';
import { knows, type Testnet, testnet } from '../../support/testnet.js';

const OPTIONS: NodeOptions = { secret: '0123456789abcdef', closeTimeoutMs: 1_000 };

let net: Testnet;
let near: Node;
let far: Node;

beforeEach(async () => {
  net = await testnet('memory', OPTIONS);
  near = net.joiner;
  far = net.listener;
});
afterEach(() => {
  release();
  return net.close();
});

/** Ends the handler of `wait`. */
let release = () => {};
/** What handlers have seen. */
let seen: unknown[] = [];
beforeEach(() => {
  seen = [];
});

const api = defineApi({
  name: 'greeter',
  short: 'Greets people',
  version: '1.0.0',
  commands: {
    hello: {
      number: 1,
      description: 'Says hello.',
      input: z.object({ name: z.string(), times: z.number().default(1) }),
      output: v.object({ greeting: v.string(), at: v.pipe(v.string(), v.toDate()) }),
      handler: (input) => {
        seen.push(input);
        return { greeting: `hello ${input.name.repeat(input.times)}`, at: '2026-01-02T03:04:05.000Z' };
      },
    },
    length: {
      number: 2,
      input: type('string'),
      output: z.number().max(5),
      handler: (text) => {
        seen.push(text);
        return text.length;
      },
    },
    echo: { number: 3, handler: (input) => input },
    fail: {
      number: 4,
      handler: () => {
        throw Object.assign(new Error('no paper'), { code: 'EPAPER' });
      },
    },
    wait: {
      number: 5,
      handler: (_input, { signal }) =>
        new Promise((resolve) => {
          seen.push('begun');
          // It does not end by itself, so that the caller cannot get an answer just in time.
          release = () => resolve(undefined);
          signal.addEventListener('abort', () => seen.push('aborted'));
        }),
    },
    who: { number: 6, handler: (_input, { from, command, id }) => ({ from, command, id: typeof id }) },
    taken: {
      number: 7,
      input: z.string().refine(async (name) => name !== 'root', 'is taken'),
      handler: (name) => name,
    },
    tail: {
      number: 8,
      output: stream(z.number()),
      async *handler() {
        yield 1;
        yield 2;
      },
    },
  },
});

async function served() {
  const server = serveApi(far, api);
  await knows(near, 'greeter');
  return server;
}

describe('a client with a definition', () => {
  it('gets what the schemas make of inputs and outputs', async () => {
    await served();
    const answer = await apiClient(near, api).hello({ name: 'Ada' });
    expect(answer).toEqual({ greeting: 'hello Ada', at: new Date('2026-01-02T03:04:05.000Z') });
    expect(seen).toEqual([{ name: 'Ada', times: 1 }]);
  });

  it.each([[undefined], [null], [3], ['text'], [{ a: [1] }], [Buffer.from([0, 255])]])(
    'sends %j as what it is, without a schema',
    async (value) => {
      await served();
      expect(await apiClient(near, api).echo(value)).toEqual(value);
    },
  );

  it('sends nothing that does not fit', async () => {
    await served();
    const error = await apiClient(near, api)
      .hello({ name: 3 as never })
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SchemaError);
    expect(error).toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'not-handled',
      issues: [{ path: ['name'], message: expect.stringMatching(/string/) }],
    });
    expect(messages(near).stats().sent.notHandled).toBe(0);
    await expect(apiClient(near, api).taken('root')).rejects.toMatchObject({
      issues: [{ message: 'is taken', path: [] }],
    });
    expect(await apiClient(near, api).taken('ada')).toBe('ada');
  });

  it('finds an output that does not fit after the handler has run', async () => {
    await served();
    await expect(apiClient(near, api).length('a long text')).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'handled',
      issues: [{ path: [], message: expect.any(String) }],
    });
    expect(seen).toEqual(['a long text']);
  });

  it('checks outputs itself: the server may be another program', async () => {
    messages(far)
      .inbox('greeter')
      .onCommand(2, () => 'not a number');
    await knows(near, 'greeter');
    await expect(apiClient(near, api).length('abc')).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'handled',
    });
  });

  it('gets the code and the message of what a handler throws', async () => {
    await served();
    await expect(apiClient(near, api).fail()).rejects.toMatchObject({
      code: 'ERR_STARLANE_HANDLER_FAILED',
      outcome: 'handled',
      message: expect.stringContaining('no paper'),
      cause: { code: 'EPAPER' },
    });
  });

  it('is called by name as well, with types', async () => {
    await served();
    expect(await apiClient(near, api).call('length', 'abc')).toBe(3);
  });

  it('shows the handler who calls', async () => {
    await served();
    expect(await apiClient(near, api).who()).toEqual({ from: near.id, command: 'who', id: 'string' });
  });

  it('cancels', async () => {
    await served();
    const aborter = new AbortController();
    const call = apiClient(near, api).wait(undefined, { signal: aborter.signal });
    while (!seen.includes('begun')) await new Promise(setImmediate);
    aborter.abort();
    await expect(call).rejects.toMatchObject({ outcome: 'unknown' });
    while (!seen.includes('aborted')) await new Promise(setImmediate);
  });

  it('gives up in time, and the handler knows', async () => {
    await served();
    await expect(apiClient(near, api, { timeoutMs: 50 }).wait()).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'unknown',
    });
    while (!seen.includes('aborted')) await new Promise(setImmediate);
  });

  it('waits for a service that appears', async () => {
    const call = apiClient(near, api).echo('early');
    await served();
    expect(await call).toBe('early');
  });

  it('ends in its own time, also when the API is not there to describe itself', async () => {
    await expect(apiClient(near, 'nowhere').hello({}, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'not-handled',
    });
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(apiClient(near, 'nowhere').hello({}, { signal })).rejects.toMatchObject({
      outcome: 'not-handled',
      cause: { message: 'enough' },
    });
  });

  it('refuses options that are not known, and a name that is none', async () => {
    expect(() => apiClient(near, 'a b')).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ADDRESS' }));
    expect(() => apiClient(near, api, { timeout: 3 } as never)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }),
    );
    await expect(apiClient(near, api).echo(1, { timeoutMs: 0 })).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
  });

  it('refuses what is no API', () => {
    for (const value of [undefined, null, {}, 3]) {
      for (const call of [apiClient, serveApi] as Array<(...args: unknown[]) => unknown>) {
        expect(() => call(near, value)).toThrow(
          expect.objectContaining({ code: 'ERR_STARLANE_ARGUMENT', message: expect.stringContaining('defineApi()') }),
        );
      }
    }
  });

  it('is no promise, and has no methods but its commands', async () => {
    const client = apiClient(near, api) as unknown as Record<string, unknown>;
    expect(client['then']).toBeUndefined();
    expect(client['nothing']).toBeUndefined();
    expect(client['constructor']).toBeUndefined();
    expect(await Promise.resolve(client)).toBe(client);
  });
});

describe('a client by self-description', () => {
  it('calls by method and by name', async () => {
    await served();
    const client = apiClient(near, 'greeter');
    expect(await client['hello']({ name: 'Ada' })).toEqual({ greeting: 'hello Ada', at: '2026-01-02T03:04:05.000Z' });
    expect(await client.call('length', 'abc')).toBe(3);
  });

  it('has the types of a definition that it does not load', async () => {
    await served();
    const client = apiClient<typeof api>(near, 'greeter');
    const length: number = await client.length('abc');
    expect(length).toBe(3);
    const items: number[] = [];
    for await (const item of client.tail()) items.push(item);
    expect(items).toEqual([1, 2]);
  });

  it('asks for the description once', async () => {
    await served();
    const client = apiClient(near, 'greeter');
    await Promise.all([client['echo'](1), client['echo'](2)]);
    const before = messages(far).stats().received.total;
    await client['echo'](3);
    expect(messages(far).stats().received.total - before).toBe(1);
  });

  it('gets the issues that the server finds', async () => {
    await served();
    const error = await apiClient(near, 'greeter')
      .call('hello', { name: 3 })
      .then(undefined, (reason: unknown) => reason);
    expect(error).toBeInstanceOf(SchemaError);
    expect(error).toMatchObject({ outcome: 'not-handled', issues: [{ path: ['name'] }] });
    expect(seen).toEqual([]);
  });

  it('says that there is no such command', async () => {
    await served();
    await expect(apiClient(near, 'greeter')['nothing']()).rejects.toMatchObject({
      code: 'ERR_STARLANE_API',
      outcome: 'not-handled',
    });
  });

  it('describes the API', async () => {
    const server = await served();
    const description = await apiClient(near, 'greeter').describe();
    expect(JSON.parse(JSON.stringify(description))).toEqual(server.description);
    expect(description.commands['hello']).toMatchObject({ number: 1, description: 'Says hello.' });
  });
});

describe('a client of what is no API', () => {
  it.each([
    ['answers in another protocol', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['answers nothing', ''],
  ])('says so when the service %s', async (_what, answer) => {
    far.bind('web', (socket) => void socket.resume().end(answer));
    await knows(near, 'web');
    const refusal = {
      code: 'ERR_STARLANE_MESSAGE_PROTOCOL',
      // Nothing but the question for the description was sent.
      outcome: 'not-handled',
      message: expect.stringMatching(/web has answered in another protocol\. .*node\.dial\(\)/),
    };
    await expect(apiClient(near, 'web').describe()).rejects.toMatchObject(refusal);
    await expect(apiClient(near, 'web').call('hello', {})).rejects.toMatchObject(refusal);
  });

  it('has not sent a call when the circuit breaks before the API has described itself', async () => {
    far.bind('web', (socket) => void socket.on('error', () => {}).resetAndDestroy());
    await knows(near, 'web');
    await expect(apiClient(near, 'web').call('hello', {})).rejects.toMatchObject({
      code: 'ERR_STARLANE_NOT_HANDLED',
      outcome: 'not-handled',
    });
  });
});

describe('an input that cannot be sent', () => {
  it('is not handled', async () => {
    await served();
    // As in the command: each call has a circuit of its own.
    const client = clientOver({ ...networkOf(near), call: undefined }, 'greeter');
    await expect(client.call('echo', 'x'.repeat(17 * 1024 * 1024))).rejects.toMatchObject({
      code: 'ERR_STARLANE_MESSAGE_SIZE',
      outcome: 'not-handled',
    });
    await expect(client.call('echo', 3n)).rejects.toMatchObject({
      code: 'ERR_STARLANE_ARGUMENT',
      outcome: 'not-handled',
    });
  });
});

describe('a server', () => {
  it('checks inputs itself: the client may be another program', async () => {
    await served();
    await expect(messages(near).call('greeter', 1, { name: 3 })).rejects.toMatchObject({
      code: 'ERR_STARLANE_SCHEMA',
      outcome: 'not-handled',
    });
    expect(seen).toEqual([]);
  });

  it('says in the directory what it is', async () => {
    await served();
    expect(near.serviceMap().get('greeter')[0].meta).toEqual({ api: { version: '1.0.0', digest: expect.any(String) } });
  });

  it('adds the metadata of the user', async () => {
    serveApi(far, api, { meta: { zone: 'eu' } });
    await knows(near, 'greeter');
    expect(near.serviceMap().get('greeter')[0].meta).toMatchObject({ zone: 'eu', api: { version: '1.0.0' } });
    expect(() => serveApi(near, api, { meta: { api: 1 } })).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_API' }),
    );
  });

  it('takes handlers that the definition does not have', async () => {
    const shared = defineApi({
      name: 'sum',
      version: '1',
      commands: { add: { number: 1, input: z.array(z.number()), output: z.number() } },
    });
    expect(() => serveApi(far, shared)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_API' }));
    expect(() => serveApi(far, shared, { handlers: { sub: () => 1 } as never })).toThrow(/sub/);
    serveApi(far, shared, { handlers: { add: (numbers) => numbers.reduce((a, b) => a + b, 0) } });
    await knows(near, 'sum');
    expect(await apiClient(near, shared).add([1, 2, 3])).toBe(6);
  });

  it('does not take a call that its handler has made for its own', async () => {
    serveApi(far, api);
    const outer = defineApi({
      name: 'outer',
      version: '1',
      commands: { go: { number: 1, handler: () => apiClient(far, api).length(3 as never) } },
    });
    serveApi(far, outer);
    await knows(near, 'outer');
    // The inner call was certainly not handled; the outer one was.
    await expect(apiClient(near, outer).go()).rejects.toMatchObject({
      code: 'ERR_STARLANE_HANDLER_FAILED',
      outcome: 'handled',
    });
  });

  it('is not offered any more when it is closed', async () => {
    const server = await served();
    const gone = new Promise((resolve) => near.serviceMap().once('remove', resolve));
    await server.close();
    await gone;
    await expect(apiClient(near, api, { timeoutMs: 50 }).echo(1)).rejects.toMatchObject({ outcome: 'not-handled' });
    serveApi(far, api);
  });
});
