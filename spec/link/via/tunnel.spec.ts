import { createServer, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it } from '@jest/globals';
import { parseLinkAddress } from '../../../lib/address.js';
import { createIdentity } from '../../../lib/identity/identity.js';
import { probe, resolveAddresses } from '../../../lib/link/transport/address-probe.js';
import { connect } from '../../../lib/link/transport/connect.js';
import { LinkTls } from '../../../lib/link/transport/tls.js';
import { resolveVia, type Via } from '../../../lib/options/via.js';
import { Timers } from '../../../lib/util/timers.js';
import { memberTls } from '../../support/certificates.js';
import { FakeClock } from '../../support/fake-clock.js';
import { answering, httpProxy, type SpecProxy, SpecServer, socksProxy } from '../../support/proxy-servers.js';

const TIMEOUT_MS = 10_000;
const USER = 'Jörg';
const PASSWORD = 'p:ss/w@rd #1';

const opened: Array<{ close(): Promise<void> }> = [];

function keep<Opened extends { close(): Promise<void> }>(one: Opened): Opened {
  opened.push(one);
  return one;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

/** A server that sends back what it gets. */
async function echoServer(): Promise<SpecServer> {
  return keep(await SpecServer.start(createServer((socket) => socket.pipe(socket))));
}

async function unusedPort(): Promise<number> {
  const server = await SpecServer.start(createServer());
  await server.close();
  return server.port;
}

function viaOf(url: string, noProxy?: string): Via {
  return resolveVia(url, noProxy) as Via;
}

function dial(address: string, via: Via, more: { timeoutMs?: number; timers?: Timers; signal?: AbortSignal } = {}) {
  return connect(parseLinkAddress(address), { via, timeoutMs: TIMEOUT_MS, ...more });
}

/** The error of a dial of a host that only a proxy finds. */
async function failure(url: string, more: Parameters<typeof dial>[2] = {}): Promise<Error & { code: string }> {
  const outcome = dial('tcp://far.example.test:7', viaOf(url), more);
  return outcome.then(
    () => {
      throw new Error('it has connected');
    },
    (error) => error,
  );
}

async function echoes(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  let received = '';
  for await (const chunk of socket) {
    received += chunk;
    if (received.length >= text.length) break;
  }
  return received;
}

const KINDS: ReadonlyArray<[string, (setup?: Parameters<typeof httpProxy>[0]) => Promise<SpecProxy>]> = [
  ['an HTTP proxy', httpProxy],
  ['a SOCKS proxy', socksProxy],
];

describe.each(KINDS)('a connection through %s', (_kind, start) => {
  it.each(['far.example.test', '192.0.2.7', '[2001:db8::7]', '[::ffff:192.0.2.7]'])(
    'carries bytes both ways to %s, which the proxy finds',
    async (host) => {
      const [echo, proxy] = [await echoServer(), keep(await start())];
      const { duplex, tls } = await dial(`tcp://${host}:${echo.port}`, viaOf(proxy.url));
      expect(tls).toBeUndefined();
      expect(await echoes(duplex as Socket, 'hello')).toBe('hello');
      expect(proxy.asked).toHaveLength(1);
      expect(proxy.asked[0]).toMatch(new RegExp(`:${echo.port}$`));
      if (!host.startsWith('[')) expect(proxy.asked).toEqual([`${host}:${echo.port}`]);
    },
  );

  it('logs in, with any characters', async () => {
    const [echo, proxy] = [await echoServer(), keep(await start({ user: USER, password: PASSWORD }))];
    const { duplex } = await dial(`tcp://far.example.test:${echo.port}`, viaOf(proxy.url));
    expect(await echoes(duplex as Socket, 'hello')).toBe('hello');
  });

  it.each([
    ['without a password', (port: number) => `127.0.0.1:${port}`],
    ['with a wrong one', (port: number) => `me:secret-word@127.0.0.1:${port}`],
  ])('fails by a code of its own %s, which the error does not contain', async (_title, authority) => {
    const proxy = keep(await start({ user: USER, password: PASSWORD }));
    const scheme = proxy.url.slice(0, proxy.url.indexOf(':'));
    const error = await failure(`${scheme}://${authority(proxy.port)}`);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_PROXY_AUTH' });
    expect(error.message).toContain(`tcp://far.example.test:7 through ${scheme}://127.0.0.1:${proxy.port}: `);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret-word');
  });

  it('is not made to this machine, nor to an exception', async () => {
    const [echo, proxy] = [await echoServer(), keep(await start())];
    for (const address of [`tcp://127.0.0.1:${echo.port}`, `tcp://localhost:${echo.port}`, `tcp://:${echo.port}`]) {
      (await dial(address, viaOf(proxy.url))).duplex.destroy();
    }
    await expect(dial('tcp://far.example.test:7', viaOf(proxy.url, 'example.test'))).rejects.toMatchObject({
      code: expect.stringMatching(/ENOTFOUND|EAI_AGAIN/),
    });
    expect(proxy.asked).toEqual([]);
  });

  it('fails where the proxy does not allow the host, or cannot reach it', async () => {
    const proxy = keep(await start({ lead: (_host, port) => (port === 7 ? undefined : { host: '127.0.0.1', port }) }));
    expect(await failure(proxy.url)).toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringContaining('it does not allow this host or port'),
    });
    const port = await unusedPort();
    await expect(dial(`tcp://far.example.test:${port}`, viaOf(proxy.url))).rejects.toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringMatching(
        /it cannot reach the host \(502 Bad Gateway\)|nothing listens at the host and port/,
      ),
    });
  });

  it('is closed when the wait is aborted', async () => {
    const mute = keep(await SpecServer.mute());
    const proxy = keep(await start());
    const aborter = new AbortController();
    const scheme = proxy.url.slice(0, proxy.url.indexOf(':'));
    const outcome = failure(`${scheme}://127.0.0.1:${mute.port}`, { signal: aborter.signal });
    while (mute.connections === 0) await new Promise((resolve) => setImmediate(resolve));
    aborter.abort(new Error('enough'));
    expect((await outcome).message).toBe('enough');
    await mute.idle();
  });

  it('leaves names to the proxy', async () => {
    const proxy = keep(await start());
    const via = viaOf(proxy.url, 'localhost');
    expect(await resolveAddresses('tcp://far.example.test:7', TIMEOUT_MS, via)).toEqual(['tcp://far.example.test:7']);
    expect((await resolveAddresses('tcp://localhost:7', TIMEOUT_MS, via))[0]).not.toContain('localhost');
  });

  it('is what probes use', async () => {
    const [echo, proxy] = [await echoServer(), keep(await start({ user: USER, password: PASSWORD }))];
    expect(await probe(`tcp://far.example.test:${echo.port}`, TIMEOUT_MS, viaOf(proxy.url))).toBe('open');
    await proxy.server.idle();
    // Only a proxy that says that nothing listens there proves it.
    const found = await probe(`tcp://far.example.test:${await unusedPort()}`, TIMEOUT_MS, viaOf(proxy.url));
    expect(found).toBe(start === socksProxy ? 'refused' : 'silent');
    const wrong = proxy.url.replace(/\/\/.*@/, '//a:b@');
    expect(await probe(`tcp://far.example.test:${echo.port}`, TIMEOUT_MS, viaOf(wrong))).toBe('silent');
    await proxy.close();
    expect(await probe(`tcp://far.example.test:${echo.port}`, TIMEOUT_MS, viaOf(proxy.url))).toBe('silent');
  });
});

describe('a proxy that fails', () => {
  it.each(['http', 'https', 'socks5'])('over %s cannot be reached', async (scheme) => {
    const port = await unusedPort();
    expect(await failure(`${scheme}://127.0.0.1:${port}`)).toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringContaining('the proxy cannot be reached (ECONNREFUSED)'),
      cause: expect.objectContaining({ code: 'ECONNREFUSED' }),
    });
  });

  it.each<[string, string, string | Buffer]>([
    ['http', 'HTTP/1.1 200 OK', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['http', 'an HTTP/2 frame', Buffer.from([0, 0, 18, 4, 0, 0, 0, 0, 0])],
    ['http', 'a status that is none', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['http', 'another version', 'HTTP/2 200\r\n\r\n'],
    ['socks5', 'HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['socks5', 'SOCKS 4', Buffer.from([0, 90, 0, 0, 0, 0, 0, 0])],
  ])('over %s by a malformed answer (%s) is left at once', async (scheme, _title, answer) => {
    const server = keep(await answering(answer));
    expect(await failure(`${scheme}://127.0.0.1:${server.port}`)).toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringContaining(`it does not answer as ${scheme === 'http' ? 'an HTTP' : 'a SOCKS'} proxy`),
    });
    await server.idle();
  });

  it('by headers without end is left after 16 KiB', async () => {
    let sent = 0;
    const server = keep(
      await SpecServer.start(
        createServer((socket) => {
          socket.write('HTTP/1.1 200 OK\r\n');
          const more = (): void => {
            while (!socket.destroyed && socket.write('X-More: and more\r\n')) sent += 18;
            if (!socket.destroyed) socket.once('drain', more);
          };
          socket.once('data', more);
        }),
      ),
    );
    const error = await failure(`http://127.0.0.1:${server.port}`);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_PROXY' });
    expect(error.message).toContain('its answer has more than 16384 bytes');
    await server.idle();
    expect(sent).toBeGreaterThan(16_384 - 100);
  });

  it.each([
    ['http', 'HTTP/1.1 200'],
    ['socks5', Buffer.from([5])],
  ])('over %s by a close in the middle of its answer', async (scheme, half) => {
    const server = keep(await SpecServer.start(createServer((socket) => socket.once('data', () => socket.end(half)))));
    expect(await failure(`${scheme}://127.0.0.1:${server.port}`)).toMatchObject({
      code: 'ERR_STARLANE_PROXY',
      message: expect.stringContaining('it closed the connection before it answered'),
    });
  });

  it.each([
    ['http', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Slow: '],
    ['socks5', Buffer.from([5, 0])],
  ])('over %s by an answer that does not end costs no more than the handshake timeout', async (scheme, answer) => {
    const server = keep(await answering(answer));
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const outcome = failure(`${scheme}://127.0.0.1:${server.port}`, { timers });
    while (server.connections === 0) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(TIMEOUT_MS - 1);
    clock.advance(100);
    expect(await outcome).toMatchObject({
      code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT',
      message: expect.stringMatching(/the proxy has not (answered|accepted the connection)$/),
    });
    await server.idle();
  });

  it('over https with a certificate that nobody vouches for is not asked', async () => {
    const { cert, key } = await memberTls();
    const proxy = keep(
      await httpProxy({ certificate: { cert: cert as string, key: key as string }, user: USER, password: PASSWORD }),
    );
    const error = await failure(proxy.url);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_PROXY' });
    expect(error.message).toContain('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(proxy.asked).toEqual([]);
  });

  it('leaves tls that is never finished to the same timeout', async () => {
    const mute = keep(await SpecServer.mute());
    const proxy = keep(await httpProxy());
    const clock = new FakeClock();
    const timers = new Timers(clock);
    const tls = new LinkTls(undefined, createIdentity());
    const outcome = connect(parseLinkAddress(`tls://far.example.test:${mute.port}`), {
      via: viaOf(proxy.url),
      tls,
      timeoutMs: TIMEOUT_MS,
      timers,
    }).catch((error) => error);
    while (mute.connections === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(TIMEOUT_MS + 100);
    expect(await outcome).toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' });
    await proxy.server.idle();
  });
});
