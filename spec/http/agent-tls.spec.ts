import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type Agent, createServer as createHttpServer, type IncomingMessage, type RequestOptions } from 'node:http';
import { createServer, type RequestOptions as HttpsRequestOptions, type Server, type ServerOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type AgentOptions, agent, type HttpTarget } from '../../lib/http/index.js';
import type { Socket } from '../../lib/index.js';
import { type Certificate, certificateFor } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { closeOf, type NodePair, nodePair, readAll } from '../support/socket-pair.js';
import { turn, turnsUntil } from '../support/turns.js';
import { CARRIERS, type Carrier } from './carriers.js';
import { ask, exchange, failureOf } from './exchange.js';

let web: Certificate;
let pair: NodePair;
let agents: Agent[];
beforeAll(async () => {
  web = await certificateFor('web');
});
beforeEach(async () => {
  watchHandles();
  pair = await nodePair();
  agents = [];
});
afterEach(async () => {
  for (const made of agents) made.destroy();
  await pair[Symbol.asyncDispose]();
  await nothingLeft();
});

function makeAgent(options?: AgentOptions): Agent {
  const made = agent(pair.client, options);
  agents.push(made);
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

/** Options of https that the types of http lack. */
function secure(options: HttpsRequestOptions): RequestOptions {
  return { protocol: 'https:', ...options };
}

describe('an agent over TLS', () => {
  it('gets a page by the name of its service', async () => {
    await serve('web');
    const { body, socket } = await exchange('https://web/path', { agent: makeAgent({ ca: web.cert }) });
    expect(body).toBe('web/path');
    expect((socket as TLSSocket).authorized).toBe(true);
    expect((socket as TLSSocket).encrypted).toBe(true);
  });

  it('is the agent for requests without TLS too, each with sockets of its own', async () => {
    const plain = createHttpServer((message, response) => response.end(`plain ${message.headers.host}`));
    pair.server.bind('plain:82', plain);
    await serve('secure:82');
    const address = ({ protocol }: HttpTarget): string => (protocol === 'http:' ? 'plain:82' : 'secure:82');
    const made = makeAgent({ ca: web.cert, address });
    for (let round = 0; round < 2; round++) {
      const unsecured = await exchange('http://web:8443/', { agent: made });
      const secured = await exchange('https://web:8443/', { agent: made });
      expect([unsecured.body, secured.body]).toEqual(['plain web:8443', 'web:8443/']);
      expect([unsecured.request.reusedSocket, secured.request.reusedSocket]).toEqual([round > 0, round > 0]);
    }
  });

  it('goes to 80 without TLS and to 443 with it where a name is bound at both, and further ports', async () => {
    for (const port of [1, 80, 444]) {
      pair.server.bind(
        `web:${port}`,
        createHttpServer((_message, response) => response.end(`plain ${port}`)),
      );
    }
    await serve('web:443');
    await turnsUntil('all of them', () => pair.client.services().length === 4);
    const made = makeAgent({ ca: web.cert, keepAlive: false });
    for (let round = 0; round < 10; round++) {
      expect((await exchange('http://web/', { agent: made })).body).toBe('plain 80');
      expect((await exchange('https://web/', { agent: made })).body).toBe('web/');
    }
  });

  it('finds a service at any port when the request says 443 or none, and does not write it into the Host header', async () => {
    await serve('web:7');
    const made = makeAgent({ ca: web.cert });
    for (const url of ['https://web/', 'https://web:443/']) {
      expect((await exchange(url, { agent: made })).body).toBe('web/');
    }
    expect((await exchange(secure({ host: 'web', port: 443, agent: made }))).body).toBe('web/');
    expect(Object.values(made.freeSockets).flat()).toHaveLength(1);
  });

  it('says another port with the name, and in the Host header', async () => {
    await serve('web:8443');
    expect((await exchange('https://web:8443/', { agent: makeAgent({ ca: web.cert }) })).body).toBe('web:8443/');
  });

  it('leaves a Host header alone that the request brings, or that has been written already', async () => {
    await serve('web');
    const own = secure({ host: 'web', port: 443, agent: makeAgent({ ca: web.cert }) });
    expect((await exchange({ ...own, headers: { Host: 'WEB:443' } })).body).toBe('WEB:443/');
    expect((await exchange({ ...own, headers: ['Host', 'web:443'] })).body).toBe('web:443/');
    expect((await exchange({ ...own, headers: { Expect: '100-continue' } })).body).toBe('web:443/');
  });

  it('trusts no certificate by default', async () => {
    await serve('web');
    const error = await failureOf(ask('https://web/', { agent: makeAgent() }).end());
    expect(error).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    const lenient = makeAgent({ rejectUnauthorized: false });
    expect((await exchange('https://web/', { agent: lenient })).body).toBe('web/');
  });

  it('checks that the certificate is for the host of the URL, or for servername', async () => {
    await serve('shop');
    const error = await failureOf(ask('https://shop/', { agent: makeAgent({ ca: web.cert }) }).end());
    expect(error).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    const trusting = makeAgent({ ca: web.cert, servername: 'web' });
    expect((await exchange('https://shop/', { agent: trusting })).body).toBe('shop/');
  });

  it('shows its own certificate to a server that asks for one', async () => {
    const client = await certificateFor('client');
    const { sockets } = await serve('web', { requestCert: true, ca: client.cert });
    await exchange('https://web/', { agent: makeAgent({ ca: web.cert, ...client }) });
    expect(sockets[0].getPeerCertificate().subject.CN).toBe('client');
    const stranger = makeAgent({ ca: web.cert });
    expect(await failureOf(ask('https://web/', { agent: stranger }).end())).toMatchObject({
      code: expect.stringMatching(/^(ERR_SSL_|ECONNRESET|EPIPE)/),
    });
  });

  it.each([
    [100, true],
    [0, false],
  ])('resumes sessions on further sockets with maxCachedSessions %i: %s', async (maxCachedSessions, isReused) => {
    await serve('web');
    const made = makeAgent({ ca: web.cert, keepAlive: false, maxCachedSessions });
    const first = ask('https://web/', { agent: made });
    const socket = once(first, 'socket') as Promise<[TLSSocket]>;
    const session = socket.then(([own]) => once(own, 'session'));
    first.end();
    const [response] = (await within('the response', once(first, 'response'))) as [IncomingMessage];
    await within('a session', session);
    await readAll(response);
    const second = ask('https://web/', { agent: made }).end();
    const [other] = (await within('the other response', once(second, 'response'))) as [IncomingMessage];
    expect((other.socket as TLSSocket).isSessionReused()).toBe(isReused);
    await readAll(other);
  });

  it('does not hold the process open while its sockets are free, and does while one is used', async () => {
    const responses: Array<{ end(): void }> = [];
    const server = createServer(web, (_message, response) => responses.push(response));
    pair.server.bind('web', server);
    const holds = (): number => pair.client.stats().holds;
    const made = makeAgent({ ca: web.cert });
    const idle = holds();
    for (const index of [0, 1]) {
      const answer = exchange('https://web/', { agent: made });
      await turnsUntil('the request', () => responses.length > index);
      expect(holds()).toBe(idle + 1);
      responses[index].end();
      expect((await answer).request.reusedSocket).toBe(index === 1);
      expect(holds()).toBe(idle);
    }
  });

  it('closes a free socket that receives unexpected data', async () => {
    const { sockets } = await serve('web');
    const { socket } = await exchange('https://web/', { agent: makeAgent({ ca: web.cert }) });
    const closed = once(socket, 'close');
    sockets[0].write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
    await within('the close', closed);
  });

  it('takes the end of the server in order, and closes without an error', async () => {
    const { sockets } = await serve('web');
    const { socket } = await exchange('https://web/', { agent: makeAgent({ ca: web.cert }) });
    const closed = closeOf(socket as unknown as Socket);
    sockets[0].end();
    expect(await within('the close', closed)).toBe(false);
  });

  it('closes free sockets that are idle for its timeout', async () => {
    await serve('web');
    const { socket } = await exchange('https://web/', { agent: makeAgent({ ca: web.cert, timeout: 50 }) });
    await within('the close', once(socket, 'close'));
  });

  it('hands over the socket of an upgrade', async () => {
    const { server } = await serve('web');
    server.on('upgrade', (_message, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n');
      socket.pipe(socket);
    });
    const headers = { Connection: 'Upgrade', Upgrade: 'echo' };
    const request = ask('https://web/', { agent: makeAgent({ ca: web.cert }), headers }).end();
    const [, socket] = (await within('the upgrade', once(request, 'upgrade'))) as [IncomingMessage, Duplex];
    const echoed = readAll(socket);
    socket.end('echo me');
    expect(`${await within('the echo', echoed)}`).toBe('echo me');
  });

  it('carries large bodies both ways', async () => {
    const large = randomBytes(3 * 1024 * 1024);
    const server = createServer(web, (message, response) => message.pipe(response));
    pair.server.bind('web', server);
    const request = ask('https://web/', { agent: makeAgent({ ca: web.cert }), method: 'POST' }).end(large);
    const [response] = (await within('the response', once(request, 'response'))) as [IncomingMessage];
    expect((await within('the body', readAll(response))).equals(large)).toBe(true);
  });

  it('fails with ENOTFOUND when no node offers the service in time', async () => {
    const made = makeAgent({ dial: { timeoutMs: 20 } });
    const error = await failureOf(ask('https://nobody/', { agent: made }).end());
    expect(error).toMatchObject({ code: 'ENOTFOUND', syscall: 'connect', address: 'nobody' });
  });

  it('throws at once what tls does not take, and leaves no socket behind', async () => {
    await serve('web');
    const made = makeAgent({ cert: 'no certificate' });
    const before = pair.client.stats().holds;
    expect(() => ask('https://web/', { agent: made })).toThrow();
    expect(pair.client.stats().holds).toBe(before);
  });

  it('emits the timeout of its agent', async () => {
    const server = createServer(web, () => {});
    pair.server.bind('web', server);
    const request = ask('https://web/', { agent: makeAgent({ ca: web.cert, timeout: 50 }) }).end();
    await within('the timeout', once(request, 'timeout'));
    request.on('error', () => {}).destroy();
  });

  it('emits a timeout during the handshake', async () => {
    pair.server.bind('silent', (socket) => socket.resume().on('error', () => {}));
    const request = ask('https://silent/', { agent: makeAgent(), timeout: 30 });
    request.end();
    await within('the timeout', once(request, 'timeout'));
    const failed = failureOf(request);
    request.destroy();
    expect(await failed).toMatchObject({ code: 'ECONNRESET', message: 'socket hang up' });
  });
});

describe('a request over TLS that fails', () => {
  const carriers: Carrier[] = [];
  beforeEach(async () => {
    for (const { open } of CARRIERS) carriers.push(await open());
  });
  afterEach(async () => {
    for (const carrier of carriers.splice(0)) await carrier[Symbol.asyncDispose]();
  });

  /** The code and the message of the error, over node:net and over a service. */
  async function errorsOf(prepare: (carrier: Carrier) => Promise<RequestOptions>): Promise<string[]> {
    const errors: string[] = [];
    for (const carrier of carriers) {
      const request = ask(secure({ ...(await prepare(carrier)), agent: carrier.secureAgent() }));
      const { code, message, syscall } = await failureOf(request.end());
      errors.push(syscall === undefined ? `${code} ${message.replace(/^[0-9A-F]+:/, '')}` : `${syscall} ${code}`);
    }
    return errors;
  }

  it('because it is refused, has the same code as over node:net', async () => {
    const [expected, found] = await errorsOf(async (carrier) => ({ ...(await carrier.nowhere()) }));
    expect(expected).toBe('connect ECONNREFUSED');
    expect(found).toBe(expected);
  });

  it('because the server speaks no TLS, fails once, with the code of a failed write or of the failed read', async () => {
    for (const carrier of carriers) {
      const place = await carrier.serve(createHttpServer());
      const request = ask(secure({ ...place, agent: carrier.secureAgent() }));
      const codes: string[] = [];
      request.on('error', ({ code }: NodeJS.ErrnoException) => codes.push(`${code}`));
      const closed = new Promise((resolve) => request.on('close', resolve));
      request.end();
      await within('the close', closed);
      await turn();
      expect(codes).toHaveLength(1);
      expect(codes[0]).toMatch(/^(EPROTO|ERR_SSL_WRONG_VERSION_NUMBER)$/);
    }
  });

  it('because the server closes in the middle of the handshake, has the same code as over node:net', async () => {
    const [expected, found] = await errorsOf(async (carrier) => {
      const server = createHttpServer();
      server.removeAllListeners('connection');
      server.on('connection', (socket: Duplex) => socket.on('error', () => {}).once('data', () => socket.end()));
      return { ...(await carrier.serve(server)) };
    });
    expect(expected).toContain('ECONNRESET');
    expect(found).toBe(expected);
  });
});
