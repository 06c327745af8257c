// What a node says when something is wrong, and to whom.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { agent } from '../../lib/http/index.js';
import { createNode, type Link, type LinkListener, type Node, type NodeOptions } from '../../lib/index.js';
import { runPreloaded, runProgram } from '../support/built-lib.js';
import type { Child } from '../support/child.js';
import { within } from '../support/deadline.js';

const nodes: Node[] = [];
const children: Child[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 100, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

function started(child: Child): Child {
  children.push(child);
  return child;
}

/** A port at which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The warnings of the process from now on. */
function processWarnings(): Array<[message: string, code: string | undefined]> {
  const warnings: Array<[string, string | undefined]> = [];
  jest.spyOn(process, 'emitWarning').mockImplementation(((message: string, options: { code?: string }) => {
    warnings.push([message, options.code]);
  }) as typeof process.emitWarning);
  return warnings;
}

afterEach(async () => {
  jest.restoreAllMocks();
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await Promise.all(children.splice(0).map((child) => child.stop()));
});

describe('a join at a wrong port', () => {
  it('is a warning of the process, once, where nobody listens for it', async () => {
    const warnings = processWarnings();
    const node = makeNode();
    const port = await freePort();
    await expect(node.join(`tcp://127.0.0.1:${port}`, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      address: `tcp://127.0.0.1:${port}`,
      cause: { code: 'ECONNREFUSED' },
    });
    expect(node.stats().warnings).toBeGreaterThan(1);
    expect(warnings).toEqual([[expect.stringContaining(`127.0.0.1:${port}`), 'ECONNREFUSED']]);
  });

  it('goes only to a listener, where there is one', async () => {
    const warnings = processWarnings();
    const node = makeNode();
    const warned = once(node, 'warning');
    const joined = node.join(`tcp://127.0.0.1:${await freePort()}`, { timeoutMs: 100 });
    const refused = expect(joined).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    expect(await warned).toMatchObject([{ code: 'ECONNREFUSED' }]);
    expect(warnings).toEqual([]);
    await refused;
  });

  it('that a signal ends says why it has not come about', async () => {
    const node = makeNode();
    node.on('warning', () => {});
    const aborter = new AbortController();
    const joined = node.join(`tcp://127.0.0.1:${await freePort()}`, { signal: aborter.signal });
    node.once('warning', () => aborter.abort());
    await expect(joined).rejects.toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: { code: 'ECONNREFUSED' },
    });
    expect(node.stats().links.joins).toBe(0);
  });

  it('is on the standard error of a program that does nothing but wait', async () => {
    const port = await freePort();
    const child = started(
      runProgram(`
        const node = starlane.createNode({ rejoinMinMs: 1, rejoinMaxMs: 5 });
        const failure = await node.join('tcp://127.0.0.1:${port}', { timeoutMs: 200 }).catch((error) => error);
        say({ code: failure.code, cause: failure.cause.code });`),
    );
    expect(await within('the end of the process', child.exited)).toBe(0);
    expect(child.lines).toEqual([{ code: 'ETIMEDOUT', cause: 'ECONNREFUSED' }]);
    expect(child.errors).toMatch(
      new RegExp(`\\[ECONNREFUSED\\] StarlaneWarning: connect ECONNREFUSED 127.0.0.1:${port}`),
    );
    expect(child.errors.match(/StarlaneWarning:/g)).toHaveLength(1);
  });

  it('is on the standard error of a program under the preload', async () => {
    const port = await freePort();
    const program = `
      process.on('warning', ({ message, code }) => {
        say({ message, code });
        process.exit();
      });
      require('node:net').connect(1, 'echo.starlane');`;
    const child = started(runPreloaded('commonjs', program, { STARLANE_JOIN: `tcp://127.0.0.1:${port}` }));
    await within('the end of the process', child.exited);
    expect(child.lines).toEqual([
      { message: expect.stringContaining(`connect ECONNREFUSED 127.0.0.1:${port}`), code: 'ERR_STARLANE_TRANSPORT' },
    ]);
    expect(child.errors).toContain('[ERR_STARLANE_TRANSPORT] StarlaneWarning: ');
  });
});

describe('the options of join', () => {
  it.each<[string, unknown]>([
    ['timeout', { timeout: 5 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['timeoutMs', { timeoutMs: '5' }],
    ['signal', { signal: {} }],
    ['join', 5_000],
    ['join', null],
  ])('are checked: %s', async (name, options) => {
    const node = makeNode();
    await expect(node.join('tcp://127.0.0.1:1', options as object)).rejects.toMatchObject({
      code: 'ERR_STARLANE_OPTION',
      message: expect.stringContaining(`${name}: `),
    });
    expect(node.stats().links.joins).toBe(0);
  });
});

describe('a bind on a client', () => {
  it.each<[string, (node: Node) => { once(event: 'listening', listener: () => void): unknown }]>([
    ['by name', (node) => node.bind('web')],
    ['by port', (node) => node.bind(':80')],
    ['of a server of node.net', (node) => node.net.createServer().listen(80, 'web')],
  ])('%s is a warning, once, and listens for the node itself', async (_how, bind) => {
    const node = makeNode({ role: 'client' });
    const warnings: unknown[] = [];
    node.on('warning', (error) => warnings.push(error));
    await once(bind(node) as Node, 'listening');
    await once(node.bind('another'), 'listening');
    expect(warnings).toMatchObject([
      {
        code: 'ERR_STARLANE_CLIENT_BIND',
        message: expect.stringMatching(/do not find (web|a server at a bare port)$/),
      },
    ]);
  });

  it('is a warning of the process, where nobody listens for it, and none for other roles', async () => {
    const warnings = processWarnings();
    for (const role of ['peer', 'server', 'router'] as const) await once(makeNode({ role }).bind('web'), 'listening');
    expect(warnings).toEqual([]);
    await once(makeNode({ role: 'client' }).bind('web'), 'listening');
    expect(warnings).toEqual([[expect.stringContaining('do not find web'), 'ERR_STARLANE_CLIENT_BIND']]);
  });
});

describe("an 'error' of a node that nobody hears", () => {
  it('is a warning of the process', async () => {
    const warnings = processWarnings();
    const address = `tcp://127.0.0.1:${await freePort()}`;
    await makeNode().listenAndServe(address);
    process.env['STARLANE_LISTEN'] = address;
    try {
      makeNode();
    } finally {
      delete process.env['STARLANE_LISTEN'];
    }
    const second = nodes[1] as Node;
    while (warnings.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(second.stats().warnings).toBe(0);
    expect(warnings).toMatchObject([[expect.stringContaining('EADDRINUSE'), 'EADDRINUSE']]);
  });
});

describe('what console.log prints', () => {
  const SECRET = 'a secret of more than 16 bytes';

  async function linked(): Promise<{ client: Node; server: Node; link: Link; listener: LinkListener }> {
    const [server, client] = [makeNode({ secret: SECRET, env: 'blue' }), makeNode({ secret: SECRET, env: 'blue' })];
    const listener = await server.listenAndServe('127.0.0.1:0');
    const link = await client.join(listener.address);
    return { client, server, link, listener };
  }

  it('of a node, link, listener, socket, server, view and agent is a few lines that say how it is', async () => {
    const { client, server, link, listener } = await linked();
    const bound = server.bind('echo', (socket) => socket.pipe(socket));
    await client.waitFor('echo');
    const socket = client.dial('echo');
    await once(socket, 'connect');
    const http = agent(client, { key: 'PRIVATE KEY', passphrase: 'PRIVATE KEY' });
    const printed: Array<[object, string[]]> = [
      [client, ['Node {', client.id, "role: 'peer'", "env: 'blue'", 'links: 1', "state: 'open'"]],
      [server, ['Node {', listener.address, 'bound: 1']],
      [link, ['Link {', "state: 'up'", server.id, listener.address, "direction: 'outbound'", 'rttMs: ']],
      [listener, ['LinkListener {', listener.address]],
      [socket, ['Socket {', "readyState: 'open'", server.id, "service: 'echo'", 'verified: true', 'bytesRead: 0']],
      [bound, ['Server {', 'listening: true', "service: 'echo'", 'openSockets: 1']],
      [client.serviceMap(), ['ServiceMap(1) {', 'echo: ', server.id]],
      [client.routesMap(), ['RouteMap(1) {', server.id]],
      [http, ['Agent {', client.id, 'sockets: 0']],
    ];
    for (const [shown, parts] of printed) {
      const text = inspect(shown);
      for (const part of parts) expect(text).toContain(part);
      expect(text.split('\n').length).toBeLessThanOrEqual(20);
      for (const secret of [SECRET, 'PRIVATE KEY', 'etwork key']) expect(text).not.toContain(secret);
    }
    expect(inspect({ a: { b: { c: client } } })).toContain('[Node]');
    expect(inspect([socket], { compact: false })).toContain("readyState: 'open'");
    socket.destroy();
    await once(socket, 'close');
    expect(inspect(socket)).toContain('destroyed: true');
    link.close();
    expect(inspect(link)).toMatch(/state: '(leaving|closed)'/);
    await client.close();
    expect(inspect(client)).toContain("state: 'closed'");
  });

  it('of a view with many entries stops after a hundred', () => {
    const node = makeNode();
    for (let n = 0; n < 120; n++) node.bind(`service-${n}`);
    const text = inspect(node.serviceMap());
    expect(text).toContain('ServiceMap(120) {');
    expect(text).toMatch(/ and 20 more$/);
  });
});

describe('the documentation', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

  it('begins with an example that does what it says and ends by itself', async () => {
    const [, example] = /```js\n(.*?)```/s.exec(readme) ?? [];
    const body = example?.replace("import { createNode } from 'starlane';", 'const { createNode } = starlane;') ?? '';
    expect(body).not.toContain('import');
    const child = started(runProgram(body.replace('console.log(', 'say(')));
    expect(await within('the end of the example', child.exited)).toBe(0);
    expect(child.lines).toEqual(['hello']);
    expect(child.errors).toBe('');
  });
});
