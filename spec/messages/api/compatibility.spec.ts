// The rules of docs/apis.md: how older and newer versions of an API interoperate. One test for each rule.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import type { Node } from '../../../lib/index.js';
import { type Api, apiClient, defineApi, messages, serveApi, stream } from '../../../lib/messages/index.js';
import { knows, type Testnet, testnet } from '../../support/testnet.js';

let net: Testnet;
let near: Node;
let far: Node;

beforeEach(async () => {
  net = await testnet('memory', { secret: '0123456789abcdef', closeTimeoutMs: 100 });
  near = net.joiner;
  far = net.listener;
});
afterEach(() => net.close());

const where = (at: string) => () => at;

/** The version that came first. */
const v1 = (at = 'v1') =>
  defineApi({
    name: 'orders',
    version: '1.0.0',
    commands: {
      add: {
        number: 1,
        input: z.object({ item: z.string() }),
        output: z.object({ id: z.number() }),
        handler: () => ({ id: 1 }),
      },
      where: { number: 2, output: z.string(), handler: where(at) },
    },
  });

/** The one that follows: more fields, and one more command. */
const v2 = (at = 'v2') =>
  defineApi({
    name: 'orders',
    version: '1.1.0',
    commands: {
      add: {
        number: 1,
        input: z.object({ item: z.string(), count: z.number().default(1) }),
        output: z.object({ id: z.number(), total: z.number().optional() }),
        handler: ({ count }) => ({ id: 2, total: count }),
      },
      where: { number: 2, output: z.string(), handler: where(at) },
      cancel: { number: 3, input: z.object({ id: z.number() }), output: z.string(), handler: where(at) },
    },
  });

async function served(node: Node, api: Api): Promise<void> {
  serveApi(node, api);
  await knows(near, api.name);
}

describe('rule 1: a number and its name belong together for good', () => {
  const renamed = defineApi({
    name: 'orders',
    version: '9',
    commands: { remove: { number: 1, handler: () => 'removed' }, where: { number: 7, handler: () => 'there' } },
  });

  it('so a client calls no instance that means something else, and no handler runs', async () => {
    await served(far, renamed);
    const client = apiClient(near, v1());
    const differs = { code: 'ERR_STARLANE_API', outcome: 'not-handled' };
    await expect(client.add({ item: 'x' })).rejects.toMatchObject(differs);
    await expect(client.where()).rejects.toMatchObject(differs);
  });

  it('and takes those that mean the same, where there are some', async () => {
    await served(far, renamed);
    await served(near, v1());
    const client = apiClient(near, v1());
    for (let turn = 0; turn < 10; turn++) expect(await client.add({ item: 'x' })).toEqual({ id: 1 });
  });
});

describe('rule 2: new fields of an input are optional', () => {
  it('so an older client calls a newer server, which takes the default', async () => {
    await served(far, v2());
    expect(await apiClient(near, v1()).add({ item: 'x' })).toEqual({ id: 2 });
  });

  it('and an older server ignores what it does not know', async () => {
    await served(far, v1());
    expect(await apiClient(near, v2()).add({ item: 'x', count: 3 })).toEqual({ id: 1 });
  });
});

describe('rule 3: new fields of an output are ignored by older clients', () => {
  it('which see what they know', async () => {
    await served(far, v2());
    expect(await apiClient(near, v1()).add({ item: 'x' })).not.toHaveProperty('total');
    expect(await apiClient(near, v2()).add({ item: 'x', count: 4 })).toEqual({ id: 2, total: 4 });
  });
});

describe('rule 4: new commands have new numbers', () => {
  it('so while versions are mixed, only newer instances are called for them', async () => {
    await served(far, v1('old'));
    await served(near, v2('new'));
    const client = apiClient(near, v2());
    for (let turn = 0; turn < 10; turn++) expect(await client.cancel({ id: 1 })).toBe('new');
    const places = new Set<string>();
    while (places.size < 2) places.add(await client.where());
    expect([...places].sort()).toEqual(['new', 'old']);
  });

  it('and where no instance has one, no handler runs', async () => {
    await served(far, v1());
    await expect(apiClient(near, v2()).cancel({ id: 1 })).rejects.toMatchObject({
      code: 'ERR_STARLANE_NO_HANDLER',
      outcome: 'not-handled',
    });
  });

  it('and nothing is asked for while all instances have the same commands', async () => {
    await served(far, v2());
    const client = apiClient(near, v2());
    await client.where();
    expect(messages(far).stats().received.total).toBe(1);
    expect(near.stats().streams.links).toBe(1);
  });
});

describe('rule 5: what is a stream stays one', () => {
  it('so a client does not call an instance where it is none', async () => {
    await served(
      far,
      defineApi({
        name: 'orders',
        version: '2',
        commands: {
          where: {
            number: 2,
            output: stream(z.string()),
            async *handler() {
              yield 'here';
            },
          },
        },
      }),
    );
    await expect(apiClient(near, v1()).where()).rejects.toMatchObject({
      code: 'ERR_STARLANE_API',
      outcome: 'not-handled',
    });
  });
});

describe('rule 6: what older programs cannot understand has another name', () => {
  it('and both are served by one node', async () => {
    const next = defineApi({
      name: 'orders2',
      version: '2.0.0',
      commands: { add: { number: 1, input: z.object({ sku: z.number() }), handler: () => 'second' } },
    });
    await served(far, v1());
    await served(far, next);
    expect(await apiClient(near, v1()).add({ item: 'x' })).toEqual({ id: 1 });
    expect(await apiClient(near, next).add({ sku: 3 })).toBe('second');
  });
});

describe('rule 7: a client by self-description follows what there is', () => {
  it('and finds a command that came later', async () => {
    const server = serveApi(far, v1());
    await knows(near, 'orders');
    const client = apiClient(near, 'orders');
    expect(await client['where']()).toBe('v1');
    await expect(client['cancel']({ id: 1 })).rejects.toMatchObject({ code: 'ERR_STARLANE_API' });
    const gone = new Promise((resolve) => near.serviceMap().once('remove', resolve));
    await server.close();
    await gone;
    await served(far, v2());
    expect(await client['cancel']({ id: 1 })).toBe('v2');
  });
});

describe('rule 8: a client repeats what its own definition calls idempotent', () => {
  it('also with an instance that says nothing of the kind', async () => {
    let runs = 0;
    const base = { number: 1, output: z.number() };
    const careful = defineApi({ name: 'count', version: '1', commands: { up: { ...base, idempotent: true } } });
    serveApi(
      far,
      defineApi({
        name: 'count',
        version: '1',
        commands: {
          up: {
            ...base,
            handler: () => {
              runs++;
              // The first answer is lost with its link.
              if (runs === 1) net.cut();
              return runs;
            },
          },
        },
      }),
    );
    await knows(near, 'count');
    messages(near, { resumeMs: 100 });
    const called = apiClient(near, careful).up(undefined, { timeoutMs: 20_000 });
    while (runs === 0) await new Promise(setImmediate);
    serveApi(near, careful, { handlers: { up: () => 100 } });
    expect(await called).toBe(100);
    expect(runs).toBe(1);
  });

  it('and nothing else', async () => {
    let runs = 0;
    const counting = defineApi({
      name: 'count',
      version: '1',
      commands: {
        up: {
          number: 1,
          handler: () => {
            runs++;
            net.cut();
          },
        },
      },
    });
    serveApi(far, counting);
    await knows(near, 'count');
    messages(near, { resumeMs: 100 });
    const called = apiClient(near, counting).up();
    while (runs === 0) await new Promise(setImmediate);
    serveApi(near, counting, { handlers: { up: () => runs++ } });
    await expect(called).rejects.toMatchObject({ outcome: 'unknown' });
    expect(runs).toBe(1);
  });
});
