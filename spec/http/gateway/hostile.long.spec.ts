// Clients that try to have one request read as two, to pose as somebody else, or to hold what others need.

import { once } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:http2';
import { describe, expect, it } from '@jest/globals';
import type { Gateway, GatewayOptions } from '../../../lib/http/index.js';
import { within } from '../../support/deadline.js';
import { readAll } from '../../support/socket-pair.js';
import { readUntil } from '../exchange.js';
import { gatewayFixture, nextAccess, portOf, rawExchange, rawSocket, untilClose } from './fixture.js';
import { FrameType, frame, headersFrame, RawHttp2 } from './raw-http2.js';

const net = gatewayFixture();

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  readonly body: string;
}

/** Serves `web`, and records what it gets. */
async function record(options: GatewayOptions = {}): Promise<{ opened: Gateway; seen: Seen[] }> {
  const seen: Seen[] = [];
  await net.serve('web', async (message, response) => {
    const { method, url, headers, rawHeaders } = message;
    // A request that is broken off.
    const body = await readAll(message).catch(() => undefined);
    if (body === undefined) return;
    seen.push({ method, url, headers, rawHeaders, body: `${body}` });
    response.end('served');
  });
  return { opened: await net.open(options), seen };
}

const HOST = 'Host: web.example.test\r\n';
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: web.example.test\r\n\r\n';

describe('a request of HTTP/1.1 that can be read in two ways is refused', () => {
  it.each([
    [
      'Content-Length and Transfer-Encoding',
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'Transfer-Encoding and Content-Length',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'two different Content-Lengths',
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 0\r\nContent-Length: 50\r\n\r\n${SMUGGLED}`,
    ],
    ['two equal Content-Lengths', `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`],
    ['a list of Content-Lengths', `POST / HTTP/1.1\r\n${HOST}Content-Length: 0, 50\r\n\r\n${SMUGGLED}`],
    ['a Content-Length with a sign', `POST / HTTP/1.1\r\n${HOST}Content-Length: +5\r\n\r\nabcde`],
    ['a hexadecimal Content-Length', `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x5\r\n\r\nabcde`],
    ['a negative Content-Length', `POST / HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\n`],
    [
      'Transfer-Encoding: xchunked',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'Transfer-Encoding: chunked twice',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['Transfer-Encoding: gzip, chunked', `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    [
      'Transfer-Encoding: chunked, identity',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    [
      'Transfer-Encoding in HTTP/1.0',
      `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
    ],
    ['a space before the colon', `POST / HTTP/1.1\r\n${HOST}Content-Length : 5\r\n\r\nabcde`],
    ['a space within a name', `GET / HTTP/1.1\r\n${HOST}Content Length: 5\r\n\r\nabcde`],
    ['a header that begins with a space', `GET / HTTP/1.1\r\n Host: web.example.test\r\n\r\n`],
    ['a bare line feed after a header', `GET / HTTP/1.1\r\n${HOST}X: a\nContent-Length: 5\r\n\r\nabcde`],
    ['a bare carriage return in a value', `GET / HTTP/1.1\r\n${HOST}X: a\rContent-Length: 5\r\n\r\nabcde`],
    ['a null in a value', `GET / HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`],
    ['a bare line feed after the request line', `GET / HTTP/1.1\n${HOST}\r\n`],
    [
      'a chunk size that is no number',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n`,
    ],
    [
      'a chunk size with a prefix',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n`,
    ],
    [
      'a chunk that is longer than its size',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n`,
    ],
    [
      'a bare line feed after a chunk size',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n`,
    ],
    [
      'a bare line feed within a chunk extension',
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n`,
    ],
    ['two Hosts', `GET / HTTP/1.1\r\n${HOST}Host: other.example.test\r\n\r\n`],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
    ['a host that is none', 'GET / HTTP/1.1\r\nHost: web.example.test/x?\r\n\r\n'],
    ['a host with a user', 'GET / HTTP/1.1\r\nHost: web@other.test\r\n\r\n'],
    ['another host in the request line', `GET http://other.example.test/ HTTP/1.1\r\n${HOST}\r\n`],
    ['a path that does not begin with a slash', `GET web HTTP/1.1\r\n${HOST}\r\n`],
    ['a fragment', `GET /a#b HTTP/1.1\r\n${HOST}\r\n`],
    ['a space in the path', `GET /a b HTTP/1.1\r\n${HOST}\r\n`],
    ['CONNECT', `CONNECT web.example.test:80 HTTP/1.1\r\n${HOST}\r\n`],
    ['HTTP/3.7', `GET / HTTP/3.7\r\n${HOST}\r\n`],
    [
      'an upgrade with a body',
      `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    ],
    ['an expectation that is unknown', `POST / HTTP/1.1\r\n${HOST}Expect: miracles\r\nContent-Length: 0\r\n\r\n`],
  ])('%s', async (_name, bytes) => {
    const { opened, seen } = await record({ default: 'web', bodyTimeoutMs: 1_000 });
    const answer = await rawExchange(opened, bytes);
    expect(answer).toMatch(/^(HTTP\/1.1 (400|405|408|417|501) |$)/);
    expect(answer).not.toContain('served');
    expect(seen.filter(({ url }) => url === '/smuggled')).toEqual([]);
    expect(opened.stats().requests.open).toBe(0);
  });

  it('a header that continues on the next line reaches the service on one line', async () => {
    const { opened, seen } = await record();
    const answer = await rawExchange(opened, `GET / HTTP/1.1\r\n${HOST}X-Folded: a\r\n b\r\nConnection: close\r\n\r\n`);
    if (/^HTTP\/1.1 400/.test(answer)) expect(seen).toEqual([]);
    else expect(seen[0].rawHeaders.join('\n')).not.toMatch(/[\r]|a\n/);
  });

  it('chunk extensions do not reach the service', async () => {
    const { opened, seen } = await record();
    await rawExchange(
      opened,
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;a=b;c\r\nabc\r\n0;x\r\n\r\n`,
    );
    expect(seen[0].body).toBe('abc');
  });

  it('long chunk extensions end the connection', async () => {
    const { opened } = await record();
    const extension = ';'.padEnd(20_000, 'x');
    const answer = await rawExchange(
      opened,
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1${extension}\r\na\r\n`,
    );
    expect(answer).not.toContain('served');
  });

  it('an absolute target with the same host is served', async () => {
    const { opened, seen } = await record();
    await rawExchange(opened, `GET http://web.example.test/x?y HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    expect(seen[0].url).toBe('/x?y');
  });
});

describe('headers of one connection', () => {
  it('stay there, also those that Connection names', async () => {
    const { opened, seen } = await record();
    await rawExchange(
      opened,
      `GET / HTTP/1.1\r\n${HOST}Connection: close, X-Secret, Keep-Alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n` +
        'Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nTE: gzip\r\nUpgrade: foo\r\nX-Kept: 2\r\n\r\n',
    );
    const { headers } = seen[0];
    for (const name of ['x-secret', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'te', 'upgrade'])
      expect(headers[name]).toBeUndefined();
    expect(headers['x-kept']).toBe('2');
  });

  it('of the service stay at the gateway', async () => {
    await net.serve('web', (_message, response) => {
      response.writeHead(200, {
        connection: 'X-Inner',
        'x-inner': '1',
        'keep-alive': 'timeout=77',
        'proxy-connection': 'x',
        'x-kept': '2',
      });
      response.end('ok');
    });
    const opened = await net.open();
    const { response } = await net.get(opened, 'web.example.test');
    expect(response.headers).toMatchObject({ 'x-kept': '2' });
    for (const name of ['x-inner', 'proxy-connection']) expect(response.headers[name]).toBeUndefined();
    expect(response.headers['keep-alive']).not.toBe('timeout=77');
  });
});

describe('who the caller is', () => {
  const FALSE_NAMES = [
    'Starlane-Peer-Id',
    'STARLANE-PEER-VERIFIED',
    'starlane_peer_name',
    'Starlane-Peer_Id',
    'Starlane.Peer.Id',
    'X_Forwarded_For',
    'X-Forwarded_For',
    'Content_Length',
    'Transfer_Encoding',
  ];

  /** Without the values: an id of a request may have any of its characters. */
  function namesOf({ rawHeaders }: { readonly rawHeaders: readonly string[] }): string[] {
    return rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  }

  it('cannot be said by the client, in any spelling', async () => {
    const { opened, seen } = await record();
    const lines = FALSE_NAMES.map((name) => `${name}: 7\r\n`).join('');
    await rawExchange(opened, `GET / HTTP/1.1\r\n${HOST}${lines}Connection: close\r\n\r\n`);
    expect(namesOf(seen[0]).filter((name) => /starlane|_|peer/.test(name))).toEqual([]);
    expect(seen[0].headers['x-forwarded-for']).toBe('127.0.0.1');
  });

  it('cannot be said over HTTP/2 either', async () => {
    const { opened, seen } = await record();
    const client = connect(`http://127.0.0.1:${portOf(opened)}`);
    net.finally(() => client.destroy());
    const headers = Object.fromEntries(FALSE_NAMES.map((name) => [name, '7']));
    await within('an answer', readAll(client.request({ ':path': '/', ':authority': 'web.example.test', ...headers })));
    expect(namesOf(seen[0]).filter((name) => /starlane|_|peer/.test(name))).toEqual([]);
  });

  it('is replaced in X-Forwarded-* and Forwarded unless a trusted proxy has said it', async () => {
    const { opened, seen } = await record();
    const claims = {
      'x-forwarded-for': '1.2.3.4',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil',
      forwarded: 'for=1.2.3.4',
      'x-forwarded-prefix': '/evil',
      'x-real-ip': '1.2.3.4',
    };
    await net.get(opened, 'web.example.test', '/', claims);
    expect(seen[0].headers).toMatchObject({
      'x-forwarded-for': '127.0.0.1',
      'x-real-ip': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'web.example.test',
      forwarded: 'for=127.0.0.1;host="web.example.test";proto=http',
    });
    expect(seen[0].headers['x-forwarded-prefix']).toBeUndefined();
    const trusting = await net.open({ trustProxy: ['10.0.0.0/8', '127.0.0.0/8'] });
    await net.get(trusting, 'web.example.test', '/', claims);
    expect(seen[1].headers).toMatchObject({
      'x-forwarded-for': '1.2.3.4, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil',
      forwarded: 'for=1.2.3.4, for=127.0.0.1;host="web.example.test";proto=http',
    });
    const distrusting = await net.open({ trustProxy: ['10.0.0.0/8'] });
    await net.get(distrusting, 'web.example.test', '/', claims);
    expect(seen[2].headers['x-forwarded-for']).toBe('127.0.0.1');
  });

  it('comes with a header of the PROXY protocol, from trusted proxies only', async () => {
    const { opened, seen } = await record({ listen: { port: 0, proxyProtocol: true }, trustProxy: '127.0.0.1' });
    const get = `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    await rawExchange(opened, `PROXY TCP4 9.8.7.6 1.1.1.1 4444 80\r\n${get}`);
    const version2 = Buffer.concat([
      Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'),
      Buffer.from([0x21, 0x11, 0, 12, 5, 6, 7, 8, 1, 1, 1, 1, 0x11, 0x5c, 0, 80]),
      Buffer.from(get),
    ]);
    await rawExchange(opened, version2);
    expect(seen.map(({ headers }) => headers['x-forwarded-for'])).toEqual(['9.8.7.6', '5.6.7.8']);
    expect(await rawExchange(opened, get)).toBe('');
    const closed = await net.open({ listen: { port: 0, proxyProtocol: true } });
    expect(await rawExchange(closed, `PROXY TCP4 9.8.7.6 1.1.1.1 4444 80\r\n${get}`)).toBe('');
    expect(seen).toHaveLength(2);
  });
});

describe('HTTP/2 with frames of its own', () => {
  const GET: ReadonlyArray<readonly [string, string]> = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':authority', 'web.example.test'],
    [':path', '/'],
  ];

  async function raw(opened: Gateway): Promise<RawHttp2> {
    return new RawHttp2(await rawSocket(opened));
  }

  /** What the gateway does with the first stream: a reset, the end of the connection, or the first byte of the status. */
  async function outcome(client: RawHttp2): Promise<string> {
    const found = await within(
      'an answer',
      client.frameThat(
        ({ type, stream }) =>
          type === FrameType.GOAWAY || (stream === 1 && (type === FrameType.RST_STREAM || type === FrameType.HEADERS)),
      ),
    );
    client.socket.destroy();
    if (found === undefined || found.type === FrameType.GOAWAY) return 'closed';
    if (found.type === FrameType.RST_STREAM) return 'reset';
    // An indexed field of the static table, or a literal.
    return found.payload[0] === 0x88 ? '200' : 'refused';
  }

  it('serves a request that is well formed', async () => {
    const { opened } = await record();
    const client = await raw(opened);
    client.send(headersFrame(1, GET));
    expect(await outcome(client)).toBe('200');
  });

  const without = (name: string): Array<readonly [string, string]> => GET.filter(([other]) => other !== name);

  const DROPPED = [
    'a line break in a value',
    'a line feed in a value',
    'a null in a value',
    'a line break in a name',
    'a colon in a name',
    'a space in a name',
  ];

  it.each<[string, ReadonlyArray<readonly [string, string]>]>([
    ['a line break in a value', [...GET, ['x', 'a\r\nContent-Length: 10']]],
    ['a line feed in a value', [...GET, ['x', 'a\nb']]],
    ['a null in a value', [...GET, ['x', 'a\0b']]],
    ['a line break in a name', [...GET, ['x: 1\r\ny', 'a']]],
    ['a colon in a name', [...GET, ['x:y', 'a']]],
    ['an upper-case name', [...GET, ['X-Upper', 'a']]],
    ['a space in a name', [...GET, ['x y', 'a']]],
    ['a line break in the path', [...without(':path'), [':path', '/ HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled']]],
    ['a space in the path', [...without(':path'), [':path', '/ HTTP/1.1']]],
    ['an empty path', [...without(':path'), [':path', '']]],
    ['a path without a slash', [...without(':path'), [':path', 'smuggled']]],
    ['no path', without(':path')],
    ['two paths', [...GET, [':path', '/smuggled']]],
    ['a line break in the method', [...without(':method'), [':method', 'GET / HTTP/1.1\r\nX: ']]],
    ['a space in the method', [...without(':method'), [':method', 'GET /smuggled']]],
    ['a line break in the authority', [...without(':authority'), [':authority', 'web.example.test\r\nX: y']]],
    ['a pseudo header after others', [...without(':path'), ['x', 'y'], [':path', '/']]],
    ['an unknown pseudo header', [...GET, [':unknown', 'x']]],
    ['Connection', [...GET, ['connection', 'x-forwarded-for']]],
    ['Transfer-Encoding', [...GET, ['transfer-encoding', 'chunked']]],
    ['Keep-Alive', [...GET, ['keep-alive', 'x']]],
    ['Upgrade', [...GET, ['upgrade', 'websocket']]],
    ['Proxy-Connection', [...GET, ['proxy-connection', 'x']]],
    ['TE other than trailers', [...GET, ['te', 'gzip']]],
    ['Host that is not the authority', [...GET, ['host', 'other.example.test']]],
    ['two Content-Lengths', [...GET, ['content-length', '0'], ['content-length', '10']]],
    ['a Content-Length without a body', [...GET, ['content-length', '10']]],
    [
      'CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', 'web.example.test:80'],
      ],
    ],
  ])('refuses %s', async (name, headers) => {
    const { opened, seen } = await record({ default: 'web' });
    const client = await raw(opened);
    client.send(headersFrame(1, headers));
    const result = await outcome(client);
    if (DROPPED.includes(name)) {
      // nghttp2 drops such a field, and the request goes on without it.
      expect(
        seen.flatMap(({ rawHeaders }) =>
          rawHeaders.filter((text) => /^x(?:[ :]|$)|smuggled|Content-Length/i.test(text)),
        ),
      ).toEqual([]);
      return;
    }
    expect(['reset', 'closed', 'refused']).toContain(result);
    expect(seen).toEqual([]);
  });

  it('a body that is not as long as its Content-Length does not become another request', async () => {
    const { opened, seen } = await record();
    const client = await raw(opened);
    const headers: Array<readonly [string, string]> = [
      [':method', 'POST'],
      ...without(':method'),
      ['content-length', '3'],
    ];
    client.send(
      Buffer.concat([headersFrame(1, headers, false), frame(FrameType.DATA, 1, 1, Buffer.from(`abc${SMUGGLED}`))]),
    );
    expect(await outcome(client)).not.toBe('200');
    expect((await net.get(opened, 'web.example.test', '/after')).body).toBe('served');
    expect(seen.map(({ url }) => url).filter((url) => url === '/smuggled')).toEqual([]);
  });

  it('ends a connection that resets one stream after another', async () => {
    const { opened, seen } = await record();
    const client = await raw(opened);
    const closed = once(client.socket, 'close');
    let stream = 1;
    const attack = (): void => {
      const frames: Buffer[] = [];
      for (let count = 0; count < 100; count++, stream += 2)
        frames.push(headersFrame(stream, GET), frame(FrameType.RST_STREAM, 0, stream, Buffer.from([0, 0, 0, 8])));
      if (client.socket.writable) client.socket.write(Buffer.concat(frames), () => setImmediate(attack));
    };
    attack();
    await within('the close', closed);
    expect(seen.length).toBeLessThan(2_000);
    expect(opened.stats().requests.open).toBe(0);
    expect((await net.get(opened, 'web.example.test')).body).toBe('served');
  });

  it.each([
    ['SETTINGS', frame(FrameType.SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100]))],
    ['PING', frame(FrameType.PING, 0, 0, Buffer.alloc(8))],
  ])('ends a connection that floods %s', async (_name, bytes) => {
    const { opened } = await record();
    const client = await raw(opened);
    const closed = once(client.socket, 'close');
    const flood = (): void => {
      if (client.socket.writable)
        client.socket.write(Buffer.concat(Array.from({ length: 100 }, () => bytes)), () => setImmediate(flood));
    };
    flood();
    await within('the close', closed);
    expect((await net.get(opened, 'web.example.test')).body).toBe('served');
  });

  it('ends a connection that continues its headers without end', async () => {
    const { opened } = await record();
    const client = await raw(opened);
    const closed = once(client.socket, 'close');
    client.send(frame(FrameType.HEADERS, 0, 1, Buffer.from([0, 1, 0x61, 1, 0x61])));
    const more = frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(1_000, Buffer.from([0, 1, 0x61, 1, 0x61])));
    const flood = (): void => {
      if (client.socket.writable) client.socket.write(more, () => setImmediate(flood));
    };
    flood();
    await within('the close', closed);
  });
});

describe('what a client may hold', () => {
  it('is bounded in headers, in number and in bytes, and in the path', async () => {
    const { opened, seen } = await record({ maxHeaders: 20, maxHeaderBytes: 4_096, maxUrlBytes: 100 });
    const many = Array.from({ length: 21 }, (_, index) => `X-${index}: 1\r\n`).join('');
    expect(await rawExchange(opened, `GET / HTTP/1.1\r\n${HOST}${many}\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    const large = `X: ${'x'.repeat(5_000)}\r\n`;
    expect(await rawExchange(opened, `GET / HTTP/1.1\r\n${HOST}${large}\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    expect(await rawExchange(opened, `GET /${'x'.repeat(200)} HTTP/1.1\r\n${HOST}\r\n`)).toMatch(/^HTTP\/1.1 414 /);
    expect(seen).toEqual([]);
    expect(opened.stats().requests).toMatchObject({ total: 3, rejected: 3 });
  });

  it('ends for a client that does not finish its headers', async () => {
    const { opened } = await record({ headersTimeoutMs: 100 });
    const silent = await rawSocket(opened);
    const slow = await rawSocket(opened);
    const closed = [untilClose(silent), untilClose(slow)];
    slow.write('GET / HTTP/1.1\r\nX');
    expect((await Promise.all(closed))[1]).toMatch(/^(HTTP\/1.1 408 |$)/);
  });

  it('ends for a client of HTTP/2 that asks nothing', async () => {
    const { opened } = await record({ headersTimeoutMs: 100, keepAliveTimeoutMs: 100 });
    const client = new RawHttp2(await rawSocket(opened));
    await within('the close', once(client.socket, 'close'));
  });

  it('ends for a client that does not finish its body', async () => {
    const { opened } = await record({ bodyTimeoutMs: 100 });
    const entry = nextAccess(opened);
    const answer = await rawExchange(opened, `POST / HTTP/1.1\r\n${HOST}Content-Length: 100\r\n\r\nabc`);
    expect(answer).toMatch(/^HTTP\/1.1 408 /);
    expect(await entry).toMatchObject({ status: 408 });
  });

  it('ends for a connection that is idle', async () => {
    const { opened } = await record({ keepAliveTimeoutMs: 50 });
    const socket = await rawSocket(opened);
    socket.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    expect(await untilClose(socket)).toMatch(/^HTTP\/1.1 200 /);
  });

  it('is bounded in connections, of all and of one address', async () => {
    for (const limits of [{ maxConnections: 2 }, { maxConnectionsPerAddress: 2 }]) {
      const opened = await net.open(limits);
      const first = await rawSocket(opened);
      const second = await rawSocket(opened);
      expect(await untilClose(await rawSocket(opened))).toBe('');
      expect(opened.stats().connections).toMatchObject({ open: 2, refused: 1 });
      first.destroy();
      while (opened.stats().connections.open > 1) await new Promise(setImmediate);
      const third = await rawSocket(opened);
      third.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await readUntil(third, 'HTTP/1.1 404');
      for (const socket of [second, third]) socket.destroy();
    }
  });

  it('is bounded in requests of one connection', async () => {
    await net.serve('web', () => {});
    const opened = await net.open({ maxRequestsPerConnection: 3 });
    const socket = await rawSocket(opened);
    socket.write(`GET / HTTP/1.1\r\n${HOST}\r\n`.repeat(5));
    while (opened.stats().requests.rejected < 1) await new Promise(setImmediate);
    expect(opened.stats().requests.open).toBe(3);
    socket.destroy();
  });

  it('is bounded in requests at all', async () => {
    await net.serve('web', () => {});
    const opened = await net.open({ maxRequests: 1 });
    const socket = await rawSocket(opened);
    socket.write(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    while (opened.stats().requests.open < 1) await new Promise(setImmediate);
    const { response } = await net.get(opened, 'web.example.test');
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1']);
    socket.destroy();
  });
});
