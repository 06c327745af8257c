// The HTTP server of the monitor: who may read it, and that nothing can be changed.

import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { Monitor, MonitorOptions } from '../../../lib/http/monitor/monitor.js';
import { startMonitor } from '../../../lib/http/monitor/server.js';
import { certificateFor } from '../../support/certificates.js';
import { FakeSource } from './fake-source.js';
import { ask, cookieOf, logIn } from './requests.js';

const FILES = Object.fromEntries(
  ['index.html', 'login.html', 'page.js', 'login.js', 'page.css', 'icon.svg'].map((name) => [
    name,
    { type: 'text/plain', gzip: gzipSync(`the file ${name}`).toString('base64') },
  ]),
);
const TOKEN = 'a token that is long enough'.replaceAll(' ', '-');

let running: Monitor[] = [];
afterEach(async () => {
  await Promise.all(running.map((monitor) => monitor.close()));
  running = [];
});

async function start(
  options: MonitorOptions = {},
  source = new FakeSource({ nodes: 4, services: 3 }),
): Promise<Monitor> {
  const monitor = await startMonitor(source, { port: 0, ...options }, FILES);
  running.push(monitor);
  return monitor;
}

/** Beyond loopback, as far as this machine has it. */
const beyond = (options: MonitorOptions = {}): Promise<Monitor> =>
  start({ host: '0.0.0.0', insecure: true, ...options });
const here = ({ url }: Monitor): string => url.replace('0.0.0.0', '127.0.0.1');

describe('the options', () => {
  it.each<[MonitorOptions, RegExp]>([
    [{ port: 70_000 }, /port/],
    [{ port: 1.5 }, /port/],
    [{ host: '' }, /host/],
    [{ token: 'short' }, /token/],
    [{ token: 'with a space in the middle' }, /token/],
    [{ maxReaders: 0 }, /maxReaders/],
    [{ allowedHosts: ['a:80'] }, /allowedHosts/],
    [{ tls: { cert: '', key: 'x' } }, /tls\.cert/],
    [{ tls: { cert: 'x', key: 'x' } }, /tls/],
    [{ hots: 'x' } as MonitorOptions, /hots/],
  ])('are checked: %j', async (options, message) => {
    await expect(start(options)).rejects.toMatchObject({
      code: 'ERR_STARLANE_OPTION',
      message: expect.stringMatching(message),
    });
  });

  it('refuse http beyond loopback, unless it is asked for', async () => {
    await expect(start({ host: '0.0.0.0' })).rejects.toMatchObject({ code: 'ERR_STARLANE_INSECURE' });
    expect((await beyond()).token).toMatch(/^[\w-]{43}$/);
  });

  it('need no token on loopback, and make a new one on request', async () => {
    const [open, one, other] = [await start(), await start({ token: true }), await start({ token: true })];
    expect(open.token).toBeUndefined();
    expect(open.loginUrl).toBe(open.url);
    expect(one.token).not.toBe(other.token);
    expect(one.loginUrl).toBe(`${one.url}#token=${one.token}`);
  });

  it('fail as Node does when the port is taken, and leave the source alone', async () => {
    const { port } = new URL((await start()).url);
    const source = new FakeSource({ nodes: 1, services: 0 });
    await expect(start({ port: Number(port) }, source)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(source.isWatched).toBe(false);
  });
});

describe('a monitor', () => {
  it('can only be read', async () => {
    const { url } = await start();
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      expect(await ask(url, '/api/snapshot', { method })).toMatchObject({
        status: 405,
        headers: { allow: 'GET, HEAD' },
      });
    }
    expect(await ask(url, '/api/snapshot', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
  });

  it('answers with each table, and with everything', async () => {
    const { url } = await start();
    const { snapshot, events } = JSON.parse((await ask(url, '/api/snapshot')).body);
    expect(snapshot.nodes).toHaveLength(4);
    expect(events).toEqual([]);
    for (const name of ['nodes', 'edges', 'services', 'links', 'streams', 'members'] as const) {
      expect(JSON.parse((await ask(url, `/api/${name}`)).body)).toEqual(snapshot[name]);
    }
    expect(JSON.parse((await ask(url, '/api/topology')).body)).toMatchObject({ self: { id: 'n00000aaaaA' } });
    expect((await ask(url, '/api/secrets')).status).toBe(404);
    expect((await ask(url, '/../package.json')).status).toBe(404);
  });

  it('sends a strict policy with everything', async () => {
    const { url } = await start({ token: TOKEN });
    for (const path of ['/', '/login', '/page.css', '/api/snapshot', '/nothing']) {
      const { headers } = await ask(url, path);
      const policy = String(headers['content-security-policy']);
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/unsafe|https?:|\*|data:/);
      expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  it('sends its files compressed or not, and says when they are the same', async () => {
    const { url } = await start();
    const plain = await ask(url, '/page.js');
    expect(plain).toMatchObject({ status: 200, body: 'the file page.js' });
    const packed = await ask(url, '/page.js', { headers: { 'accept-encoding': 'gzip, br' } });
    expect(packed.headers['content-encoding']).toBe('gzip');
    const same = await ask(url, '/page.js', { headers: { 'if-none-match': String(plain.headers.etag) } });
    expect(same).toMatchObject({ status: 304, body: '' });
  });

  it('ends with its node', async () => {
    const source = new FakeSource({ nodes: 1, services: 0 });
    const { url } = await start({}, source);
    source.end();
    await expect(ask(url, '/')).rejects.toMatchObject({ code: expect.stringMatching(/ECONNREFUSED|ECONNRESET/) });
    expect(source.isWatched).toBe(false);
  });

  it('speaks https with a certificate, and marks its cookie', async () => {
    const { cert, key } = await certificateFor('localhost');
    const { url } = await start({ host: 'localhost', tls: { cert, key }, token: TOKEN });
    expect(url).toMatch(/^https:/);
    const body = new URLSearchParams({ token: TOKEN }).toString();
    const answer = await ask(url, '/login', { method: 'POST', body, ca: cert });
    expect(answer.headers['set-cookie']?.[0]).toMatch(/^__Host-starlane-\d+=.*; Secure$/);
    expect((await ask(url, '/', { headers: { cookie: cookieOf(answer) }, ca: cert })).status).toBe(200);
  });
});

describe('names of hosts', () => {
  it.each(['evil.example', 'evil.example:80', '127.0.0.1.evil.example', 'localhost.evil.example', 'a@127.0.0.1'])(
    'on loopback are those of this machine, and not %j (DNS rebinding)',
    async (host) => {
      const { url } = await start();
      for (const path of ['/', '/api/snapshot', '/api/live', '/login']) {
        expect((await ask(url, path, { headers: { host } })).status).toBe(403);
      }
    },
  );

  it.each(['localhost', 'LOCALHOST:1', '127.0.0.1:99', '[::1]:5', 'node.localhost'])(
    'of loopback may be %j',
    async (host) => {
      expect((await ask((await start()).url, '/', { headers: { host } })).status).toBe(200);
    },
  );

  it('may be those of a proxy', async () => {
    const { url } = await start({ allowedHosts: ['Monitor.example'] });
    expect((await ask(url, '/', { headers: { host: 'monitor.example' } })).status).toBe(200);
    expect((await ask(url, '/', { headers: { host: 'other.example' } })).status).toBe(403);
  });

  it('are any beyond loopback, where a token is needed, unless they are listed', async () => {
    const open = here(await beyond());
    expect((await ask(open, '/api/snapshot', { headers: { host: 'evil.example' } })).status).toBe(401);
    const listed = here(await beyond({ allowedHosts: ['monitor.example'] }));
    expect((await ask(listed, '/login', { headers: { host: 'evil.example' } })).status).toBe(403);
    expect((await ask(listed, '/login', { headers: { host: 'monitor.example' } })).status).toBe(200);
  });
});

describe('pages of others', () => {
  it.each(['cross-site', 'same-site'])('cannot take the places of readers: %s', async (site) => {
    const { url } = await start();
    for (const path of ['/api/live', '/api/snapshot']) {
      expect((await ask(url, path, { headers: { 'sec-fetch-site': site } })).status).toBe(403);
    }
  });

  it('cannot log in', async () => {
    const { url } = await start({ token: TOKEN });
    expect((await logIn(url, TOKEN, { origin: 'http://evil.example' })).status).toBe(403);
    expect((await logIn(url, TOKEN, { 'sec-fetch-site': 'cross-site' })).status).toBe(403);
  });
});

describe('a token', () => {
  it('is needed for everything but the login', async () => {
    const { url } = await start({ token: TOKEN });
    expect(await ask(url, '/')).toMatchObject({ status: 303, headers: { location: '/login' } });
    for (const path of ['/page.js', '/api/snapshot', '/api/live', '/api/v1/links', '/nothing']) {
      expect((await ask(url, path)).status).toBe(401);
    }
    for (const path of ['/login', '/login.js', '/page.css', '/icon.svg'])
      expect((await ask(url, path)).status).toBe(200);
  });

  it('becomes a cookie that scripts and other sites do not get, and that is not the token', async () => {
    const { url } = await start({ token: TOKEN });
    const answer = await logIn(url, TOKEN);
    expect(answer).toMatchObject({ status: 303, headers: { location: '/' } });
    const [cookie] = answer.headers['set-cookie'] as string[];
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict; Max-Age=\d+/);
    expect(cookie).not.toContain(TOKEN);
    expect((await ask(url, '/api/snapshot', { headers: { cookie: `a=b; ${cookieOf(answer)}` } })).status).toBe(200);
    expect((await ask(url, '/api/snapshot', { headers: { cookie: `${cookieOf(answer)}x` } })).status).toBe(401);
    expect((await ask(url, '/api/snapshot', { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(200);
  });

  it('is refused when it is wrong, and guesses from one address soon have to wait', async () => {
    const { url } = await start({ token: TOKEN });
    const locations: unknown[] = [];
    for (let guess = 0; guess < 12; guess++) {
      locations.push((await logIn(url, `${TOKEN}${guess}`)).headers.location);
    }
    expect(locations.slice(0, 10)).toEqual(Array(10).fill('/login?no'));
    expect(locations.at(-1)).toBe('/login?later');
    expect((await logIn(url, TOKEN)).headers.location).toBe('/login?later');
  });

  it('ends with the logout', async () => {
    const { url } = await start({ token: TOKEN });
    const cookie = cookieOf(await logIn(url, TOKEN));
    expect(await ask(url, '/logout', { method: 'POST', headers: { cookie } })).toMatchObject({ status: 303 });
    expect((await ask(url, '/api/snapshot', { headers: { cookie } })).status).toBe(401);
  });

  it('is not asked for in a form of any length', async () => {
    const { url } = await start({ token: TOKEN });
    expect((await logIn(url, 'x'.repeat(10_000))).status).toBe(413);
  });
});
