// Clients and services that try to have bytes of one request taken for another: the length of a body, circuits that are kept, changes of the
// protocol, and what ends the process.

import { once } from 'node:events';
import { createServer as createHttp2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import type { Gateway, GatewayOptions } from '../../../lib/http/index.js';
import type { Socket } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { readUntil } from '../exchange.js';
import { gatewayFixture, nextAccess, rawExchange, rawSocket, untilClose } from './fixture.js';
import { FrameType, frame, headersFrame, RawHttp2 } from './raw-http2.js';

const net = gatewayFixture();

const HOST = 'Host: web.example.test\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

type Fields = ReadonlyArray<readonly [string, string]>;

function fields(method: string, ...more: Fields): Fields {
  return [[':method', method], [':scheme', 'http'], [':authority', 'web.example.test'], [':path', '/'], ...more];
}

/** Binds `web`, and returns what each of its circuits has got. */
async function serveBytes(onData: (socket: Socket, text: string, circuit: number) => void): Promise<string[]> {
  const got: string[] = [];
  net.far.bind('web', { allowHalfOpen: true }, (socket) => {
    const circuit = got.push('') - 1;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      got[circuit] += chunk.toString('latin1');
      onData(socket, got[circuit], circuit);
    });
  });
  await within('the service', net.near.waitFor('web'));
  return got;
}

/** Binds `web` as a server of HTTP/2. */
async function serveHttp2(onStream: (stream: ServerHttp2Stream) => void): Promise<void> {
  const server = createHttp2Server();
  server.on('session', (session: ServerHttp2Session) => session.on('error', () => {}));
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {});
    onStream(stream);
  });
  net.far.bind('web', (socket) => void server.emit('connection', socket as unknown as Duplex));
  await within('the service', net.near.waitFor('web'));
}

async function http2(opened: Gateway): Promise<RawHttp2> {
  return new RawHttp2(await rawSocket(opened));
}

const ofStream =
  (stream: number, ...types: number[]) =>
  (found: { type: number; stream: number }): boolean =>
    found.stream === stream && types.includes(found.type);

const toHttp2: GatewayOptions = { default: { services: 'web', protocol: 'h2c' }, suffix: undefined };

describe('the length of a body', () => {
  it('is never taken from values of other fields of HTTP/2', async () => {
    const got = await serveBytes((socket, text) => {
      if (text.includes('\r\n\r\n')) socket.write(OK);
    });
    const opened = await net.open();
    const client = await http2(opened);
    const trick: Fields = [
      ['x', 'cookie'],
      ['cookie', 'a=b'],
      ['y', 'content-length'],
      ['5', 'z'],
    ];
    const body = Buffer.from('abcdeGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n');
    client.send(Buffer.concat([headersFrame(1, fields('POST', ...trick), false), frame(FrameType.DATA, 1, 1, body)]));
    await within('an answer', client.frameThat(ofStream(1, FrameType.HEADERS, FrameType.RST_STREAM)));
    client.socket.destroy();
    for (const text of got) expect(text.toLowerCase()).not.toContain('content-length: 5');
    for (const text of got) expect(text).not.toContain('undefined');
  });

  it('is known in cookies that came in pieces', async () => {
    const got = await serveBytes((socket) => socket.write(OK));
    const opened = await net.open();
    const client = await http2(opened);
    client.send(headersFrame(1, fields('GET', ['x', 'cookie'], ['cookie', 'a=1'], ['cookie', 'b=2'])));
    await within('an answer', client.frameThat(ofStream(1, FrameType.HEADERS)));
    client.socket.destroy();
    expect(got[0]).toContain('x: cookie\r\ncookie: a=1; b=2\r\n');
  });
});

/** Whether all has come; of a request other than GET, its head. */
function isWhole(text: string): boolean {
  return !text.startsWith('GET') || !text.includes('Content-Length') || text.endsWith('GET /x HT');
}

describe('a circuit is not used for another request', () => {
  it('while it is paused for the one before, whose client is slow', async () => {
    const part = `2710\r\n${'x'.repeat(10_000)}\r\n`;
    const got = await serveBytes((socket, text) => {
      if (text.includes('/second')) socket.write(OK);
      else socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${part}${part}0\r\n\r\n`);
    });
    const opened = await net.open({ answerTimeoutMs: 2_000 });
    const slow = await http2(opened);
    // No window for what comes.
    slow.send(frame(FrameType.SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])));
    slow.send(headersFrame(1, fields('GET')));
    await within('the head', slow.frameThat(ofStream(1, FrameType.HEADERS)));
    while (opened.stats().requests.open > 0) await new Promise(setImmediate);
    const { response, body } = await net.get(opened, 'web.example.test', '/second');
    expect([response.statusCode, body]).toEqual([200, 'ok']);
    expect(got).toHaveLength(1);
    slow.socket.destroy();
  });

  it.each<[string, string, (socket: Socket) => void]>([
    ['the service says more than it was asked', `GET / HTTP/1.1\r\n${HOST}\r\n`, (s) => s.write(`${OK}${OK}`)],
    ['the answer of HEAD has a body', `HEAD / HTTP/1.1\r\n${HOST}\r\n`, (s) => s.write(OK)],
    [
      'a status without a body has one',
      `GET / HTTP/1.1\r\n${HOST}\r\n`,
      (s) => s.write('HTTP/1.1 304 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'),
    ],
    [
      'the answer is that of HTTP/1.0',
      `GET / HTTP/1.1\r\n${HOST}\r\n`,
      (s) => s.write('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    ],
    [
      'the answer says close',
      `GET / HTTP/1.1\r\n${HOST}\r\n`,
      (s) => s.write('HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\nok'),
    ],
    ['the answer came before the body', `POST / HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nabc`, (s) => s.write(OK)],
    [
      'the service does not read bodies of GET',
      `GET / HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nGET /x HT`,
      (s) => s.write(OK),
    ],
  ])('when %s', async (_what, bytes, answer) => {
    const got = await serveBytes((socket, text, circuit) => {
      if (circuit > 0) socket.write(OK);
      else if (isWhole(text)) answer(socket);
    });
    const opened = await net.open();
    const first = await rawSocket(opened);
    first.write(bytes);
    await readUntil(first, 'HTTP/1.1 ');
    while (opened.stats().requests.open > 0) await new Promise(setImmediate);
    const { response, body } = await net.get(opened, 'web.example.test', '/second');
    expect([response.statusCode, body]).toEqual([200, 'ok']);
    expect(got).toHaveLength(2);
    first.destroy();
  });

  it('when its client has gone, or the answer came too late', async () => {
    const waiting: Socket[] = [];
    const got = await serveBytes((socket, text) => {
      if (text.includes('/slow')) waiting.push(socket);
      else socket.write(OK);
    });
    const opened = await net.open({ answerTimeoutMs: 300 });
    expect((await net.get(opened, 'web.example.test', '/slow')).response.statusCode).toBe(504);
    const gone = await rawSocket(opened);
    gone.write(`GET /slow HTTP/1.1\r\n${HOST}\r\n`);
    while (waiting.length < 2) await new Promise(setImmediate);
    gone.destroy();
    while (opened.stats().requests.open > 0) await new Promise(setImmediate);
    for (const socket of waiting) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalien');
    expect((await net.get(opened, 'web.example.test', '/own')).body).toBe('ok');
    expect(got).toHaveLength(3);
  });

  it('when a change of the protocol was asked for', async () => {
    const got = await serveBytes((socket) => socket.write(OK));
    const opened = await net.open();
    await rawExchange(opened, `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    expect((await net.get(opened, 'web.example.test', '/second')).body).toBe('ok');
    expect(got).toHaveLength(2);
  });
});

describe('a change of the protocol', () => {
  it.each(['h2c', 'H2C', 'websocket, h2c', 'h2c, websocket', 'HTTP/2.0', 'TLS/1.2'])(
    'to %s does not reach the service, which would then serve requests that the gateway has not seen',
    async (protocol) => {
      const got = await serveBytes((socket) => socket.write(OK));
      const opened = await net.open();
      const socket = await rawSocket(opened);
      socket.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
      await readUntil(socket, 'ok');
      const closed = untilClose(socket);
      socket.write(
        `GET /b HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: ${protocol}\r\n\r\n`,
      );
      expect(await closed).toMatch(/^HTTP\/1.1 200 /);
      expect(got.join('')).not.toMatch(/upgrade/i);
    },
  );

  it.each(['h2c', 'connect-udp', 'tls'])('of HTTP/2 to %s is refused', async (protocol) => {
    const got = await serveBytes((socket) => socket.write(OK));
    const opened = await net.open();
    const client = await http2(opened);
    client.send(headersFrame(1, fields('CONNECT', [':protocol', protocol]), false));
    const answer = await within('an answer', client.frameThat(ofStream(1, FrameType.HEADERS, FrameType.RST_STREAM)));
    expect(answer).toBeDefined();
    client.socket.destroy();
    expect(got).toEqual([]);
  });
});

describe('the gateway goes on', () => {
  it('when a client repeats a trailer that HTTP/2 has once', async () => {
    await serveHttp2((stream) => {
      stream.resume();
      stream.on('end', () => {
        stream.respond({ ':status': 200 });
        stream.end('ok');
      });
    });
    const opened = await net.open(toHttp2);
    const head = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
    expect(await rawExchange(opened, `${head}1\r\na\r\n0\r\nETag: a\r\nETag: b\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 (200|400|502) /,
    );
  });

  it('when a service repeats a header or a trailer that HTTP/2 has once', async () => {
    await serveBytes((socket) =>
      socket.write(
        'HTTP/1.1 103 X\r\nETag: a\r\nETag: b\r\n\r\n' +
          'HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nX-Content-Type-Options: nosniff\r\n' +
          'Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nETag: a\r\nETag: b\r\n\r\n',
      ),
    );
    const opened = await net.open();
    const client = await http2(opened);
    client.send(headersFrame(1, fields('GET')));
    const last = await within(
      'the end',
      client.frameThat(
        (found) => found.stream === 1 && (found.type === FrameType.RST_STREAM || (found.flags & 1) === 1),
      ),
    );
    expect(last?.type).toBe(FrameType.HEADERS);
    client.socket.destroy();
  });

  it('when a service of HTTP/2 sends informational answers without end', async () => {
    let sent = 0;
    await serveHttp2((stream) => {
      const more = (): void => {
        if (stream.closed || stream.destroyed) return;
        try {
          for (let count = 0; count < 50; count++, sent++)
            stream.additionalHeaders({ ':status': 103, etag: 'x'.repeat(1_000) });
        } catch {
          return;
        }
        if (sent < 5_000) setImmediate(more);
      };
      more();
    });
    const opened = await net.open(toHttp2);
    const { response } = await net.get(opened, 'web.example.test');
    expect(response.statusCode).toBe(502);
  });

  it('when a service of HTTP/2 answers what HTTP/1.1 cannot say', async () => {
    await serveHttp2((stream) => {
      stream.respond({ ':status': 200, 'content-length': 2, trailer: 'x' });
      stream.end('ok');
    });
    const opened = await net.open(toHttp2);
    const { response, body } = await net.get(opened, 'web.example.test');
    expect([response.statusCode, body]).toEqual([200, 'ok']);
  });
});

describe('a request ends', () => {
  it.each([0, 2, 5, 7, 8, 11])('when its client of HTTP/2 resets it with the code %i', async (code) => {
    await serveBytes(() => {});
    const opened = await net.open();
    const client = await http2(opened);
    const entry = nextAccess(opened);
    client.send(headersFrame(1, fields('GET')));
    while (opened.stats().requests.open === 0) await new Promise(setImmediate);
    client.send(frame(FrameType.RST_STREAM, 0, 1, Buffer.from([0, 0, 0, code])));
    expect(await entry).toMatchObject({ status: 0 });
    expect(opened.stats().requests.open).toBe(0);
    client.socket.destroy();
  });

  it.each([0, 2, 7])('and a connection that resets one after another with the code %i ends too', async (code) => {
    await serveBytes(() => {});
    const opened = await net.open();
    const client = await http2(opened);
    const closed = once(client.socket, 'close');
    let stream = 1;
    for (let round = 0; round < 5; round++) {
      const frames: Buffer[] = [];
      for (let count = 0; count < 80; count++, stream += 2)
        frames.push(
          headersFrame(stream, fields('GET')),
          frame(FrameType.RST_STREAM, 0, stream, Buffer.from([0, 0, 0, code])),
        );
      client.send(Buffer.concat(frames));
      await new Promise(setImmediate);
    }
    await within('the close', closed);
    while (opened.stats().requests.open > 0) await new Promise(setImmediate);
  });

  it('with its connection, also those that wait behind another one', async () => {
    await serveBytes(() => {});
    const opened = await net.open();
    const socket = await rawSocket(opened);
    socket.write(`GET / HTTP/1.1\r\n${HOST}\r\n`.repeat(10));
    while (opened.stats().requests.open < 10) await new Promise(setImmediate);
    socket.destroy();
    const isLeft = (): boolean => opened.stats().requests.open + opened.stats().circuits.http1 > 0;
    const until = Date.now() + 5_000;
    while (isLeft() && Date.now() < until) await new Promise(setImmediate);
    expect(isLeft()).toBe(false);
  });
});

describe('the next service of a rule', () => {
  it.each([
    ['POST', 504, 0],
    ['GET', 200, 1],
  ])('gets a %s whose first service may have read it: status %i', async (method, status, count) => {
    let served = 0;
    // It does not answer the dial, as when the reply is lost.
    net.far.bind('first', { allow: () => new Promise<boolean>(() => {}) }, () => {});
    await net.serve('second', (_message, response) => {
      served++;
      response.end('second');
    });
    await within('the service', net.near.waitFor('first'));
    const opened = await net.open({ default: ['first', 'second'], suffix: undefined, dialTimeoutMs: 200 });
    const answer = await rawExchange(
      opened,
      `${method} / HTTP/1.1\r\n${HOST}Content-Length: 0\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(served).toBe(count);
  });
});
