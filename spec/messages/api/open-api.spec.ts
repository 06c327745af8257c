// The OpenAPI document of an API, and the HTTP requests that it promises.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { defineApi, stream } from '../../../lib/messages/api/definition.js';
import { describeApi } from '../../../lib/messages/api/description.js';
import { apiHttpHandler } from '../../../lib/messages/api/http-handler.js';
import { openApi } from '../../../lib/messages/api/open-api.js';
import { checked } from '../../../lib/messages/api/validation.js';
import { messageError } from '../../../lib/messages/outcome.js';

const Person = z.object({ name: z.string() });
const api = defineApi({
  name: 'greeter',
  short: 'Greets',
  long: 'Greets people.',
  version: '1.2.0',
  commands: {
    hello: { number: 1, description: 'Says hello.', input: Person, output: z.object({ greeting: z.string() }) },
    count: { number: 2, idempotent: true, input: stream(z.string()), output: stream(z.number()) },
    fail: { number: 3 },
  },
});

// biome-ignore lint/suspicious/noExplicitAny: a document of any form.
const document = openApi(api, { servers: ['https://example.org/greeter'] }) as any;

describe('the OpenAPI document', () => {
  it('has a POST for each command, with the schemas of its input and output', () => {
    expect(document).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'greeter', version: '1.2.0', summary: 'Greets', description: 'Greets people.' },
      servers: [{ url: 'https://example.org/greeter' }],
    });
    expect(Object.keys(document.paths)).toEqual(['/hello', '/count', '/fail']);
    const { post } = document.paths['/hello'];
    expect(post).toMatchObject({ operationId: 'hello', description: 'Says hello.', 'x-starlane-number': 1 });
    expect(post.requestBody).toMatchObject({
      required: true,
      content: { 'application/json': { schema: { type: 'object', properties: { name: { type: 'string' } } } } },
    });
    expect(post.responses[200].content['application/json'].schema.properties).toEqual({ greeting: { type: 'string' } });
  });

  it('has JSON Lines for streams', () => {
    const { post } = document.paths['/count'];
    expect(post.requestBody.content).toEqual({ 'application/jsonl': { schema: { type: 'string' } } });
    expect(Object.keys(post.responses[200].content)).toEqual(['application/jsonl']);
  });

  it('refers to nothing that it does not have', () => {
    const found = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]*)"/g)].map(([, path]) => path);
    expect(found.length).toBeGreaterThan(6);
    for (const path of found) {
      // biome-ignore lint/suspicious/noExplicitAny: a document of any form.
      expect(path.split('/').reduce((at: any, key) => at?.[key], document)).toBeDefined();
    }
  });

  it('is the same from the self-description', () => {
    const described = JSON.parse(JSON.stringify(describeApi(api)));
    expect(openApi(described, { servers: ['https://example.org/greeter'] })).toEqual(document);
  });
});

describe('the HTTP handler', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close().closeAllConnections();
  });

  const client = {
    call: (command: string, input: unknown) => {
      if (command === 'count') return lengths(input as string[]);
      if (command === 'fail') return Promise.reject(messageError(...(input as ['ETIMEDOUT', 'unknown', string])));
      return (async () => {
        const { name } = (await checked(Person, input, 'input of hello', 'not-handled')) as { name: string };
        return { greeting: `hello ${name}` };
      })();
    },
  };

  async function served(
    maxBodyBytes?: number,
    onBody?: (request: IncomingMessage) => void,
  ): Promise<(path: string, body?: string) => Promise<Response>> {
    const handler = apiHttpHandler(api, client, { maxBodyBytes });
    const server = createServer((request, response) => {
      request.once('end', () => onBody?.(request));
      handler(request, response);
    });
    servers.push(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    return (path, body) => fetch(`http://127.0.0.1:${port}${path}`, body === undefined ? {} : { method: 'POST', body });
  }

  it('answers a command', async () => {
    const response = await (await served())('/hello', '{"name":"Ada"}');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ greeting: 'hello Ada' });
  });

  it('takes and returns streams as JSON Lines', async () => {
    const response = await (await served())('/count', '"a"\n"bcd"\n\n');
    expect(response.headers.get('content-type')).toBe('application/jsonl');
    expect(await response.text()).toBe('1\n3\n');
  });

  it('leaves the time of a call to the call: a quiet socket is not ended', async () => {
    const timeouts: unknown[] = [];
    const request = await served(undefined, ({ socket }) => void timeouts.push(socket.timeout ?? 0));
    expect((await request('/hello', '{"name":"Ada"}')).status).toBe(200);
    expect(timeouts).toEqual([0]);
  });

  it('serves its document', async () => {
    expect(await (await (await served())('/openapi.json')).json()).toEqual(openApi(api));
  });

  it('cuts off a stream that fails after its beginning', async () => {
    const request = await served();
    await expect(request('/count', '"a"\n3').then((response) => response.text())).rejects.toThrow();
  });

  it.each([
    ['/hello', '{"name":3}', 400, 'ERR_STARLANE_SCHEMA'],
    ['/hello', '{', 400, 'ERR_STARLANE_SCHEMA'],
    ['/hello', JSON.stringify({ name: 'x'.repeat(2_000) }), 400, 'ERR_STARLANE_MESSAGE_SIZE'],
    ['/nothing', '{}', 404, 'ERR_STARLANE_NO_HANDLER'],
    ['/toString', '{}', 404, 'ERR_STARLANE_NO_HANDLER'],
    ['/hello', undefined, 404, 'ERR_STARLANE_NO_HANDLER'],
    ['/fail', '["ERR_STARLANE_HANDLER_FAILED","handled","x"]', 500, 'ERR_STARLANE_HANDLER_FAILED'],
    ['/fail', '["ERR_STARLANE_OUTCOME_UNKNOWN","unknown","x"]', 502, 'ERR_STARLANE_OUTCOME_UNKNOWN'],
    ['/fail', '["ERR_STARLANE_NOT_HANDLED","not-handled","x"]', 503, 'ERR_STARLANE_NOT_HANDLED'],
    ['/fail', '["ETIMEDOUT","unknown","x"]', 504, 'ETIMEDOUT'],
  ])('answers %s %s with %s', async (path, body, status, code) => {
    const response = await (await served(1_000))(path, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code, message: expect.any(String) });
  });
});

async function* lengths(texts: readonly string[]): AsyncGenerator<number> {
  for (const text of texts) {
    if (typeof text !== 'string') throw new Error('not a text');
    yield text.length;
  }
}
