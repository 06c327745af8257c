// Unchanged programs that offer services under the preload, each in a separate process, and the processes that they start.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';
import { runPreloaded, runPreloadedFile } from '../support/built-lib.js';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';
import { socketPath } from '../support/testnet.js';

const MODULES = ['http', 'net', 'events', 'cluster', 'child_process', 'worker_threads', 'stream/consumers'];
const HEADER = MODULES.map((name) => `const ${name.split('/').join('_')} = require('node:${name}');`).join('\n');

let folder: string;
let node: Node;
let address: string;
let children: Child[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starlane-listen-'));
});
afterAll(() => rm(folder, { recursive: true }));

beforeEach(async () => {
  children = [];
  node = createNode({ closeTimeoutMs: 100 });
  address = `unix:${socketPath()}`;
  await node.listenAndServe(address);
});
afterEach(() => Promise.all([node.close(), ...children.map((child) => child.stop())]));

function run(body: string, env: Record<string, string> = {}): Child {
  const child = runPreloaded('commonjs', `${HEADER}\n(async () => {${body}})();`, { STARLANE_JOIN: address, ...env });
  children.push(child);
  return child;
}

/** The program in a file, which its forks and workers can run as well. */
async function runFile(body: string, env: Record<string, string>): Promise<Child> {
  const path = join(folder, `${children.length}-${Math.random().toString(36).slice(2)}.cjs`);
  const say = 'const say = (line) => console.log(JSON.stringify(line));';
  await writeFile(path, `${HEADER}\n${say}\n(async () => {${body}})();`);
  const child = runPreloadedFile(path, env);
  children.push(child);
  return child;
}

async function lines(child: Child): Promise<unknown[]> {
  const code = await within('the end of the program', child.exited);
  if (code !== 0) throw new Error(`it ended with ${code}: ${child.errors}`);
  return child.lines;
}

/** What a service answers before it ends. */
function answer(service: string): Promise<string> {
  return within(`an answer of ${service}`, text(node.dial(service)));
}

describe('a server that listens at a host of the overlay', () => {
  it('offers the service, and has the address of a listening server', async () => {
    const child = run(
      `const server = http.createServer((request, response) => {
         const { remoteAddress, remoteFamily } = request.socket;
         response.end(JSON.stringify({ remoteAddress, remoteFamily, peer: request.socket.peer.id }));
       });
       server.listen(8080, 'web.starlane', () => {
         const { address, family, port } = server.address();
         say({ event: 'listening', address, family, port, is: server.listening });
       });
       process.stdin.once('data', () => server.close(() => { say({ event: 'closed' }); process.exit(); }));`,
    );
    const { address: own, family, port, is } = await child.waitFor('listening', ({ event }) => event === 'listening');
    expect([isIPv4(String(own)), family, port, is]).toEqual([true, 'IPv4', 8080, true]);
    const info = await node.waitFor('web:8080');
    expect(info.service).toBe('web');
    const socket = node.dial('web:8080');
    socket.end('GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n');
    const body = JSON.parse((await within('the answer', text(socket))).split('\r\n\r\n')[1] as string);
    expect(body).toEqual({ remoteAddress: expect.stringMatching(/^198\.19\./), remoteFamily: 'IPv4', peer: node.id });
    child.send({});
    expect(await lines(child)).toContainEqual({ event: 'closed' });
  });

  it('dials a client back at its remoteAddress', async () => {
    node.bind(':9', (socket) => socket.end('back'));
    run(
      `net.createServer(async (socket) => {
         const { remoteAddress } = socket;
         socket.end(await stream_consumers.text(net.connect(9, remoteAddress)));
       }).listen(7, 'caller.starlane');`,
    );
    expect(await answer('caller')).toBe('back');
  });

  it('takes all forms of listen, a free port, a signal, and listens again when it has closed', async () => {
    const child = run(
      `const server = net.createServer((socket) => socket.end('it'));
       server.listen({ port: 0, host: 'it.starlane' });
       say({ listening: server.listening });
       try { server.listen(1, 'it.starlane'); } catch ({ code }) { say({ code }); }
       try { net.createServer().listen(-1, 'it.starlane'); } catch ({ code }) { say({ code }); }
       await events.once(server, 'listening');
       say({ port: server.address().port > 0 });
       const same = net.createServer().listen(server.address().port, 'it.starlane');
       const [{ code, address, port }] = await events.once(same, 'error');
       say({ code, address, is: port === server.address().port, listening: same.listening });
       say({ text: await stream_consumers.text(net.connect(server.address().port, 'it.starlane')) });
       server.close();
       await events.once(server, 'close');
       const end = new AbortController();
       server.listen({ port: 5, host: 'it.starlane', signal: end.signal });
       await events.once(server, 'listening');
       say({ port: server.address().port });
       end.abort();
       await events.once(server, 'close');
       say({ listening: server.listening });`,
    );
    expect(await lines(child)).toEqual([
      { listening: true },
      { code: 'ERR_SERVER_ALREADY_LISTEN' },
      { code: 'ERR_SOCKET_BAD_PORT' },
      { port: true },
      { code: 'EADDRINUSE', address: 'it.starlane', is: true, listening: false },
      { text: 'it' },
      { port: 5 },
      { listening: false },
    ]);
  });

  it('ends the process by an error without a listener, as any server does', async () => {
    const child = run(
      `net.createServer().listen(5, 'it.starlane');
       net.createServer().listen(5, 'it.starlane');`,
    );
    expect(await within('the end', child.exited)).toBe(1);
    expect(child.errors).toMatch(/listen EADDRINUSE.*it\.starlane:5/);
  });

  it.each([
    ['holds the process open until it is closed', '', 'setTimeout(() => server.close(), 20);'],
    ['does not when it is unreferenced', '.unref()', ''],
    ['does not when it was unreferenced before', '', 'server.unref();'],
  ])('%s', async (_what, after, then) => {
    const child = run(`const server = net.createServer(); server.listen(5, 'it.starlane')${after};${then}`);
    expect(await lines(child)).toEqual([]);
  });

  it('reuses the client node that the program has dialled with', async () => {
    node.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
    const child = run(
      `const early = net.connect(7, 'echo.starlane').setEncoding('utf8');
       await events.once(early, 'connect');
       const server = net.createServer((socket) => socket.end('served'));
       server.listen(5, 'late.starlane');
       await events.once(server, 'listening');
       early.write('still there');
       say({ early: (await events.once(early, 'data'))[0] });
       say({ own: await stream_consumers.text(net.connect(5, 'late.starlane')) });
       process.stdin.once('data', () => process.exit());`,
    );
    expect(await answer('late:5')).toBe('served');
    await child.waitFor('its own', ({ own }) => own === 'served');
    child.send({});
    expect(await lines(child)).toEqual([{ early: 'still there' }, { own: 'served' }]);
  });
});

describe('a program under the preload', () => {
  it('does not join the network before it uses it', async () => {
    expect(await lines(run(`say({ done: true });`))).toEqual([{ done: true }]);
    expect(node.stats().links.opened).toBe(0);
  });

  it('exits when it has nothing to do, even where it is configured to listen', async () => {
    const listen = `unix:${socketPath()}`;
    const child = run(`setTimeout(() => say({ done: true }), 50);`, { STARLANE_LISTEN: listen });
    expect(await lines(child)).toEqual([{ done: true }]);
  });

  it.each([
    ['a client when it dials', {}, `net.connect(7, 'echo.starlane').resume();`, 'client'],
    ['a server when it serves', {}, `net.createServer().listen(7, 'it.starlane');`, 'server'],
    ['what STARLANE_ROLE says', { STARLANE_ROLE: 'peer' }, '', 'peer'],
    ['what passes on for others by STARLANE_RELAY', { STARLANE_RELAY: 'true' }, '', 'server'],
  ])('is %s', async (_what, env, body, role) => {
    node.bind('echo', (socket) => socket.on('error', () => {}).pipe(socket));
    const linked = within('the link', new Promise((resolve) => node.once('link', resolve)));
    run(`${body} setInterval(() => {}, 1000);`, env);
    expect(await linked).toMatchObject({ role });
  });
});

describe('what a program under the preload starts', () => {
  it.each([
    ['a fork', `child_process.fork(__filename, ['part'])`, `process.argv[2] === 'part'`],
    ['a worker thread', `new worker_threads.Worker(__filename)`, `!worker_threads.isMainThread`],
    ['a worker of a cluster', `cluster.fork()`, `cluster.isWorker`],
    [
      'a program with the same environment, by a shell',
      `child_process.spawn(\`"\${process.execPath}" \${process.execArgv.join(' ')} "\${__filename}" part\`, { shell: true, stdio: 'inherit' })`,
      `process.argv[2] === 'part'`,
    ],
  ])('joins it where it listens: %s', async (_what, start, isPart) => {
    const listen = `tcp://127.0.0.1:${await freePort()}`;
    const child = await runFile(
      `if (${isPart}) {
         const text = await stream_consumers.text(net.connect(5, 'main.starlane'));
         say({ event: 'part', text });
         return process.exit();
       }
       const server = net.createServer((socket) => socket.end('main')).listen(5, 'main.starlane', () => {
         ${start}.on('exit', () => server.close());
       });`,
      { STARLANE_LISTEN: listen },
    );
    expect(await lines(child)).toEqual([{ event: 'part', text: 'main' }]);
    expect(child.errors).toBe('');
  });

  it('is the same node: the identity is that of the first', async () => {
    const child = await runFile(
      `const isPart = process.argv[2] === 'part';
       const server = net.createServer((socket) => socket.end()).listen(5, isPart ? 'part.starlane' : 'main.starlane');
       await events.once(server, 'listening');
       if (!isPart) child_process.fork(__filename, ['part']).on('exit', () => server.close());
       else process.on('disconnect', () => process.exit());`,
      { STARLANE_JOIN: address, STARLANE_IDENTITY: join(folder, 'identity.pem') },
    );
    const [main, part] = await Promise.all([node.waitFor('main'), node.waitFor('part')]);
    expect(main.nodeId).not.toBe(part.nodeId);
    await child.stop();
  });
});

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
