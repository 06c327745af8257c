// The preload does not change how sockets behave in a program. Each case runs twice in one program, over TCP and
// over the overlay, with the same result.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createTcpServer, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';
import { runPreloaded } from '../support/built-lib.js';
import { certificateFor } from '../support/certificates.js';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';
import { socketPath } from '../support/testnet.js';

let folder: string;
let cert: string;
let key: string;
let node: Node;
let address: string;
let children: Child[];
let servers: NetServer[];
let ports: { echo: number; tls: number };

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
  const echo = (): NetServer =>
    createTcpServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket));
  // Answers a greeting, and ends.
  const tls = (): NetServer =>
    createTlsServer({ cert, key, allowHalfOpen: true }, (socket: TLSSocket) => {
      socket.on('error', () => {});
      socket.once('data', (greeting) => socket.end(`you said ${greeting}`));
    });
  servers = [echo(), tls()];
  node.bind('web:7', echo());
  node.bind('web:8', tls());
  const listening = servers.map((server) => once(server.listen(0, '127.0.0.1'), 'listening'));
  await Promise.all(listening);
  const [echoPort, tlsPort] = servers.map((server) => (server.address() as { port: number }).port);
  ports = { echo: echoPort as number, tls: tlsPort as number };
});
afterEach(async () => {
  for (const server of servers) server.close();
  await Promise.all([node.close(), ...children.map((child) => child.stop())]);
});

/** @param body of a function of `echo` and `secure`, where to connect to, which returns what it saw */
async function seen(body: string): Promise<[tcp: unknown, overlay: unknown]> {
  const program = `
    import net from 'node:net';
    import tls from 'node:tls';
    import { once, getEventListeners } from 'node:events';
    import { text } from 'node:stream/consumers';
    const lax = { servername: 'web.starlane' };
    const run = async (echo, secure) => {${body}};
    say({ seen: await run({ host: '127.0.0.1', port: ${ports.echo} }, { host: '127.0.0.1', port: ${ports.tls}, ...lax }) });
    say({ seen: await run({ host: 'web.starlane', port: 7 }, { host: 'web.starlane', port: 8, ...lax }) });`;
  const child = runPreloaded('module', program, {
    STARLANE_JOIN: address,
    STARLANE_DIAL_TIMEOUT_MS: '2000',
    NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
  });
  children.push(child);
  const code = await within('the end of the program', child.exited);
  if (code !== 0) throw new Error(`it ended with ${code}: ${child.errors}`);
  return child.lines.map((line) => line['seen']) as [unknown, unknown];
}

async function expectSame(expected: unknown, body: string): Promise<void> {
  expect(await seen(body)).toEqual([expected, expected]);
}

describe('net.Socket', () => {
  it('stays an instance of its class, with its methods', () =>
    expectSame(
      [true, true, true, 'hello'],
      `class Client extends net.Socket { greeting = 'hello'; hello() { return this.greeting; } }
       const client = new Client();
       client.connect(echo);
       await once(client, 'connect');
       client.destroy();
       return [client instanceof Client, client instanceof net.Socket, client.constructor === Client, client.hello()];`,
    ));

  it('calls what a subclass overrides, and that reaches net.Socket by super', () =>
    expectSame(
      [['connect', 'end', 'setTimeout', 'address true', 'destroy'], 'HELLO', true],
      `const calls = [];
       class Client extends net.Socket {
         connect(...args) { calls.push('connect'); return super.connect(...args); }
         end(...args) { calls.push('end'); return super.end(...args); }
         setTimeout(...args) { calls.push('setTimeout'); return super.setTimeout(...args); }
         get remoteAddress() { return super.remoteAddress + '!'; }
         _destroy(error, callback) { calls.push('destroy'); return super._destroy(error, callback); }
       }
       const client = new Client();
       client.connect(echo).end('HELLO');
       const [data] = await once(client, 'data');
       client.setTimeout(1000);
       calls.push('address ' + (client.remoteAddress.endsWith('!') && client.remoteAddress.length > 2));
       client.destroy();
       await once(client, 'close');
       return [calls, String(data), client.destroyed];`,
    ));

  it('is subclassed by functions as well', () =>
    expectSame(
      [true, 'hello', 'hi'],
      `function Client() { net.Socket.call(this); }
       Object.setPrototypeOf(Client.prototype, net.Socket.prototype);
       Client.prototype.hello = () => 'hello';
       const client = new Client();
       client.connect(echo).end('hi');
       return [client instanceof Client, client.hello(), await text(client)];`,
    ));

  it('still connects to other hosts after a socket of its class has used the overlay', () =>
    expectSame(
      ['one', 'two'],
      `class Client extends net.Socket {
         _destroy(error, callback) { super._destroy(error, callback); }
         read(size) { return super.read(size); }
       }
       const received = [];
       for (const [word, where] of [['one', echo], ['two', { host: '127.0.0.1', port: ${ports.echo} }]]) {
         const client = new Client();
         client.connect(where).end(word);
         received.push(await text(client));
       }
       return received;`,
    ));
});

describe('tls.connect', () => {
  it('emits what net.Socket emits, in the same order', () =>
    expectSame(
      [true, 'connect', 'ready', 'secureConnect', 'end', 'close', 'you said hello'],
      `const socket = tls.connect(secure);
       const events = [socket.connecting];
       for (const event of ['connect', 'ready', 'secureConnect', 'end', 'close']) socket.on(event, () => events.push(event));
       socket.once('secureConnect', () => socket.write('hello'));
       const closed = once(socket, 'close');
       const answer = await text(socket);
       socket.end();
       await closed;
       return [...events, answer];`,
    ));

  it('keeps allowHalfOpen', () =>
    expectSame(
      [true, true],
      `const socket = tls.connect({ ...secure, allowHalfOpen: true });
       socket.write('hello');
       socket.resume();
       await once(socket, 'end');
       await new Promise(setImmediate);
       const { allowHalfOpen, writable } = socket;
       socket.destroy();
       return [allowHalfOpen, writable];`,
    ));

  it('reads into the buffer of onread', () =>
    expectSame(
      [14, 'you said hello', 0],
      `const buffer = Buffer.alloc(64);
       let events = 0;
       let read;
       const done = new Promise((resolve) => { read = resolve; });
       const socket = tls.connect({ ...secure, onread: { buffer, callback: read } });
       socket.on('data', () => events++);
       socket.write('hello');
       const length = await done;
       const got = buffer.toString('latin1', 0, length);
       socket.destroy();
       return [length, got, events];`,
    ));

  it('listens to its signal once, and ends by it', () =>
    expectSame(
      [1, 'AbortError'],
      `const control = new AbortController();
       const socket = tls.connect({ ...secure, signal: control.signal });
       const listeners = getEventListeners(control.signal, 'abort').length;
       control.abort();
       const [error] = await once(socket, 'error');
       return [listeners, error.name];`,
    ));

  it.each([
    ['before it is connected', ''],
    ['while it connects', 'socket.connect(echoOrSecure);'],
    ['when it is connected', `socket.connect(echoOrSecure); await once(socket, 'connect');`],
  ])('begins on a net.Socket %s', (_when, before) =>
    expectSame(
      'you said hello',
      `const echoOrSecure = { host: secure.host, port: secure.port };
       class Client extends net.Socket {}
       const received = new Set();
       for (const Class of [net.Socket, Client]) {
         const socket = new Class();
         ${before}
         const secured = tls.connect({ ...secure, socket });
         secured.write('hello');
         ${before === '' ? 'socket.connect(echoOrSecure);' : ''}
         received.add(await text(secured));
       }
       return [...received].join();`,
    ),
  );

  it('fails with one error, and a close with hadError', () =>
    expectSame(
      ['error', 'close true'],
      `const socket = tls.connect({ ...secure, port: 9 });
       const events = [];
       socket.on('error', () => events.push('error'));
       socket.on('close', (hadError) => events.push('close ' + hadError));
       await new Promise((resolve) => socket.once('close', resolve));
       return events;`,
    ));

  it('has its addresses', () =>
    expectSame(
      ['string', 'string', 'number', 'number', true],
      `const socket = tls.connect(secure);
       await once(socket, 'secureConnect');
       const { remoteAddress, localAddress, remotePort, localPort } = socket;
       socket.destroy();
       return [typeof remoteAddress, typeof localAddress, typeof remotePort, typeof localPort, remotePort === secure.port];`,
    ));

  it('does not hold the process open after unref(), whenever that is called', async () => {
    const body = (unref: string): string => `
      const socket = ${unref};
      socket.on('secureConnect', () => say({ event: 'never waited for' }));
      return 'left';`;
    await expectSame('left', body('tls.connect(secure).unref()'));
    await expectSame('left', body('new tls.TLSSocket(null, {}).unref().connect(secure)'));
  });
});

describe('TLSSocket.connect', () => {
  it('connects a TLSSocket that was made before', () =>
    expectSame(
      ['connect', 'secure', 'you said hello'],
      `const socket = new tls.TLSSocket(null, {});
       const events = [];
       socket.on('connect', () => { events.push('connect'); socket.write('hello'); });
       socket.on('secure', () => events.push('secure'));
       socket.connect({ host: secure.host, port: secure.port });
       const answer = await text(socket);
       return [...events, answer];`,
    ));
});
