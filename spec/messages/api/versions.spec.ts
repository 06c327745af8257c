// Instances of several versions side by side: which of them a client calls.

import { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import type { ServiceInfo } from '../../../lib/mesh/directory/service.js';
import type { AskedCommand } from '../../../lib/messages/api/call/ask.js';
import { clientOver } from '../../../lib/messages/api/client.js';
import { defineApi, stream } from '../../../lib/messages/api/definition.js';
import { type ApiDescription, describeApi, digestOf } from '../../../lib/messages/api/description.js';
import type { ApiNetwork } from '../../../lib/messages/api/network.js';
import { fitOf, Versions } from '../../../lib/messages/api/versions.js';

const described = (commands: object): ApiDescription =>
  describeApi(defineApi({ name: 'x', version: '1', commands } as never));

const OLD = described({ hello: { number: 1 } });
const NEW = described({ hello: { number: 1 }, bye: { number: 2 } });
const STRANGE = described({ bye: { number: 1 }, hello: { number: 3 } });

const command = (name: string, number: number): AskedCommand => ({
  name,
  number,
  streamsInput: false,
  streamsOutput: false,
  checkInput: (value) => value,
  checkOutput: (value) => value,
});

function instance(nodeId: string, description: ApiDescription | undefined): ServiceInfo {
  const meta = description && { api: { version: description.version, digest: digestOf(description) } };
  return { service: 'x', nodeId, port: 16, cost: 1, hops: 1, local: false, weight: 1, meta };
}

/** A view of these instances, and what was asked of them. */
function view(instances: readonly ServiceInfo[], answers: ReadonlyMap<string, ApiDescription>) {
  const asked: string[] = [];
  const versions = new Versions(
    'x',
    () => instances,
    async (selector) => {
      const { nodeId } = selector(instances) as ServiceInfo;
      asked.push(nodeId);
      const answer = answers.get(nodeId);
      if (answer === undefined) throw new Error('no answer');
      return answer;
    },
  );
  return { versions, asked };
}

describe('a client', () => {
  it('asks nothing while all instances have its commands', async () => {
    const { versions, asked } = view([instance('a', NEW), instance('b', NEW)], new Map());
    expect(await versions.selectorFor(command('bye', 2), digestOf(NEW))).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('leaves out older instances for a command that they do not have', async () => {
    const instances = [instance('a', OLD), instance('b', NEW)];
    const { versions, asked } = view(instances, new Map([['a', OLD]]));
    const selector = await versions.selectorFor(command('bye', 2), digestOf(NEW));
    expect(selector?.(instances)?.nodeId).toBe('b');
    expect(selector?.(instances.slice(0, 1))).toBeUndefined();
    expect(await versions.selectorFor(command('hello', 1), digestOf(NEW))).toBeUndefined();
    expect(asked).toEqual(['a']);
  });

  it('asks each version once, also when many calls come at a time', async () => {
    const { versions, asked } = view(
      [instance('a', OLD), instance('b', OLD)],
      new Map([
        ['a', OLD],
        ['b', OLD],
      ]),
    );
    await Promise.all(Array.from({ length: 20 }, () => versions.selectorFor(command('hello', 1), digestOf(NEW))));
    expect(asked).toHaveLength(1);
  });

  it('calls nobody who means something else by the number', async () => {
    const { versions } = view([instance('a', STRANGE)], new Map([['a', STRANGE]]));
    await expect(versions.selectorFor(command('hello', 1), digestOf(NEW))).rejects.toMatchObject({
      code: 'ERR_STARLANE_API',
      outcome: 'not-handled',
    });
  });

  it('says that nobody has the command', async () => {
    const { versions } = view([instance('a', OLD)], new Map([['a', OLD]]));
    await expect(versions.selectorFor(command('bye', 2), digestOf(NEW))).rejects.toMatchObject({
      code: 'ERR_STARLANE_NO_HANDLER',
      outcome: 'not-handled',
    });
  });

  it('calls instances that do not describe themselves, and does not ask them again at once', async () => {
    const { versions, asked } = view([instance('a', OLD), instance('b', undefined)], new Map());
    expect(await versions.selectorFor(command('bye', 2), digestOf(NEW))).toBeUndefined();
    expect(await versions.selectorFor(command('bye', 2), digestOf(NEW))).toBeUndefined();
    expect(asked).toEqual(['a']);
  });
});

describe('a command of a client and an API', () => {
  const streams = described({ tail: { number: 1, output: stream() } });

  it.each([
    ['fits', command('hello', 1), OLD],
    ['lacks', command('bye', 2), OLD],
    ['differs', command('hello', 2), OLD],
    ['differs', command('greet', 1), OLD],
    ['differs', command('tail', 1), streams],
    ['fits', { ...command('tail', 1), streamsOutput: true }, streams],
  ])('%s', (fit, asked, description) => {
    expect(fitOf(asked, description)).toBe(fit);
  });
});

describe('an instance that does not describe itself', () => {
  it('takes no more time of a call than the call has, and ends with its signal', async () => {
    const dialled: unknown[] = [];
    const network = {
      instances: () => [instance('a', OLD)],
      dial: (_service: string, options: unknown) => {
        dialled.push(options);
        return new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
      },
      call: async () => {
        throw new Error('nothing is to be sent');
      },
    } as unknown as ApiNetwork;
    const api = defineApi({ name: 'x', version: '1', commands: { hello: { number: 1 }, bye: { number: 2 } } });
    const client = clientOver(network, api);
    await expect(client.call('hello', 1, { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'not-handled',
    });
    const aborter = new AbortController();
    const aborted = client.call('hello', 1, { signal: aborter.signal });
    aborter.abort();
    await expect(aborted).rejects.toMatchObject({ outcome: 'not-handled' });
    const described = clientOver(network, 'x').call('hello', 1, { timeoutMs: 20 });
    await expect(described).rejects.toMatchObject({ code: 'ETIMEDOUT', outcome: 'not-handled' });
    expect(dialled.length).toBeGreaterThan(0);
  });
});
