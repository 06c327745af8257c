// An unchanged http.Server given to bind. What is said here of both carriers is what Node's server does on its own sockets.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { BindOptions } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { readAll } from '../support/socket-pair.js';
import { CARRIERS, type Carrier, type Place } from './carriers.js';
import { answerTo, ask, exchange, failureOf, readUntil } from './exchange.js';

const LARGE_BYTES = 4 * 1024 * 1024;

/** Resolved when the other end has closed `socket`; it is read to see it. */
function closedByPeer(socket: Duplex): Promise<unknown> {
  socket.resume();
  return within('the end of a socket', socket.closed ? Promise.resolve([]) : once(socket, 'close'));
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe.each(CARRIERS)('an http.Server over $name', ({ name, open }) => {
  let carrier: Carrier;
  beforeEach(async () => {
    watchHandles();
    carrier = await open();
  });
  afterEach(async () => {
    await carrier[Symbol.asyncDispose]();
    await nothingLeft();
  });

  type Handler = (message: IncomingMessage, response: ServerResponse) => void;
  async function serve(handler: Handler, options: ServerOptions = {}): Promise<{ server: Server; place: Place }> {
    const server = createServer(options, handler);
    return { server, place: await carrier.serve(server) };
  }

  it('answers one request after the other on the same socket', async () => {
    const { place } = await serve((message, response) => response.end(`for ${message.url}`));
    const socket = place.connect();
    socket.write('GET /one HTTP/1.1\r\nHost: web\r\n\r\n');
    expect(await readUntil(socket, 'for /one')).toMatch(/^HTTP\/1.1 200 OK\r\n.*Connection: keep-alive\r\n/s);
    socket.write('GET /two HTTP/1.1\r\nHost: web\r\n\r\n');
    await readUntil(socket, 'for /two');
    socket.write('GET /three HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n');
    await readUntil(socket, 'for /three');
    await closedByPeer(socket);
  });

  it('answers pipelined requests in their order, also when the second is ready first', async () => {
    let first: ServerResponse | undefined;
    const { place } = await serve((message, response) => {
      if (message.url === '/one') first = response;
      else {
        response.end('second');
        first?.end('first');
      }
    });
    const socket = place.connect();
    socket.write('GET /one HTTP/1.1\r\nHost: web\r\n\r\nGET /two HTTP/1.1\r\nHost: web\r\n\r\n');
    expect(await readUntil(socket, 'second')).toMatch(/first.*second/s);
    socket.destroy();
  });

  it('hands over the socket of an upgrade, with what came after the handshake', async () => {
    const { server, place } = await serve(() => {});
    server.on('upgrade', (message, socket, head) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${message.headers.upgrade}\r\nConnection: Upgrade\r\n\r\n`,
      );
      socket.write(head);
      socket.on('data', (chunk) => socket.write(chunk));
      socket.on('end', () => socket.end());
    });
    const socket = place.connect();
    socket.write('GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly');
    expect(await readUntil(socket, 'early')).toMatch(/^HTTP\/1.1 101 .*Upgrade: echo\r\n/s);
    socket.write('late');
    await readUntil(socket, 'late');
    socket.end();
    await closedByPeer(socket);
  });

  it('streams a large body both ways at once', async () => {
    const { place } = await serve((message, response) => {
      pipeline(message, response).catch(() => {});
    });
    const sent = randomBytes(LARGE_BYTES);
    const request = ask({ ...place, agent: carrier.agent(), method: 'POST' });
    const answer = once(request, 'response') as Promise<[IncomingMessage]>;
    request.end(sent);
    const [response] = await within('the response', answer);
    expect(response.headers['transfer-encoding']).toBe('chunked');
    expect(digest(await within('the body', readAll(response)))).toBe(digest(sent));
  });

  it('waits for a client that does not read, and continues when it reads', async () => {
    let waited = false;
    const { place } = await serve(async (_message, response) => {
      const chunk = Buffer.alloc(64 * 1024, 1);
      for (let bytes = 0; bytes < 8 * LARGE_BYTES; bytes += chunk.length) {
        if (response.write(chunk)) continue;
        waited = true;
        await once(response, 'drain');
      }
      response.end();
    });
    const request = ask({ ...place, agent: carrier.agent() }).end();
    const [response] = (await within('the response', once(request, 'response'))) as [IncomingMessage];
    let bytes = 0;
    for await (const chunk of response) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(8 * LARGE_BYTES);
    expect(waited).toBe(true);
  });

  it('sees a client go away in the middle of its body', async () => {
    const seen = new Promise<NodeJS.ErrnoException>((resolve) => {
      serve((message) => {
        message.on('error', resolve);
        message.once('data', () => request.destroy());
      }).then(({ place }) => {
        request = ask({ ...place, agent: carrier.agent(), method: 'POST' });
        request.on('error', () => {});
        request.write('a part');
      });
    });
    let request: ReturnType<typeof ask>;
    expect(await within('the error', seen)).toMatchObject({ code: 'ECONNRESET', message: 'aborted' });
  });

  it('sees a client go away in the middle of the answer', async () => {
    let closed: Promise<unknown> | undefined;
    let answer: ServerResponse | undefined;
    const { place } = await serve((_message, response) => {
      answer = response;
      closed = once(response, 'close');
      response.write('a part');
    });
    const request = ask({ ...place, agent: carrier.agent() }).end();
    const [response] = (await within('the response', once(request, 'response'))) as [IncomingMessage];
    response.on('error', () => {});
    response.destroy();
    await within('the close of the response', closed as Promise<unknown>);
    expect(answer?.writableFinished).toBe(false);
  });

  it('can break off in the middle of an answer, which the client sees', async () => {
    const { place } = await serve((message, response) => {
      response.write('a part', () => message.socket.destroy());
    });
    const request = ask({ ...place, agent: carrier.agent() }).end();
    const [response] = (await within('the response', once(request, 'response'))) as [IncomingMessage];
    const error = await within(
      'the error',
      readAll(response).catch((failure: Error) => failure),
    );
    expect(error).toMatchObject({ code: 'ECONNRESET', message: 'aborted' });
    expect(response.complete).toBe(false);
  });

  it('can break off before a response, which the client reports as a hang up', async () => {
    const { place } = await serve((message) => message.socket.destroy());
    const request = ask({ ...place, agent: carrier.agent() });
    const failed = failureOf(request);
    request.end();
    expect(await failed).toMatchObject({ code: 'ECONNRESET', message: 'socket hang up' });
  });

  it('lets a client that expects 100-continue go on', async () => {
    const { place } = await serve(async (message, response) => {
      response.end(`got ${await readAll(message)}`);
    });
    const request = ask({ ...place, agent: carrier.agent(), method: 'PUT', headers: { Expect: '100-continue' } });
    request.flushHeaders();
    await within('the permission', once(request, 'continue'));
    expect((await answerTo(request, 'the body')).body).toBe('got the body');
  });

  it('can refuse a client that expects 100-continue', async () => {
    const { server, place } = await serve(() => {});
    server.on('checkContinue', (_message, response: ServerResponse) => {
      response.writeHead(413, { Connection: 'close' }).end('too much');
    });
    const request = ask({ ...place, agent: carrier.agent(), method: 'PUT', headers: { Expect: '100-continue' } });
    request.flushHeaders();
    const [response] = (await within('the response', once(request, 'response'))) as [IncomingMessage];
    expect(response.statusCode).toBe(413);
    expect(`${await readAll(response)}`).toBe('too much');
    request.destroy();
  });

  it('takes and sends trailers of chunked bodies', async () => {
    const { place } = await serve(async (message, response) => {
      const body = await readAll(message);
      response.writeHead(200, { Trailer: 'X-Out' });
      response.write(body);
      response.addTrailers({ 'X-Out': `${message.trailers['x-in']}!` });
      response.end();
    });
    const request = ask({ ...place, agent: carrier.agent(), method: 'POST', headers: { Trailer: 'X-In' } });
    request.write('one ');
    request.write('two');
    request.addTrailers({ 'X-In': 'hello' });
    const { body, response } = await answerTo(request);
    expect(body).toBe('one two');
    expect(response.trailers).toEqual({ 'x-out': 'hello!' });
  });

  it('sends the head alone for HEAD, and the socket serves on', async () => {
    const { place } = await serve((_message, response) => response.setHeader('Content-Length', 5).end('12345'));
    const agent = carrier.agent();
    const head = await exchange({ ...place, agent, method: 'HEAD' });
    expect(head.response.headers['content-length']).toBe('5');
    expect(head.body).toBe('');
    const full = await exchange({ ...place, agent });
    expect(full.body).toBe('12345');
    expect(full.request.reusedSocket).toBe(true);
  });

  it('answers what is no HTTP with 400 and closes', async () => {
    const { place } = await serve(() => {});
    const socket = place.connect();
    socket.write('this is no request\r\n\r\n');
    await readUntil(socket, 'HTTP/1.1 400 Bad Request');
    await closedByPeer(socket);
  });

  it('closes a socket without a request for keepAliveTimeout', async () => {
    const { server, place } = await serve((_message, response) => response.end('ok'));
    server.keepAliveTimeout = 20;
    const socket = place.connect();
    socket.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    await readUntil(socket, 'ok');
    await closedByPeer(socket);
  });

  it('emits timeout for a socket that is idle for longer than its timeout, and closes it', async () => {
    const { server, place } = await serve(() => {});
    server.setTimeout(20);
    const socket = place.connect();
    socket.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    await closedByPeer(socket);
    server.setTimeout(20, (silent: Duplex) => silent.end('HTTP/1.1 408 Too Late\r\n\r\n'));
    const other = place.connect();
    other.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    await readUntil(other, '408 Too Late');
    other.destroy();
  });

  it('closes a socket after maxRequestsPerSocket', async () => {
    const { server, place } = await serve((_message, response) => response.end('ok'));
    server.maxRequestsPerSocket = 1;
    const { response } = await exchange({ ...place, agent: carrier.agent() });
    expect(response.headers.connection).toBe('close');
  });

  const isNet = name === 'node:net';

  it('answers a client that has ended its half, where the server allows half-open sockets', async () => {
    await answersHalfOpen();
  });

  if (!isNet) {
    it('answers a client that has ended its half, where the options of bind allow half-open sockets too', async () => {
      await answersHalfOpen({ allowHalfOpen: true });
    });
  }

  async function answersHalfOpen(options?: BindOptions): Promise<void> {
    let answer: ServerResponse | undefined;
    const server = createServer((_message, response) => {
      answer = response;
    });
    const place = await carrier.serve(server, options);
    Object.assign(server, { httpAllowHalfOpen: true });
    const arrived = once(server, 'request');
    const ended = new Promise((resolve) => server.on('connection', (socket: Duplex) => socket.on('end', resolve)));
    const socket = place.connect();
    socket.end('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    await within('the request', arrived);
    await within('the end of the client', ended);
    answer?.end('later');
    await readUntil(socket, 'later');
    socket.destroy();
  }

  it('takes no more sockets once it is closed', async () => {
    const { server, place } = await serve((_message, response) => response.end('ok'));
    await exchange({ ...place, agent: carrier.agent() });
    server.close();
    const socket = place.connect();
    const [error] = await within('a refusal', once(socket, 'error'));
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('counts its sockets', async () => {
    const { server, place } = await serve((_message, response) => response.end('ok'));
    await exchange({ ...place, agent: carrier.agent() });
    const count = await new Promise((resolve) => server.getConnections((_error, open) => resolve(open)));
    expect(count).toBe(1);
  });

  it('drops sockets beyond its maxConnections', async () => {
    const { server, place } = await serve((_message, response) => response.end('ok'));
    server.maxConnections = 1;
    const agent = carrier.agent();
    await exchange({ ...place, agent });
    const dropped = once(server, 'drop');
    const socket = place.connect();
    socket.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n');
    await within('a drop', dropped);
  });

  describe('that keeps track of its sockets', () => {
    const held: ServerResponse[] = [];
    const handler: Handler = (message, response) => {
      if (message.url === '/idle') response.end('ok');
      else held.push(response);
    };
    beforeEach(() => {
      held.length = 0;
    });

    /** A server with a socket that waits for a request and one that waits for an answer. */
    async function idleAndBusy(): Promise<{ server: Server; idle: Duplex; busy: Duplex }> {
      const { server, place } = await serve(handler);
      // Else that closes the idle one.
      server.keepAliveTimeout = 0;
      const idle = place.connect();
      idle.write('GET /idle HTTP/1.1\r\nHost: web\r\n\r\n');
      await readUntil(idle, 'ok');
      const arrived = once(server, 'request');
      const busy = place.connect();
      busy.write('GET /busy HTTP/1.1\r\nHost: web\r\n\r\n');
      await within('the request', arrived);
      return { server, idle, busy };
    }

    type Case = () => Promise<void>;

    const cases: Array<[what: string, run: Case]> = [
      [
        'closes the idle ones when it closes',
        async () => {
          const { server, idle, busy } = await idleAndBusy();
          server.close();
          await closedByPeer(idle);
          held[0].end('at last');
          await readUntil(busy, 'at last');
          busy.destroy();
        },
      ],
      [
        'closes the idle ones by closeIdleConnections',
        async () => {
          const { server, idle, busy } = await idleAndBusy();
          server.closeIdleConnections();
          await closedByPeer(idle);
          held[0].end('still there');
          await readUntil(busy, 'still there');
          busy.destroy();
        },
      ],
      [
        'closes all of them by closeAllConnections',
        async () => {
          const { server, idle, busy } = await idleAndBusy();
          server.closeAllConnections();
          await Promise.all([closedByPeer(idle), closedByPeer(busy)]);
        },
      ],
      [
        'answers 408 when a request takes longer than requestTimeout',
        async () => {
          const { place } = await serve(handler, { requestTimeout: 30, connectionsCheckingInterval: 10 });
          const socket = place.connect();
          socket.write('POST /busy HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nhalf');
          await readUntil(socket, 'HTTP/1.1 408 Request Timeout');
          await closedByPeer(socket);
        },
      ],
      [
        'answers 408 when a head takes longer than headersTimeout',
        async () => {
          const { place } = await serve(handler, { headersTimeout: 30, connectionsCheckingInterval: 10 });
          const socket = place.connect();
          socket.write('GET / HTTP/1.1\r\nHost:');
          await readUntil(socket, 'HTTP/1.1 408 Request Timeout');
          await closedByPeer(socket);
        },
      ],
    ];

    it.each(cases)('%s', async (_what, run) => {
      await run();
    });
  });
});
