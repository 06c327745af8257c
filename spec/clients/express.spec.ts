// express on an http.Server that is bound by name, with clients of node:http over dialled sockets.

import { once } from 'node:events';
import { createServer, type Server as HttpServer, type IncomingMessage, request } from 'node:http';
import type { RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from '@jest/globals';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { within } from '../support/deadline.js';
import { emitted } from './emitted.js';
import { answerTo, DialAgent, digestOf, exchange, headOf, randomSource } from './http-exchange.js';
import { linkedNodes } from './linked-nodes.js';
import { standstill } from './standstill.js';

const MIB = 1024 * 1024;

describe('express', () => {
  const nodes = linkedNodes();
  let app: Express;
  let server: HttpServer;
  beforeEach(() => {
    app = express();
    app.set('env', 'test'); // It prints no stacks.
    server = createServer(app);
    nodes.listener.bind('web', server);
  });

  /** A request on a separate socket. */
  function to(path: string, options: RequestOptions = {}): RequestOptions {
    return { host: 'web', defaultPort: 80, path, createConnection: () => nodes.netDial('web'), ...options };
  }

  function agent(maxSockets?: number): DialAgent {
    const made = new DialAgent(nodes.joiner, 'web', maxSockets);
    nodes.finally(() => made.destroy());
    return made;
  }

  it('answers with parameters, a query and a parsed body', async () => {
    app.post('/users/:id', express.json(), (incoming, response) => {
      response
        .status(201)
        .json({ id: incoming.params['id'], query: incoming.query, body: incoming.body, host: incoming.host });
    });
    const headers = { 'content-type': 'application/json' };
    const body = Buffer.from(JSON.stringify({ name: 'Ünal' }));
    const answer = await exchange(to('/users/7?all=yes', { method: 'POST', headers }), body);
    expect(answer.status).toBe(201);
    expect(JSON.parse(String(answer.body))).toEqual({
      id: '7',
      query: { all: 'yes' },
      body: { name: 'Ünal' },
      host: 'web',
    });
  });

  it.each([
    ['alone', false],
    ['behind trusted proxies', 'loopback, uniquelocal'],
  ])('gives %s the id of the requesting node', async (_name, proxies) => {
    app.set('trust proxy', proxies);
    app.get('/', (incoming, response) => {
      response.json([incoming.ip, incoming.protocol, incoming.socket.remoteFamily]);
    });
    const { body } = await exchange(to('/', { headers: { 'x-forwarded-for': '10.0.0.1' } }));
    expect(JSON.parse(String(body))).toEqual([`@${nodes.joiner.id}`, 'http', 'Starlane']);
  });

  it('serves 200 requests on one kept socket', async () => {
    app.get('/:number', (incoming, response) => {
      response.send(`number ${incoming.params['number']}`);
    });
    const pool = agent(1);
    const requests = Array.from({ length: 200 }, (_, number) => exchange({ agent: pool, path: `/${number}` }));
    const answers = await Promise.all(requests);
    expect(answers.map(({ body }) => String(body))).toEqual(requests.map((_, number) => `number ${number}`));
    expect(pool.dialled).toHaveLength(1);
  });

  it('serves 500 requests at once on sockets of their own', async () => {
    app.get('/:number', (incoming, response) => {
      setImmediate(() => response.send(`number ${incoming.params['number']}`));
    });
    const requests = Array.from({ length: 500 }, (_, number) => exchange(to(`/${number}`)));
    const answers = await Promise.all(requests);
    expect(answers.map(({ body }) => String(body))).toEqual(requests.map((_, number) => `number ${number}`));
  });

  it('ends a kept socket that is idle for too long, and the agent takes a new one', async () => {
    app.get('/', (_incoming, response) => {
      response.send('here');
    });
    server.keepAliveTimeout = 1;
    const pool = agent();
    for (let count = 1; count <= 3; count++) {
      expect(String((await exchange({ agent: pool, path: '/' })).body)).toBe('here');
      const socket = pool.dialled[count - 1];
      if (!socket.closed) await within('the end of the idle socket', once(socket, 'close'));
    }
    expect(pool.dialled).toHaveLength(3);
  });

  it('reads a body of 32 MiB as it comes', async () => {
    app.put('/', async (incoming, response) => {
      response.send(await digestOf(incoming));
    });
    const { source, digest } = randomSource(32 * MIB);
    const answer = await exchange(to('/', { method: 'PUT' }), source);
    expect(String(answer.body)).toBe(digest());
  });

  it('sends a body of 32 MiB as it is read', async () => {
    const { source, digest } = randomSource(32 * MIB);
    app.get('/', async (_incoming, response) => {
      await pipeline(source, response);
    });
    const outgoing = request(to('/')).end();
    const incoming = await headOf(outgoing);
    expect(incoming.headers['transfer-encoding']).toBe('chunked');
    expect(await within('the body', digestOf(incoming))).toBe(digest());
  });

  it('echoes a body of 8 MiB while it comes', async () => {
    app.post('/', (incoming, response) => {
      incoming.pipe(response);
    });
    const { source, digest } = randomSource(8 * MIB);
    const outgoing = request(to('/', { method: 'POST' }));
    outgoing.flushHeaders();
    const sending = pipeline(source, outgoing);
    const received = await within('the echo', headOf(outgoing).then(digestOf));
    await within('the end', sending);
    expect(received).toBe(digest());
  });

  it('holds back a sender whose answer is not read', async () => {
    const { source, taken, digest } = randomSource(32 * MIB);
    app.get('/', async (_incoming, response) => {
      await pipeline(source, response);
    });
    app.get('/other', (_incoming, response) => {
      response.send('other');
    });
    const incoming = await headOf(request(to('/')).end());
    const sent = await within(
      'the standstill',
      standstill(taken, () => exchange(to('/other'))),
    );
    expect(sent).toBeLessThan(4 * MIB);
    expect(await within('the body', digestOf(incoming))).toBe(digest());
  });

  it('serves files and parts of them', async () => {
    app.use(express.static(fileURLToPath(new URL('.', import.meta.url))));
    const whole = await exchange(to('/express.spec.ts'));
    expect([whole.status, whole.headers['accept-ranges']]).toEqual([200, 'bytes']);
    const part = await exchange(to('/express.spec.ts', { headers: { range: 'bytes=100-199' } }));
    expect(part.status).toBe(206);
    expect(part.body.equals(whole.body.subarray(100, 200))).toBe(true);
    const known = await exchange(to('/express.spec.ts', { headers: { 'if-none-match': whole.headers.etag } }));
    expect(known.status).toBe(304);
  });

  it('answers for missing routes and throwing handlers', async () => {
    app.get('/throws', () => {
      throw new Error('thrown');
    });
    app.get('/rejects', async () => {
      throw new Error('rejected');
    });
    app.use((error: Error, _incoming: Request, response: Response, _next: NextFunction) => {
      response.status(503).send(error.message);
    });
    expect((await exchange(to('/missing'))).status).toBe(404);
    for (const [path, message] of [
      ['/throws', 'thrown'],
      ['/rejects', 'rejected'],
    ]) {
      const { status, body } = await exchange(to(path));
      expect([status, String(body)]).toEqual([503, message]);
    }
  });

  it('refuses what is not HTTP', async () => {
    const socket = nodes.joiner.dial('web');
    socket.end('no HTTP at all\r\n\r\n');
    const [head] = await within('the refusal', once(socket, 'data'));
    expect(String(head)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    await within('the close', once(socket.resume(), 'close'));
  });

  it('continues a request that expects 100-continue', async () => {
    app.put('/', async (incoming, response) => {
      response.send(await digestOf(incoming));
    });
    const outgoing = request(to('/', { method: 'PUT', headers: { expect: '100-continue' } }));
    const answer = answerTo(outgoing);
    outgoing.flushHeaders();
    await within('100 Continue', once(outgoing, 'continue'));
    outgoing.end('the body');
    expect((await answer).status).toBe(200);
  });

  it('is notified when a client disconnects', async () => {
    const gone = new Promise<boolean>((resolve) => {
      app.get('/', (_incoming, response) => {
        response.once('close', () => resolve(response.writableFinished));
        response.write('the beginning');
      });
    });
    const outgoing = request(to('/')).end();
    await headOf(outgoing);
    outgoing.destroy();
    expect(await within('the close', gone)).toBe(false);
  });

  it('is notified when a client disconnects in the middle of its body', async () => {
    const failed = new Promise<Error>((resolve) => {
      app.put('/', (incoming) => {
        incoming.once('error', resolve).resume();
        incoming.once('data', () => outgoing.destroy());
      });
    });
    const outgoing = request(to('/', { method: 'PUT' })).on('error', () => {});
    outgoing.write('the beginning');
    expect(await within('the error', failed)).toMatchObject({ code: 'ECONNRESET', message: 'aborted' });
  });

  it('fails the request when the response is cut off', async () => {
    app.get('/', (_incoming, response) => {
      response.write('the beginning', () => response.destroy());
    });
    const incoming = await headOf(request(to('/')).end());
    await within('the error', expect(digestOf(incoming)).rejects.toMatchObject({ code: 'ECONNRESET' }));
  });

  it('fails at both ends when the link is lost', async () => {
    const closed = new Promise<void>((resolve) => {
      app.get('/', (_incoming, response) => {
        response.once('close', resolve).write('the beginning');
      });
    });
    const incoming = await headOf(request(to('/')).end());
    const failed = expect(digestOf(incoming)).rejects.toMatchObject({ code: 'ECONNRESET' });
    nodes.cut();
    await within('the error', failed);
    await within('the close', closed);
  });

  it('hands the socket over at an upgrade', async () => {
    server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      expect(incoming.headers.upgrade).toBe('echo');
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
      socket.unshift(head);
      socket.pipe(socket);
    });
    const outgoing = request(to('/', { headers: { connection: 'Upgrade', upgrade: 'echo' } }));
    const upgraded = once(outgoing, 'upgrade') as Promise<[IncomingMessage, Duplex, Buffer]>;
    outgoing.end();
    const [, socket, head] = await within('the upgrade', upgraded);
    expect(head).toHaveLength(0);
    const { source, digest } = randomSource(4 * MIB);
    const sending = pipeline(source, socket);
    expect(await within('the echo', digestOf(socket))).toBe(digest());
    await sending;
  });

  it('closes idle connections by closeIdleConnections', async () => {
    app.get('/', (_incoming, response) => {
      response.send('here');
    });
    const pool = agent();
    await exchange({ agent: pool, path: '/' });
    const closed = emitted(pool.dialled[0], 'close');
    server.closeIdleConnections();
    await within('the close', closed, 2000); // Sooner than the end of an idle socket.
  });
});
