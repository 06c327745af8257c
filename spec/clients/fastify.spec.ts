// fastify, whose http.Server is bound by name, with clients of node:http over dialled sockets.

import { once } from 'node:events';
import { request } from 'node:http';
import type { RequestOptions } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import Fastify, { type FastifyInstance } from 'fastify';
import { within } from '../support/deadline.js';
import { DialAgent, digestOf, exchange, headOf, randomSource } from './http-exchange.js';
import { linkedNodes } from './linked-nodes.js';

const MIB = 1024 * 1024;

describe('fastify', () => {
  const nodes = linkedNodes();
  let app: FastifyInstance;
  beforeEach(() => {
    app = Fastify({ bodyLimit: 64 * MIB });
    nodes.finally(() => app.close());
  });

  /** What a program does instead of `app.listen`. */
  async function bind(): Promise<void> {
    await app.ready();
    nodes.listener.bind('api', app.server);
  }

  /** A request on a separate socket. */
  function to(path: string, options: RequestOptions = {}): RequestOptions {
    return { host: 'api', defaultPort: 80, path, createConnection: () => nodes.netDial('api'), ...options };
  }

  it('answers with parameters, a query and a parsed body', async () => {
    app.post('/users/:id', async (incoming, reply) => {
      reply.code(201);
      return { id: incoming.params, query: incoming.query, body: incoming.body, host: incoming.host, ip: incoming.ip };
    });
    await bind();
    const headers = { 'content-type': 'application/json' };
    const body = Buffer.from(JSON.stringify({ name: 'Ünal' }));
    const answer = await exchange(to('/users/7?all=yes', { method: 'POST', headers }), body);
    expect(answer.status).toBe(201);
    expect(JSON.parse(String(answer.body))).toEqual({
      id: { id: '7' },
      query: { all: 'yes' },
      body: { name: 'Ünal' },
      host: 'api',
      ip: `@${nodes.joiner.id}`,
    });
  });

  it('validates requests against a schema', async () => {
    const schema = { querystring: { type: 'object', required: ['page'], properties: { page: { type: 'integer' } } } };
    app.get('/', { schema }, async (incoming) => incoming.query);
    await bind();
    expect((await exchange(to('/?page=x'))).status).toBe(400);
    expect(String((await exchange(to('/?page=3'))).body)).toBe('{"page":3}');
  });

  it('runs its hooks around 200 requests on one kept socket', async () => {
    const seen: string[] = [];
    app.addHook('onRequest', async (incoming) => {
      seen.push(incoming.url);
    });
    app.addHook('onSend', async (_incoming, reply) => {
      reply.header('x-hook', 'ran');
    });
    app.get('/:number', async (incoming) => incoming.params);
    await bind();
    const agent = new DialAgent(nodes.joiner, 'api', 1);
    nodes.finally(() => agent.destroy());
    const requests = Array.from({ length: 200 }, (_, number) => exchange({ agent, path: `/${number}` }));
    const answers = await Promise.all(requests);
    expect(answers.map(({ body }) => String(body))).toEqual(requests.map((_, number) => `{"number":"${number}"}`));
    expect(answers.every(({ headers }) => headers['x-hook'] === 'ran')).toBe(true);
    expect(seen).toEqual(requests.map((_, number) => `/${number}`));
    expect(agent.dialled).toHaveLength(1);
  });

  it('reads a body of 32 MiB as it comes', async () => {
    app.addContentTypeParser('application/octet-stream', (_incoming, payload, done) => done(null, payload));
    app.put('/', async (incoming) => digestOf(incoming.body as Readable));
    await bind();
    const { source, digest } = randomSource(32 * MIB);
    const headers = { 'content-type': 'application/octet-stream' };
    const answer = await exchange(to('/', { method: 'PUT', headers }), source);
    expect(String(answer.body)).toBe(digest());
  });

  it('sends a body of 32 MiB as it is read', async () => {
    const { source, digest } = randomSource(32 * MIB);
    app.get('/', (_incoming, reply) => reply.type('application/octet-stream').send(source));
    await bind();
    const incoming = await headOf(request(to('/')).end());
    expect(await within('the body', digestOf(incoming))).toBe(digest());
  });

  it('echoes a body of 8 MiB while it comes', async () => {
    app.addContentTypeParser('application/octet-stream', (_incoming, payload, done) => done(null, payload));
    app.post('/', (incoming, reply) => reply.send(incoming.body));
    await bind();
    const { source, digest } = randomSource(8 * MIB);
    const outgoing = request(to('/', { method: 'POST', headers: { 'content-type': 'application/octet-stream' } }));
    const sending = pipeline(source, outgoing);
    expect(await within('the echo', headOf(outgoing).then(digestOf))).toBe(digest());
    await within('the end', sending);
  });

  it('answers for missing routes and throwing handlers', async () => {
    app.get('/throws', async () => {
      throw Object.assign(new Error('thrown'), { statusCode: 503 });
    });
    await bind();
    expect((await exchange(to('/missing'))).status).toBe(404);
    const { status, body } = await exchange(to('/throws'));
    expect([status, JSON.parse(String(body)).message]).toEqual([503, 'thrown']);
  });

  it('destroys the source of an answer when the client goes away', async () => {
    const { source } = randomSource(32 * MIB);
    app.get('/', (_incoming, reply) => reply.send(source));
    await bind();
    const outgoing = request(to('/')).on('error', () => {});
    outgoing.end();
    await headOf(outgoing);
    const closed = once(source, 'close').catch(() => {});
    outgoing.destroy();
    await within('the close', closed);
    expect(source.readableEnded).toBe(false);
  });

  it('fails at both ends when the link is lost', async () => {
    const { source } = randomSource(32 * MIB);
    app.get('/', (_incoming, reply) => reply.send(source));
    await bind();
    const incoming = await headOf(request(to('/')).end());
    const closed = once(source, 'close').catch(() => {});
    nodes.cut();
    await within('the error', expect(digestOf(incoming)).rejects.toMatchObject({ code: 'ECONNRESET' }));
    await within('the close', closed);
  });
});
