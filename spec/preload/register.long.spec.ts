// Unchanged programs under the preload, each in a separate process, against a node of this one.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';
import { runPreloaded } from '../support/built-lib.js';
import { certificateFor } from '../support/certificates.js';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';
import { socketPath } from '../support/testnet.js';

const KINDS = ['module', 'commonjs'] as const;

let folder: string;
let cert: string;
let key: string;
let node: Node;
let address: string;
let children: Child[];
let web: HttpServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starlane-preload-'));
  ({ cert, key } = await certificateFor('web.starlane'));
  await writeFile(join(folder, 'ca.pem'), cert);
});
afterAll(() => rm(folder, { recursive: true }));

beforeEach(async () => {
  children = [];
  node = createNode({ closeTimeoutMs: 100 });
  address = `unix:${socketPath()}`;
  await node.listenAndServe(address);
  node.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
  web = createHttpServer((request, response) =>
    response.end(`${request.method} ${request.url} of ${request.headers.host}`),
  );
  node.bind('web:80', web);
});
afterEach(async () => {
  web.closeAllConnections();
  await Promise.all([node.close(), ...children.map((child) => child.stop())]);
});

/** `imports`: names of modules of Node, each a constant of the program by its last part. */
function run(kind: (typeof KINDS)[number], imports: string[], body: string, env: Record<string, string> = {}): Child {
  const header = imports
    .map((name) => {
      const constant = name.split('/').join('_');
      return kind === 'module'
        ? `import ${constant} from 'node:${name}';`
        : `const ${constant} = require('node:${name}');`;
    })
    .join('\n');
  const child = runPreloaded(kind, `${header}\n(async () => {${body}})();`, {
    STARLANE_JOIN: address,
    NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
    ...env,
  });
  children.push(child);
  return child;
}

async function lines(child: Child): Promise<unknown[]> {
  const code = await within('the end of the program', child.exited);
  if (code !== 0) throw new Error(`it ended with ${code}: ${child.errors}`);
  return child.lines;
}

describe.each(KINDS)('a program (%s)', (kind) => {
  it('connects by net.connect, and by a socket that it made before', async () => {
    const child = run(
      kind,
      ['net', 'events'],
      `const one = net.connect(7, 'echo.starlane', () => say({ connected: one.remoteFamily }));
       one.resume().end('one');
       const two = new net.Socket();
       two.setEncoding('utf8');
       const same = two.connect({ host: 'echo.starlane', port: 7 });
       const [text] = await events.once(two.end('zw\u00f6lf'), 'data');
       await events.once(two, 'close');
       say({ text, read: two.bytesRead, written: two.bytesWritten, same: same === two });`,
    );
    expect(await lines(child)).toEqual([
      { connected: 'IPv4' },
      { text: 'zw\u00f6lf', read: 6, written: 6, same: true },
    ]);
  });

  it('connects the same socket again, by the same name', async () => {
    const child = run(
      kind,
      ['net', 'events'],
      `const socket = new net.Socket();
       for (const text of ['first', 'second']) {
         socket.connect({ host: 'echo.starlane', port: 7 });
         socket.end(text);
         const [echo] = await events.once(socket, 'data');
         await events.once(socket, 'close');
         say({ echo: String(echo), read: socket.bytesRead });
       }
       try { socket.connect(7, '127.0.0.1'); } catch (error) { say({ code: error.code }); }`,
    );
    expect(await lines(child)).toEqual([
      { echo: 'first', read: 5 },
      { echo: 'second', read: 6 },
      { code: 'ERR_STARLANE_ARGUMENT' },
    ]);
  });

  it('keeps what it had set on a socket before it connected', async () => {
    const child = run(
      kind,
      ['net', 'events'],
      `const socket = new net.Socket({ allowHalfOpen: true }).setTimeout(20);
       socket.tag = 'mine';
       socket.once('ready', () => say({ tag: socket.tag, timeout: socket.timeout, halfOpen: socket.allowHalfOpen }));
       socket.connect(7, 'echo.starlane');
       await events.once(socket, 'ready');
       await events.once(socket, 'timeout');
       socket.destroy();
       await events.once(socket, 'close');
       const buffer = Buffer.alloc(4);
       const got = [];
       const reader = net.connect({ host: 'echo.starlane', port: 7, onread: { buffer, callback(length, into) {
         got.push(into.toString('latin1', 0, length));
         if (got.join('').length === 6) say({ got: got.join(''), self: this === reader }), reader.destroy();
       } } });
       reader.write('onread');`,
    );
    expect(await lines(child)).toEqual([
      { tag: 'mine', timeout: 20, halfOpen: true },
      { got: 'onread', self: true },
    ]);
  });

  it('does not stay alive for a socket that it unreferenced before it connected', async () => {
    const child = run(
      kind,
      ['net'],
      `new net.Socket().unref().connect(7, 'echo.starlane', () => say({ event: 'up' }));
      net.connect(7, 'echo.starlane', function () { this.end(); });`,
    );
    await lines(child);
  });

  it('speaks http by http.get, by an agent that keeps connections, and by fetch', async () => {
    const child = run(
      kind,
      ['http', 'events', 'stream/consumers'],
      `const agent = new http.Agent({ keepAlive: true });
       for (const path of ['/a', '/b']) {
         const [response] = await events.once(http.get({ host: 'web.starlane', path, agent }), 'response');
         say({ text: await stream_consumers.text(response) });
       }
       agent.destroy();
       say({ text: await (await fetch('http://web.starlane/c', { method: 'POST', body: 'x' })).text() });`,
    );
    expect(await lines(child)).toEqual([
      { text: 'GET /a of web.starlane' },
      { text: 'GET /b of web.starlane' },
      { text: 'POST /c of web.starlane' },
    ]);
  });

  it('speaks tls and https, and checks the certificate for the host of the overlay', async () => {
    node.bind(
      'web:443',
      createHttpsServer({ cert, key }, (_request, response) => response.end('secure')),
    );
    node.bind('wrong:443', createHttpsServer({ cert, key }));
    const plain = createTlsServer({ cert, key }, (socket) =>
      socket.end(`for ${(socket as { servername?: string }).servername}`),
    );
    node.bind('web:7', plain);
    const child = run(
      kind,
      ['https', 'tls', 'events', 'stream/consumers'],
      `const socket = tls.connect(7, 'web.starlane');
       say({ text: await stream_consumers.text(socket) });
       const [response] = await events.once(https.get('https://web.starlane/', { agent: false }), 'response');
       say({ text: await stream_consumers.text(response) });
       say({ text: await (await fetch('https://web.starlane/')).text() });
       const [error] = await events.once(https.get('https://wrong.starlane/', { agent: false }), 'error');
       say({ code: error.code });`,
    );
    expect(await lines(child)).toEqual([
      { text: 'for web.starlane' },
      { text: 'secure' },
      { text: 'secure' },
      { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    ]);
  });

  it('begins tls on a socket that has read texts', async () => {
    node.bind('upgrade:7', (socket) => {
      socket.once('data', () => {
        const secure = new TLSSocket(socket, { isServer: true, cert, key });
        secure.on('error', () => {}).once('data', (chunk) => secure.end(chunk));
      });
      socket.write('ready');
    });
    const child = run(
      kind,
      ['net', 'tls', 'events', 'stream/consumers'],
      `const plain = net.connect(7, 'upgrade.starlane').setEncoding('utf8');
       const ready = new Promise((resolve) => plain.once('data', resolve));
       plain.once('connect', () => plain.write('start'));
       say({ text: await ready });
       const secure = tls.connect({ socket: plain, servername: 'web.starlane' });
       secure.write('secret');
       say({ text: await stream_consumers.text(secure) });`,
    );
    expect(await lines(child)).toEqual([{ text: 'ready' }, { text: 'secret' }]);
  });

  it('speaks http2', async () => {
    const server = createHttp2Server((request, response) => response.end(`h2 ${request.url}`));
    node.bind('h2:80', server);
    const child = run(
      kind,
      ['http2', 'events', 'stream/consumers'],
      `const session = http2.connect('http://h2.starlane');
       const request = session.request({ ':path': '/path' });
       say({ text: await stream_consumers.text(request) });
       session.close();
       await events.once(session, 'close');`,
    );
    expect(await lines(child)).toEqual([{ text: 'h2 /path' }]);
  });

  it('never asks the DNS for a host of the overlay', async () => {
    const child = run(
      kind,
      ['dns', 'net', 'events'],
      `const refused = async (promise) => { try { await promise; return 'found'; } catch (error) { return error.code; } };
       const called = (name) => new Promise((resolve) => dns[name]('web.starlane', (error) => resolve(error?.code)));
       say({ codes: [await called('resolve'), await called('resolve4'), await refused(dns.promises.resolve('A.Starlane.', 'TXT')),
         await refused(new dns.promises.Resolver().resolveSrv('a.starlane'))] });
       const lookup = () => say({ event: 'looked up' });
       const socket = net.connect({ host: 'echo.starlane', port: 7, lookup });
       await events.once(socket, 'connect');
       socket.destroy();`,
    );
    expect(await lines(child)).toEqual([{ codes: Array(4).fill('ENOTFOUND') }]);
  });

  it('names an unknown host as the program has written it', async () => {
    const child = run(
      kind,
      ['net', 'events'],
      // No service can have that name, so the dial does not wait for it.
      `const socket = net.connect({ host: 'No Name.Starlane', port: 7 });
       const [error] = await events.once(socket, 'error');
       say({ message: error.message, hostname: error.hostname });`,
    );
    expect(await lines(child)).toEqual([
      { message: 'getaddrinfo ENOTFOUND No Name.Starlane', hostname: 'No Name.Starlane' },
    ]);
  });

  it('gets an address for a host of the overlay that leads to the service again', async () => {
    const child = run(
      kind,
      ['dns', 'dns/promises', 'net', 'stream/consumers'],
      `const lookup = (options) => new Promise((resolve) => dns.lookup('echo.starlane', options, (...values) => resolve(values)));
       const [error, address, family] = await lookup({});
       say({ error, family, is: net.isIPv4(address) });
       say({ all: (await lookup({ all: true }))[1].length, six: net.isIPv6((await lookup(6))[1]) });
       say({ same: (await dns_promises.lookup('ECHO.starlane')).address !== address });
       for (const { address } of [await dns_promises.lookup('echo.starlane'), await dns_promises.lookup('echo.starlane', 6)]) {
         say({ text: await stream_consumers.text(net.connect(7, address).end('by address')) });
       }`,
    );
    expect(await lines(child)).toEqual([
      { error: null, family: 4, is: true },
      { all: 1, six: true },
      { same: true },
      { text: 'by address' },
      { text: 'by address' },
    ]);
  });

  it('still reaches other hosts', async () => {
    const server = createTcpServer((socket) => socket.end('tcp')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    try {
      const child = run(
        kind,
        ['net', 'stream/consumers', 'dns/promises'],
        `const socket = net.connect(${port}, 'localhost');
         say({ text: await stream_consumers.text(socket), is: socket instanceof net.Socket });
         say({ family: (await dns_promises.lookup('127.0.0.1')).family });`,
      );
      expect(await lines(child)).toEqual([{ text: 'tcp', is: true }, { family: 4 }]);
    } finally {
      server.close();
    }
  });
});

describe('a program under the preload', () => {
  it('waits for a mesh that is not up yet', async () => {
    const later = `unix:${socketPath()}`;
    const child = run(
      'module',
      ['net', 'events'],
      `const socket = net.connect(7, 'late.starlane');
       say({ event: 'connecting' });
       await events.once(socket, 'connect');
       say({ event: 'connected' });
       socket.destroy();`,
      { STARLANE_JOIN: later },
    );
    await child.waitFor('the attempt', ({ event }) => event === 'connecting');
    await node.listenAndServe(later);
    node.bind('late');
    expect(await lines(child)).toContainEqual({ event: 'connected' });
  });

  it.each(KINDS)('is a member of a network with a secret: as a %s', async (kind) => {
    const secret = 'a secret of more than 16 bytes';
    const member = createNode({ secret, closeTimeoutMs: 100 });
    try {
      member.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
      const listener = await member.listenAndServe('127.0.0.1:0');
      const child = run(
        kind,
        ['net'],
        `const socket = net.connect(7, 'echo.starlane');
         socket.end('hello');
         for await (const chunk of socket) say({ event: 'echo', text: String(chunk) });`,
        { STARLANE_JOIN: listener.address.replace('tls://', ''), STARLANE_SECRET: secret },
      );
      expect(await lines(child)).toEqual([{ event: 'echo', text: 'hello' }]);
      expect(child.errors).toBe('');
      expect(member.stats().links).toMatchObject({ opened: 1, failed: 0 });
    } finally {
      await member.close();
    }
  });

  it.each([
    ['says nothing of where to join', { STARLANE_JOIN: '' }, /ERR_STARLANE_OPTION/],
    ['names no address to join', { STARLANE_JOIN: 'nonsense' }, /ERR_STARLANE_ADDRESS/],
    ['has an empty secret', { STARLANE_SECRET: '' }, /ERR_STARLANE_OPTION/],
    ['names an address that needs certificates', { STARLANE_JOIN: 'tls://127.0.0.1:1' }, /ERR_STARLANE_OPTION/],
    ['names an env that cannot be', { STARLANE_ENV: 'a:b' }, /ERR_STARLANE_OPTION/],
  ])('ends at its start when the environment %s', async (_what, env, error) => {
    const child = run('module', [], 'setInterval(() => {}, 1000);', env);
    expect(await within('the end of the program', child.exited)).not.toBe(0);
    expect(child.errors).toMatch(error);
  });

  it('cannot take a used socket over to the overlay, nor to the DNS', async () => {
    const child = run(
      'module',
      ['net', 'tls'],
      `for (const socket of [new net.Socket().destroy(), new tls.TLSSocket(new net.Socket())]) {
         try { socket.connect(7, 'echo.starlane'); say({ event: 'connected' }); } catch (error) { say({ code: error.code }); }
       }
       process.exit();`,
    );
    expect(await lines(child)).toEqual(Array(2).fill({ code: 'ERR_STARLANE_ARGUMENT' }));
  });
});
