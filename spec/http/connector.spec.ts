import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { Socket as NetSocket } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Agent, fetch, type RequestInit, request, stream, upgrade, WebSocket } from 'undici';
import { WebSocketServer } from 'ws';
import { type ConnectorOptions, type ConnectRequest, connector } from '../../lib/http/index.js';
import { createNode, type Socket } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { type NodePair, nodePair, readAll } from '../support/socket-pair.js';
import { turn, turnsUntil } from '../support/turns.js';

let pair: NodePair;
let dispatchers: Agent[];
beforeEach(async () => {
  watchHandles();
  pair = await nodePair();
  dispatchers = [];
});
afterEach(async () => {
  for (const dispatcher of dispatchers) await dispatcher.destroy();
  await pair[Symbol.asyncDispose]();
  await nothingLeft();
});

function makeDispatcher(options?: ConnectorOptions, own: Agent.Options = {}): Agent {
  const made = new Agent({ ...own, connect: connector(pair.client, options) });
  dispatchers.push(made);
  return made;
}

type Handler = (message: IncomingMessage, response: ServerResponse) => void;

async function serve(address: string, handler: Handler): Promise<{ server: Server; sockets: Socket[] }> {
  const server = createServer(handler);
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket as unknown as Socket));
  pair.server.bind(address, server);
  await pair.client.waitFor(address);
  return { server, sockets };
}

const sayWhere: Handler = (message, response) => response.end(`${message.headers.host}${message.url}`);

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** How a request fails: fetch hides that in the cause of its own error. */
async function failureOf(answer: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  const error = await within(
    'an error',
    answer.then(
      () => new Error('there is an answer'),
      (failure: Error) => failure,
    ),
  );
  return (error.cause ?? error) as NodeJS.ErrnoException;
}

describe('undici over a connector', () => {
  it('requests by the name of the service, and a port that is not 80', async () => {
    await serve('web', sayWhere);
    await serve('shop:8080', sayWhere);
    const dispatcher = makeDispatcher();
    for (const [url, text] of [
      ['http://web/a?b', 'web/a?b'],
      ['http://web:80/', 'web/'],
      ['http://shop/', 'shop/'],
      ['http://shop:8080/', 'shop:8080/'],
    ]) {
      const { statusCode, body } = await request(url, { dispatcher });
      expect(statusCode).toBe(200);
      expect(await body.text()).toBe(text);
    }
  });

  it('goes where the option address says', async () => {
    await serve('Web:7', sayWhere);
    const dispatcher = makeDispatcher({ address: ({ hostname, port }) => `${hostname.replace('w', 'W')}:${port - 1}` });
    const { body } = await request('http://web:8/', { dispatcher });
    expect(await body.text()).toBe('web:8/');
  });

  it('keeps its socket for the next request, and the process may end meanwhile', async () => {
    const { sockets } = await serve('web', sayWhere);
    const dispatcher = makeDispatcher();
    const idle = pair.client.stats().holds;
    for (let round = 0; round < 3; round++) {
      const { body } = await request('http://web/', { dispatcher });
      await body.text();
      await turnsUntil('an idle socket', () => pair.client.stats().holds === idle);
    }
    expect(sockets).toHaveLength(1);
  });

  it('pipelines requests on one socket', async () => {
    const responses: ServerResponse[] = [];
    const { sockets } = await serve('web', (_message, response) => responses.push(response));
    const dispatcher = makeDispatcher({}, { pipelining: 2, connections: 1 });
    const both = ['/1', '/2'].map((path) => request(`http://web${path}`, { dispatcher, blocking: false }));
    await turnsUntil('both requests', () => responses.length === 2);
    responses[1].end('two');
    responses[0].end('one');
    const texts = await Promise.all(both.map(async (answer) => (await answer).body.text()));
    expect(texts).toEqual(['one', 'two']);
    expect(sockets).toHaveLength(1);
  });

  it('streams large bodies both ways at once', async () => {
    await serve('web', (message, response) => message.pipe(response));
    const sent = randomBytes(4 * 1024 * 1024);
    const received = new PassThrough();
    const read = readAll(received);
    await within(
      'the stream',
      stream('http://web/', { dispatcher: makeDispatcher(), method: 'POST', body: sent }, () => received),
    );
    expect(digest(await read)).toBe(digest(sent));
  });

  it('makes the server wait while the body is not read', async () => {
    let sent = 0;
    let isWaiting = false;
    await serve('web', async (_message, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      for (; sent < 64 * 1024 * 1024; sent += chunk.length) {
        if (response.write(chunk)) continue;
        isWaiting = true;
        await once(response, 'drain');
        isWaiting = false;
      }
      response.end();
    });
    const { body } = await request('http://web/', { dispatcher: makeDispatcher() });
    await turnsUntil('a full socket', () => isWaiting);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    let bytes = 0;
    for await (const chunk of body) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(64 * 1024 * 1024);
  });

  it('hands over the socket of an upgrade', async () => {
    const { server } = await serve('web', () => {});
    server.on('upgrade', (_message, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
      socket.pipe(socket);
    });
    const { socket } = await upgrade('http://web/', { dispatcher: makeDispatcher(), protocol: 'echo' });
    const echoed = readAll(socket);
    socket.end('echo me');
    expect(`${await within('the echo', echoed)}`).toBe('echo me');
  });

  it('speaks WebSocket with an unchanged server', async () => {
    const { server } = await serve('web', () => {});
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) =>
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    );
    const socket = new WebSocket('ws://web/', { dispatcher: makeDispatcher() });
    socket.binaryType = 'arraybuffer';
    await within('the opening', once(socket as unknown as EventTarget as never, 'open'));
    const answers: unknown[] = [];
    socket.addEventListener('message', ({ data }) => answers.push(data));
    const large = randomBytes(300_000);
    socket.send('text');
    socket.send(large);
    await turnsUntil('two messages', () => answers.length === 2);
    expect(answers[0]).toBe('text');
    expect(Buffer.from(answers[1] as ArrayBuffer).equals(large)).toBe(true);
    const closed = once(socket as unknown as EventTarget as never, 'close');
    socket.close(1000);
    await within('the close', closed);
    sockets.close();
  });

  it('speaks HTTP/2 without TLS with useH2c', async () => {
    const server = createHttp2Server((message, response) => response.end(`${message.httpVersion} ${message.url}`));
    pair.server.bind('web', server as unknown as Server);
    await pair.client.waitFor('web');
    const dispatcher = makeDispatcher({ useH2c: true }, { allowH2: true, connections: 1 });
    const answers = await Promise.all(['/1', '/2', '/3'].map((path) => request(`http://web${path}`, { dispatcher })));
    expect(await Promise.all(answers.map(({ body }) => body.text()))).toEqual(['2.0 /1', '2.0 /2', '2.0 /3']);
    expect(pair.client.stats().dials.started).toBe(1);
  });

  it('ends a request that is aborted, at the server too', async () => {
    const { sockets } = await serve('web', (_message, response) => response.write('a part'));
    const controller = new AbortController();
    const { body } = await request('http://web/', { dispatcher: makeDispatcher(), signal: controller.signal });
    const closed = new Promise((resolve) => sockets[0].on('error', () => {}).once('close', resolve));
    controller.abort();
    expect(await failureOf(body.text())).toMatchObject({ name: 'AbortError' });
    await within('the close at the server', closed);
  });

  it('sees a server that breaks off in the middle of the body', async () => {
    await serve('web', (message, response) => response.write('a part', () => message.socket.destroy()));
    const { body } = await request('http://web/', { dispatcher: makeDispatcher() });
    expect((await failureOf(body.text())).code).toMatch(/^(UND_ERR_SOCKET|ECONNRESET)$/);
  });
});

describe('fetch over a connector', () => {
  it('gets and posts by the name of the service', async () => {
    await serve('web', async (message, response) => {
      response.setHeader('X-Method', message.method as string);
      response.end(`${message.url} ${await readAll(message)}`);
    });
    const dispatcher = makeDispatcher();
    expect(await (await fetch('http://web/one', { dispatcher })).text()).toBe('/one ');
    const body = Readable.from([Buffer.from('in '), Buffer.from('parts')]);
    const answer = await fetch('http://web/two', { dispatcher, method: 'POST', body, duplex: 'half' });
    expect(answer.headers.get('x-method')).toBe('POST');
    expect(await answer.text()).toBe('/two in parts');
  });

  it('follows redirects to other services', async () => {
    await serve('old', (_message, response) => response.writeHead(302, { Location: 'http://new/there' }).end());
    await serve('new', sayWhere);
    const answer = await fetch('http://old/', { dispatcher: makeDispatcher() });
    expect(await answer.text()).toBe('new/there');
    expect(answer.url).toBe('http://new/there');
  });

  it('has the error of the dial as its cause', async () => {
    const dispatcher = makeDispatcher({ timeout: 20 });
    expect(await failureOf(fetch('http://nobody:81/', { dispatcher }))).toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'connect',
      address: 'nobody',
      port: 81,
    });
  });

  it('is aborted by its signal', async () => {
    await serve('web', () => {});
    const controller = new AbortController();
    const answer = fetch('http://web/', { dispatcher: makeDispatcher(), signal: controller.signal });
    await turn();
    controller.abort();
    expect(await failureOf(answer)).toMatchObject({ name: 'AbortError' });
  });

  it('may be the global one of Node', async () => {
    await serve('web', sayWhere);
    const dispatcher = makeDispatcher();
    const answer = await globalThis.fetch('http://web/global', { dispatcher } as RequestInit as never);
    expect(await answer.text()).toBe('web/global');
  });
});

describe('a connector', () => {
  const plain: ConnectRequest = { hostname: 'web', host: 'web', protocol: 'http:', port: '' };

  /** Every call of the callback. */
  function calls(options: ConnectorOptions, what: ConnectRequest, node = pair.client): Array<[unknown, unknown]> {
    const seen: Array<[unknown, unknown]> = [];
    connector(node, options)(what, (error, socket) => seen.push([error, socket]));
    return seen;
  }

  it('calls back with a socket that is connected, and only once', async () => {
    const { sockets } = await serve('web', sayWhere);
    const seen = calls({}, plain);
    expect(seen).toEqual([]);
    await turnsUntil('the callback', () => seen.length > 0);
    const [[error, socket]] = seen as [[null, NetSocket]];
    expect(error).toBeNull();
    expect(socket.connecting).toBe(false);
    await turnsUntil('the other end', () => sockets.length > 0);
    // Only the connector listens yet.
    sockets[0].resetAndDestroy();
    await within('the close', new Promise((resolve) => socket.once('close', resolve)));
    expect(seen).toHaveLength(1);
  });

  it.each([
    ['ENOTFOUND', { dial: { timeoutMs: 20 } }, { hostname: 'nobody' }],
    ['ENOTFOUND', { timeout: 20 }, { hostname: 'nobody' }],
    ['EHOSTUNREACH', { address: () => '@AAAAAAAAAAA:1' }, {}],
    ['ECONNREFUSED', { address: () => `@${pair.server.id}:1` }, {}],
    ['ERR_STARLANE_ADDRESS', {}, { hostname: '::1' }],
    ['ERR_STARLANE_ADDRESS', {}, { hostname: '::1', protocol: 'https:' }],
  ])('calls back with the error of the dial, %s, only once', async (code, options, what) => {
    const seen = calls(options, { ...plain, ...what });
    await turnsUntil('the callback', () => seen.length > 0);
    await turn();
    expect(seen).toEqual([[expect.objectContaining({ code }), null]]);
  });

  it('calls back with ECANCELED when the node is closed', async () => {
    const node = createNode();
    await node.close();
    const seen = calls({}, plain, node);
    await turnsUntil('the callback', () => seen.length > 0);
    expect(seen).toEqual([[expect.objectContaining({ code: 'ECANCELED' }), null]]);
  });
});
