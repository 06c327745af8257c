// What a client gets when a service does not answer, when a request is sent again, and which service gets it.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import type { GatewayOptions } from '../../../lib/http/index.js';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { answerTo, ask } from '../exchange.js';
import { gatewayFixture, nextAccess, portOf } from './fixture.js';

const net = gatewayFixture();

/** Binds what answers with bytes, whatever it is asked. */
function serveBytes(name: string, onSocket: (socket: Socket, count: number) => void): void {
  let count = 0;
  net.far.bind(name, { allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => onSocket(socket, count++));
  });
}

async function open(name: string, options: GatewayOptions = {}): ReturnType<typeof net.open> {
  await within(name, net.near.waitFor(name));
  return net.open(options);
}

describe('a service that does not answer', () => {
  it.each<[string, string, number, string, (socket: Socket) => void]>([
    ['resets', 'ECONNRESET', 502, 'ended before', (socket) => socket.resetAndDestroy()],
    ['ends at once', 'ECONNRESET', 502, 'ended before', (socket) => socket.end()],
    ['ends within the head', 'ECONNRESET', 502, 'ended before', (socket) => socket.end('HTTP/1.1 200 OK\r\nX')],
    [
      'speaks something else',
      'ERR_STARLANE_MESSAGE',
      502,
      'valid answer',
      (socket) => socket.write('220 mail.test ESMTP\r\n\r\n'),
    ],
    [
      'has two lengths',
      'ERR_STARLANE_MESSAGE',
      502,
      'valid answer',
      (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'),
    ],
    [
      'splits its head',
      'ERR_STARLANE_MESSAGE',
      502,
      'valid answer',
      (socket) => socket.write('HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n'),
    ],
    [
      'upgrades unasked',
      'ERR_STARLANE_MESSAGE',
      502,
      'valid answer',
      (socket) => socket.write('HTTP/1.1 101 X\r\nUpgrade: y\r\n\r\n'),
    ],
    [
      'has an endless head',
      'ERR_STARLANE_MESSAGE',
      502,
      'valid answer',
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${'y'.repeat(70_000)}`),
    ],
    ['is silent', 'ETIMEDOUT', 504, 'in time', () => {}],
  ])('and %s is %s for the client, status %i', async (_what, code, status, text, onSocket) => {
    serveBytes('bad', onSocket);
    const opened = await open('bad', { answerTimeoutMs: 200 });
    const entry = nextAccess(opened);
    const { response, body } = await net.get(opened, 'bad.example.test');
    expect(response.statusCode).toBe(status);
    expect(body).toContain(text);
    expect(body).toContain('service: bad');
    expect(body).toContain(`code: ${code}`);
    expect(await entry).toMatchObject({ status, code, service: 'bad' });
  });

  it('because there is none, or no rule for it, is 404', async () => {
    const opened = await net.open({ absentTimeoutMs: 1 });
    expect((await net.get(opened, 'none.example.test')).response.statusCode).toBe(404);
    expect((await net.get(opened, 'elsewhere.test')).body).toContain('Nothing is published');
    expect((await net.get(opened, 'a.b.example.test')).body).toContain('Nothing is published');
    expect(opened.stats().requests.byService).toEqual({ '': { '4xx': 3 } });
  });

  it('because it refuses circuits is 502, and because it may not be used 403', async () => {
    net.far.bind('full', { maxConnections: 0 }, () => {});
    net.far.bind('private', { allow: [] }, () => {});
    const opened = await open('private', { dialTimeoutMs: 300 });
    expect((await net.get(opened, 'full.example.test')).response.statusCode).toBe(502);
    expect((await net.get(opened, 'private.example.test')).response.statusCode).toBe(403);
  });

  it('and breaks off within the body breaks off the answer', async () => {
    serveBytes('bad', (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', () => socket.resetAndDestroy());
    });
    const opened = await open('bad');
    const request = ask({ port: portOf(opened), headers: { host: 'bad.example.test' }, agent: false });
    const closed = new Promise<Error>((resolve) => {
      request.on('response', (response) => response.on('error', resolve).resume());
      request.on('error', resolve);
    });
    request.end();
    expect(await within('the break', closed)).toMatchObject({ code: 'ECONNRESET' });
  });

  it('gets a page in the form that the client prefers, with nothing of the inside', async () => {
    const opened = await net.open({ absentTimeoutMs: 1 });
    const html = await net.get(opened, 'none.example.test', '/<script>', { accept: 'text/html,*/*' });
    expect(html.response.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(html.body).toMatch(/<h1>404 Not Found<\/h1>.*No node offers/s);
    expect(html.body).not.toContain('<script>');
    expect(html.body).not.toContain(net.far.id);
    const json = await net.get(opened, 'none.example.test', '/', { accept: 'application/json' });
    expect(JSON.parse(json.body)).toEqual({
      error: {
        status: 404,
        code: 'ENOTFOUND',
        message: 'No node offers this service at the moment.',
        service: 'none',
        requestId: json.response.headers['x-request-id'],
      },
    });
    expect((await net.get(opened, 'none.example.test')).response.headers['content-type']).toMatch(/^text\/plain/);
  });
});

describe('a request is sent again', () => {
  /** Answers the first request of each circuit, and resets the circuit at the second. */
  function serveOnce(): { requests: () => number } {
    let requests = 0;
    net.far.bind('web', (socket) => {
      let served = 0;
      socket.on('error', () => {});
      socket.on('data', () => {
        requests++;
        if (served++ === 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        else socket.resetAndDestroy();
      });
    });
    return { requests: () => requests };
  }

  it('when an idle circuit breaks and the method is idempotent', async () => {
    const served = serveOnce();
    const opened = await open('web');
    await net.get(opened, 'web.example.test');
    expect((await net.get(opened, 'web.example.test')).response.statusCode).toBe(200);
    expect(served.requests()).toBe(3);
    expect(opened.stats().requests.retried).toBe(1);
  });

  it.each([
    ['POST', ''],
    ['PUT', 'body'],
  ])('but not when it is a %s with the body %j', async (method, body) => {
    const served = serveOnce();
    const opened = await open('web');
    await net.get(opened, 'web.example.test');
    const request = ask({ port: portOf(opened), method, headers: { host: 'web.example.test' }, agent: false });
    expect((await answerTo(request, body)).response.statusCode).toBe(502);
    expect(served.requests()).toBe(2);
    expect(opened.stats().requests.retried).toBe(0);
  });
});

describe('which service gets a request', () => {
  async function serveNames(...names: string[]): Promise<void> {
    for (const name of names)
      await net.serve(name, (message, response) =>
        response.end(`${name} ${message.url} ${message.headers['x-forwarded-prefix'] ?? ''}`),
      );
  }

  it('follows from hosts, suffixes, paths and the default', async () => {
    await serveNames('web', 'shop', 'api', 'images', 'rest');
    const opened = await net.open({
      hosts: {
        'shop.test': { services: 'shop', paths: { '/img': { services: 'images', strip: true } } },
        '*.wild.test': 'shop',
      },
      paths: { '/api': { services: 'api', strip: true }, '/api/v2': 'rest' },
      default: 'rest',
      expose: ['web', 'sh*'],
    });
    const ask = async (host: string, path: string): Promise<string> => (await net.get(opened, host, path)).body.trim();
    expect(await ask('web.example.test', '/x')).toBe('web /x');
    expect(await ask('WEB.Example.TEST:80', '/x')).toBe('web /x');
    expect(await ask('web.example.test.', '/x')).toBe('web /x');
    expect(await ask('shop.test', '/x')).toBe('shop /x');
    expect(await ask('shop.test', '/img/a.png?b')).toBe('images /a.png?b /img');
    expect(await ask('shop.test', '/img')).toBe('images / /img');
    expect(await ask('shop.test', '/img?b')).toBe('images /?b /img');
    expect(await ask('shop.test', '/imgx')).toBe('shop /imgx');
    expect(await ask('a.wild.test', '/')).toBe('shop /');
    expect(await ask('other.test', '/api/x')).toBe('api /x /api');
    expect(await ask('other.test', '/api/v2')).toBe('rest /api/v2');
    expect(await ask('other.test', '/')).toBe('rest /');
    expect(await ask('api.example.test', '/')).toBe('rest /');
  });

  it('is the next one of a list when the first has no instance, or refuses', async () => {
    await serveNames('v1');
    net.far.bind('v2', { maxConnections: 0 }, () => {});
    await net.near.waitFor('v2');
    const opened = await net.open({
      hosts: { 'a.test': ['none', 'v1'], 'b.test': ['v2', 'v1'], 'c.test': ['v1', 'v2'] },
      absentTimeoutMs: 1,
      dialTimeoutMs: 500,
    });
    for (const host of ['a.test', 'b.test', 'c.test']) {
      const request = ask({ port: portOf(opened), method: 'POST', headers: { host }, agent: false });
      expect((await answerTo(request, 'with a body')).body).toMatch(/^v1 /);
    }
  });

  it('gets its share by weights, and the same for the same key', async () => {
    await serveNames('v1', 'v2');
    const opened = await net.open({
      hosts: {
        'split.test': { services: { v1: 1, v2: 1 } },
        'never.test': { services: { v1: 1, v2: 0 } },
        'sticky.test': { services: { v1: 1, v2: 1 }, sticky: 'cookie:user' },
        'header.test': { services: { v1: 1, v2: 1 }, sticky: 'header:X-User' },
        'ip.test': { services: { v1: 1, v2: 1 }, sticky: 'ip' },
      },
    });
    const first = async (host: string, headers: Record<string, string> = {}): Promise<string> =>
      (await net.get(opened, host, '/', headers)).body.slice(0, 2);
    const split = new Set<string>();
    while (split.size < 2) split.add(await first('split.test'));
    for (let count = 0; count < 10; count++) expect(await first('never.test')).toBe('v1');
    const byUser = new Set<string>();
    for (let user = 0; byUser.size < 2; user++) {
      const cookie = `a=b; user=${user}`;
      const service = await first('sticky.test', { cookie });
      expect(await first('sticky.test', { cookie })).toBe(service);
      expect(await first('header.test', { 'x-user': `${user}` })).toBe(service);
      byUser.add(service);
    }
    expect(await first('ip.test')).toBe(await first('ip.test'));
  });

  it('is always the same instance for the same key, or the one on a node', async () => {
    const third: Node = createNode({ closeTimeoutMs: 1 });
    net.finally(() => void third.close());
    const listener = await net.near.listenAndServe('tcp://127.0.0.1:0');
    await third.join(listener.address);
    for (const node of [net.far, third])
      node.bind(
        'web',
        createServer((_message, response) => response.end(node.id)),
      );
    while (net.near.serviceMap().get('web').length < 2) await once(net.near, 'service');
    const opened = await net.open({
      hosts: {
        'any.test': 'web',
        'key.test': { services: 'web', sticky: 'header:x-key' },
        'third.test': { services: 'web', node: third.id },
        'nowhere.test': { services: 'web', node: 'nobody' },
      },
      absentTimeoutMs: 1,
    });
    const ask = async (host: string, key = ''): Promise<string> =>
      (await net.get(opened, host, '/', { 'x-key': key })).body;
    const seen = new Set<string>();
    for (let key = 0; seen.size < 2; key++) {
      const id = await ask('key.test', `${key}`);
      for (let count = 0; count < 3; count++) expect(await ask('key.test', `${key}`)).toBe(id);
      seen.add(id);
    }
    for (let count = 0; count < 5; count++) expect(await ask('third.test')).toBe(third.id);
    expect(await ask('nowhere.test')).toContain('404');
    await third.close();
    while (net.near.serviceMap().get('web').length > 1) await once(net.near, 'unservice');
    for (let count = 0; count < 5; count++) expect(await ask('any.test')).toBe(net.far.id);
  });
});

describe('options that cannot be', () => {
  it.each<[string, GatewayOptions]>([
    ['an unknown one', { prot: 1 } as GatewayOptions],
    ['a suffix without a dot', { suffix: 'example.test' }],
    ['a rule without services', { hosts: { 'a.test': {} } }],
    ['an unknown member of a rule', { hosts: { 'a.test': { services: 'a', port: 1 } as never } }],
    ['a host that is none', { hosts: { 'a/b': 'a' } }],
    ['a path that is none', { paths: { api: 'api' } }],
    ['paths within paths', { paths: { '/a': { paths: { '/b': 'b' } } } }],
    ['a service that is no address', { default: 'a:b:c' }],
    ['a negative weight', { default: { services: { a: -1 } } }],
    ['an empty list', { default: [] }],
    ['a wrong key', { default: { services: 'a', sticky: 'body:x' as 'ip' } }],
    ['no CIDR', { trustProxy: ['10.0.0.0/99'] }],
    ['two places to listen', { listen: { port: 1, service: 'x' } }],
    ['no place to listen', { listen: {} }],
    ['TLS without certificates', { listen: { port: 0, tls: true } }],
    ['a limit beyond its range', { maxRequests: 0 }],
    ['required client certificates without an authority', { tls: { requireClientCertificate: true } }],
    ['ACME without its terms', { acme: { names: ['a.test'], folder: '/tmp/x', acceptTerms: false } }],
  ])('%s', async (_name, options) => {
    await expect(net.open(options)).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
  });
});
