import { once } from 'node:events';
import { createSecureServer as createHttp2Server } from 'node:http2';
import { createServer, type Server, type ServerOptions } from 'node:https';
import type { Socket as NetSocket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Agent, fetch, request, WebSocket } from 'undici';
import { WebSocketServer } from 'ws';
import { type ConnectorOptions, type ConnectRequest, connector } from '../../lib/http/index.js';
import type { Socket } from '../../lib/index.js';
import { type Certificate, certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { closeOf, type NodePair, nodePair } from '../support/socket-pair.js';
import { turn, turnsUntil } from '../support/turns.js';

let web: Certificate;
let pair: NodePair;
let dispatchers: Agent[];
beforeAll(async () => {
  web = await certificateFor('web');
});
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

/** Serves by name over TLS; the sockets that the server gets are in `sockets`. */
async function serve(address: string, options: ServerOptions = {}): Promise<{ server: Server; sockets: TLSSocket[] }> {
  const server = createServer({ ...web, ...options }, (message, response) => {
    response.end(`${message.headers.host}${message.url}`);
  });
  const sockets: TLSSocket[] = [];
  server.on('secureConnection', (socket) => sockets.push(socket));
  pair.server.bind(address, server);
  await pair.client.waitFor(address);
  return { server, sockets };
}

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

describe('undici over a connector with TLS', () => {
  it('requests and fetches by the name of the service, and a port that is not 443', async () => {
    await serve('web');
    const dispatcher = makeDispatcher({ ca: web.cert });
    const { body } = await request('https://web/a', { dispatcher });
    expect(await body.text()).toBe('web/a');
    expect(await (await fetch('https://web:443/b', { dispatcher })).text()).toBe('web/b');
    expect(await (await fetch('https://web:8443/c', { dispatcher })).text()).toBe('web:8443/c');
  });

  it('trusts no certificate by default, and checks the name', async () => {
    await serve('web');
    await serve('shop');
    expect(await failureOf(request('https://web/', { dispatcher: makeDispatcher() }))).toMatchObject({
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    });
    const dispatcher = makeDispatcher({ ca: web.cert });
    expect(await failureOf(fetch('https://shop/', { dispatcher }))).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
  });

  it('asks for the certificate of the Host header, or of its option servername', async () => {
    const { sockets } = await serve('shop');
    const plain = await request('https://shop/', {
      dispatcher: makeDispatcher({ ca: web.cert }),
      headers: { host: 'web' },
    });
    await plain.body.dump();
    expect(sockets[0].servername).toBe('web');
    const trusted = await request('https://shop/', { dispatcher: makeDispatcher({ ca: web.cert, servername: 'web' }) });
    await trusted.body.dump();
    expect(sockets[1].servername).toBe('web');
  });

  it.each([
    [100, [false, true]],
    [0, [false, false]],
  ])('resumes sessions with maxCachedSessions %i', async (maxCachedSessions, reused) => {
    const { server } = await serve('web');
    const seen: boolean[] = [];
    server.on('secureConnection', (socket: TLSSocket) => seen.push(socket.isSessionReused()));
    // A socket for each request.
    const dispatcher = makeDispatcher({ ca: web.cert, maxCachedSessions }, { pipelining: 0, maxRequestsPerClient: 1 });
    for (const _round of reused) await (await request('https://web/', { dispatcher })).body.text();
    expect(seen).toEqual(reused);
  });

  it('lets the process end while its socket is idle', async () => {
    await serve('web');
    const dispatcher = makeDispatcher({ ca: web.cert });
    const idle = pair.client.stats().holds;
    for (let round = 0; round < 2; round++) {
      const answer = request('https://web/', { dispatcher });
      await turnsUntil('a busy socket', () => pair.client.stats().holds > idle);
      await (await answer).body.text();
      await turnsUntil('an idle socket', () => pair.client.stats().holds === idle);
    }
  });

  it.each([
    ['the connector', { allowH2: true }, {}],
    ['the dispatcher', {}, { allowH2: true }],
  ])('speaks HTTP/2 where %s allows it', async (_who, options, own) => {
    const server = createHttp2Server(web, (message, response) => response.end(`${message.httpVersion} ${message.url}`));
    pair.server.bind('web', server as unknown as Server);
    await pair.client.waitFor('web');
    const dispatcher = makeDispatcher({ ca: web.cert, ...options }, { ...own, connections: 1 });
    const answers = await Promise.all(['/1', '/2', '/3'].map((path) => request(`https://web${path}`, { dispatcher })));
    expect(await Promise.all(answers.map(({ body }) => body.text()))).toEqual(['2.0 /1', '2.0 /2', '2.0 /3']);
    expect(pair.client.stats().dials.started).toBe(1);
  });

  it('says that the server broke off when it closes an HTTP/2 socket in the middle of the answer', async () => {
    const server = createHttp2Server(web, (_message, response) => response.write('a part'));
    let far: TLSSocket | undefined;
    server.on('secureConnection', (socket) => {
      far = socket;
    });
    pair.server.bind('web', server as unknown as Server);
    await pair.client.waitFor('web');
    const { body } = await request('https://web/', { dispatcher: makeDispatcher({ ca: web.cert, allowH2: true }) });
    const failed = failureOf(body.text());
    await turn();
    far?.destroy();
    expect(await failed).toMatchObject({ code: 'UND_ERR_SOCKET' });
  });

  it('speaks HTTP/1 to a server of both by default', async () => {
    const server = createHttp2Server({ ...web, allowHTTP1: true }, (message, response) =>
      response.end(message.httpVersion),
    );
    pair.server.bind('web', server as unknown as Server);
    const { body } = await request('https://web/', { dispatcher: makeDispatcher({ ca: web.cert }) });
    expect(await body.text()).toBe('1.1');
  });

  it('speaks WebSocket with an unchanged server', async () => {
    const { server } = await serve('web');
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`${data}!`)));
    const socket = new WebSocket('wss://web/', { dispatcher: makeDispatcher({ ca: web.cert }) });
    const answer = new Promise((resolve) => socket.addEventListener('message', ({ data }) => resolve(data)));
    const closed = new Promise((resolve) => socket.addEventListener('close', resolve));
    socket.addEventListener('open', () => socket.send('hello'));
    expect(await within('the answer', answer)).toBe('hello!');
    socket.close();
    await within('the close', closed);
    sockets.close();
  });
});

describe('a connector with TLS', () => {
  const secure: ConnectRequest = { hostname: 'web', host: 'web', protocol: 'https:', port: '' };

  /** Every call of the callback. */
  function calls(options: ConnectorOptions, what: ConnectRequest = secure): Array<[Error | null, TLSSocket | null]> {
    const seen: Array<[Error | null, TLSSocket | null]> = [];
    connector(pair.client, options)(what, (error, socket) => seen.push([error, socket as TLSSocket | null]));
    return seen;
  }

  it('calls back when the handshake is done', async () => {
    await serve('web');
    const seen = calls({ ca: web.cert });
    await turnsUntil('the callback', () => seen.length > 0);
    expect(seen).toEqual([[null, expect.objectContaining({ authorized: true, alpnProtocol: 'http/1.1' })]]);
    seen[0][1]?.destroy();
  });

  it('leaves no timer behind when the handshake is done', async () => {
    await serve('web');
    const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
    const before = timers();
    const seen = calls({ ca: web.cert });
    await turnsUntil('the callback', () => seen.length > 0);
    seen[0][1]?.destroy();
    await turnsUntil('the end of all timers', () => timers() === before);
  });

  it('forgets the session of a socket that ends with an error', async () => {
    const { server } = await serve('web');
    const reused: boolean[] = [];
    server.on('secureConnection', (socket) => reused.push(socket.isSessionReused()));
    const carriers: Socket[] = [];
    server.on('connection', (socket) => carriers.push(socket as unknown as Socket));
    const connect = connector(pair.client, { ca: web.cert });
    for (let round = 0; round < 2; round++) {
      const opened = new Promise<TLSSocket>((resolve, reject) => {
        connect(secure, (error, socket) => (error === null ? resolve(socket as TLSSocket) : reject(error)));
      });
      const socket = await within('the socket', opened);
      // Sessions of TLS 1.3 arrive after the handshake, when the socket is read.
      const session = once(socket, 'session');
      socket.resume();
      await within('a session', session);
      const closed = closeOf(socket as unknown as Socket);
      carriers[round].resetAndDestroy();
      expect(await within('the close', closed)).toBe(true);
    }
    expect(reused).toEqual([false, false]);
  });

  it('begins TLS on the socket that it is given', async () => {
    await serve('web');
    const httpSocket = pair.client.dial('web') as unknown as NetSocket;
    const seen = calls({ ca: web.cert }, { ...secure, httpSocket });
    await turnsUntil('the callback', () => seen.length > 0);
    expect(seen[0][0]).toBeNull();
    expect(pair.client.stats().dials.started).toBe(1);
    seen[0][1]?.destroy();
    await turnsUntil('the close of both', () => httpSocket.destroyed);
  });

  it('gives up a handshake that does not end, with ETIMEDOUT', async () => {
    pair.server.bind('web', (socket) => socket.resume().on('error', () => {}));
    await pair.client.waitFor('web');
    const seen = calls({ timeout: 30 });
    await turnsUntil('the callback', () => seen.length > 0, 10_000_000);
    await turn();
    expect(seen).toEqual([
      [expect.objectContaining({ code: 'ETIMEDOUT', syscall: 'connect', address: 'web', port: 443 }), null],
    ]);
  });

  it.each([
    ['ENOTFOUND', { dial: { timeoutMs: 20 } }, { hostname: 'nobody' }],
    ['ECONNREFUSED', { address: () => `@${pair.server.id}:1` }, {}],
    ['EHOSTUNREACH', { address: () => '@AAAAAAAAAAA:1' }, {}],
  ])('calls back with the error of the dial, %s, only once', async (code, options, what) => {
    const seen = calls(options, { ...secure, ...what });
    await turnsUntil('the callback', () => seen.length > 0, 10_000_000);
    await turn();
    expect(seen).toEqual([[expect.objectContaining({ code }), null]]);
  });

  it('calls back with ECONNRESET when the server closes in the middle of the handshake', async () => {
    pair.server.bind('web', (socket) => socket.on('error', () => {}).once('data', () => socket.end()));
    const seen = calls({});
    await turnsUntil('the callback', () => seen.length > 0);
    await turn();
    expect(seen).toEqual([[expect.objectContaining({ code: 'ECONNRESET' }), null]]);
  });

  it('calls back with what tls does not take, and leaves no socket behind', async () => {
    const before = pair.client.stats().holds;
    const seen = calls({ cert: 'no certificate' });
    expect(seen).toEqual([]);
    await turnsUntil('the callback', () => seen.length > 0);
    expect(seen).toEqual([[expect.objectContaining({ code: 'ERR_OSSL_PEM_NO_START_LINE' }), null]]);
    expect(pair.client.stats().holds).toBe(before);
  });
});
