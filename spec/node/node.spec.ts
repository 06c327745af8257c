import { once } from 'node:events';
import { createServer as createHttpServer, get } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  createNode,
  type Link,
  type Node,
  type NodeOptions,
  type ServiceInfo,
  type Socket,
  type WaitOptions,
} from '../../lib/index.js';
import { raising } from '../../lib/util/runtime/throw-later.js';
import { sharedTimers } from '../../lib/util/timers.js';
import { memberTls } from '../support/certificates.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { forgets, knows, readToEnd, socketPath } from '../support/testnet.js';
import { turn, turnsUntil } from '../support/turns.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  return keep(createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options }));
}

function keep(node: Node): Node {
  nodes.push(node);
  return node;
}

async function listen(node: Node): Promise<string> {
  return (await node.listenAndServe(`unix:${socketPath()}`)).address;
}

/** Two linked nodes; the first one joined. */
async function twoNodes(options: NodeOptions = {}): Promise<[Node, Node]> {
  const [client, server] = [makeNode(options), makeNode(options)];
  await client.join(await listen(server));
  return [client, server];
}

const VARIABLES = ['STARLANE_JOIN', 'STARLANE_LISTEN', 'STARLANE_ENV'];

beforeEach(() => watchHandles());
afterEach(async () => {
  for (const name of VARIABLES) delete process.env[name];
  const made = nodes.splice(0);
  await Promise.all(made.map((node) => node.close()));
  for (const node of made) {
    expect(node.stats()).toMatchObject({
      holds: 0,
      links: { up: 0, unsettled: 0, listeners: 0, joins: 0 },
      dials: { pending: 0 },
      servers: { bound: 0 },
    });
  }
  await nothingLeft();
});

describe('a node', () => {
  it('is made at once, with an id of its own', () => {
    const [a, b] = [makeNode(), makeNode()];
    expect(a.id).toMatch(/^[\w-]{11}$/);
    expect(a.id).not.toBe(b.id);
    expect([a.links(), a.services(), a.stats().holds]).toEqual([[], [], 0]);
  });

  it('refuses options that it does not know', () => {
    for (const options of [{ secret: '' }, { relais: true }, { env: 'a:b' }]) {
      expect(() => createNode(options as NodeOptions)).toThrow(
        expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }),
      );
    }
  });

  it('emits links and services as they come and go', async () => {
    const [client, server] = [makeNode(), makeNode()];
    const seen: string[] = [];
    client.on('link', (link: Link) => seen.push(`link ${link.peerId === server.id}`));
    client.on('unlink', (link: Link, reason) => seen.push(`unlink ${link.peerId === server.id} ${reason?.name}`));
    client.on('service', (info: ServiceInfo) => seen.push(`service ${info.service} ${info.local}`));
    client.on('unservice', (info: ServiceInfo) => seen.push(`unservice ${info.service}`));
    client.on('close', () => seen.push('close'));
    server.bind('echo');
    const link = await client.join(await listen(server));
    client.bind('mine');
    link.close();
    await client.close();
    expect(seen).toEqual([
      'link true',
      'service echo false',
      'service mine true',
      'unservice echo',
      'unlink true undefined',
      'unservice mine',
      'close',
    ]);
  });

  it('knows the services of a peer as soon as the join is resolved', async () => {
    const server = makeNode();
    for (let count = 0; count < 200; count++) server.bind(`service-${count}`);
    const client = makeNode();
    await client.join(await listen(server));
    expect(client.services()).toHaveLength(200);
  });

  it('learns of more services than fit into the window of the control stream', async () => {
    const server = makeNode();
    const meta = { text: 'x'.repeat(2000) };
    for (let count = 0; count < 500; count++) server.bind(`service-${count}`, { meta });
    const client = makeNode();
    await client.join(await listen(server));
    expect(client.services()).toHaveLength(500);
  });

  it('keeps working when listeners of its events throw', async () => {
    const [client, server] = await twoNodes();
    const thrown: unknown[] = [];
    const { raise } = raising;
    raising.raise = (error) => thrown.push(error);
    try {
      for (const event of ['service', 'unservice', 'unlink'] as const) {
        client.on(event, () => {
          throw new Error(event);
        });
      }
      client.serviceMap().on('add', () => {
        throw new Error('add');
      });
      server.bind('echo', (socket) => socket.pipe(socket));
      await knows(client, 'echo');
      const socket = client.dial('echo');
      socket.end('hello');
      expect((await readToEnd(socket)).toString()).toBe('hello');
      await server.close();
      await forgets(client, 'echo');
      await turn();
    } finally {
      raising.raise = raise;
    }
    expect(thrown.map((error) => (error as Error).message)).toEqual(
      expect.arrayContaining(['service', 'add', 'unservice', 'unlink']),
    );
  });

  it('shows a live map of services', async () => {
    const [client, server] = await twoNodes();
    const map = client.serviceMap();
    expect(client.serviceMap()).toBe(map);
    const added = once(map, 'add');
    const bound = server.bind('web:80');
    expect(await added).toMatchObject([{ service: 'web', port: 80, nodeId: server.id }]);
    expect([...map]).toMatchObject([['web', [{ port: 80 }]]]);
    const removed = once(map, 'remove');
    bound.close();
    expect(await removed).toMatchObject([{ service: 'web', port: 80 }]);
    expect(map.size).toBe(0);
  });

  it('prints its numbers as one plain object', async () => {
    const [client, server] = await twoNodes();
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = client.dial('echo');
    await once(socket, 'connect');
    expect(JSON.parse(JSON.stringify(server.stats()))).toMatchObject({
      id: server.id,
      links: { up: 1, unsettled: 0, listeners: 1, opened: 1, lost: 0, failed: 0 },
      streams: { links: 1, loopback: 0 },
      accepts: { accepted: 1, refused: 0 },
      servers: { bound: 1, openSockets: 1 },
      services: { names: 1, instances: 1 },
    });
    expect(client.stats()).toMatchObject({
      links: { joins: 1 },
      dials: { started: 1, connected: 1, failed: 0, quantumSafe: 0, pending: 0 },
      holds: 1,
    });
    socket.destroy();
  });
});

describe('waiting for a service', () => {
  it('is resolved at once when it is there, or when it appears', async () => {
    const [client, server] = await twoNodes();
    const waits = [client.waitFor('web'), client.waitFor('web:80')];
    server.bind('web:80', { meta: 'hi' });
    for (const info of await Promise.all(waits)) expect(info).toMatchObject({ service: 'web', port: 80, meta: 'hi' });
    expect(await client.waitFor('web')).toMatchObject({ nodeId: server.id });
  });

  it('does not take another port for it', async () => {
    const [client, server] = await twoNodes();
    const wait = client.waitFor('web:80');
    server.bind('web:81');
    await client.waitFor('web:81');
    server.bind('web');
    expect(await wait).toMatchObject({ port: 0 });
  });

  it('refuses a wait whose options are not those of a wait', async () => {
    const node = createNode();
    const wrong: unknown[] = [null, 5, { timeout: 5 }, { timeoutMs: 0 }, { timeoutMs: '5' }, { signal: {} }];
    for (const options of wrong) {
      await expect(node.waitFor('web', options as WaitOptions)).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
    }
    await node.close();
  });

  it('ends with ENOTFOUND, by its signal, or when the node closes', async () => {
    const node = makeNode({ dialTimeoutMs: 20 });
    await expect(node.waitFor('web')).rejects.toMatchObject({ code: 'ENOTFOUND', address: 'web' });
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(node.waitFor('web', { signal })).rejects.toThrow('enough');
    const aborter = new AbortController();
    const aborted = expect(node.waitFor('web', { signal: aborter.signal })).rejects.toThrow('enough');
    const closed = expect(node.waitFor('web', { timeoutMs: Number.POSITIVE_INFINITY })).rejects.toMatchObject({
      code: 'ECANCELED',
    });
    aborter.abort(new Error('enough'));
    await node.close();
    await Promise.all([aborted, closed]);
    expect(sharedTimers.size).toBe(0);
  });

  it('is refused for what is no name', async () => {
    const node = makeNode();
    await expect(node.waitFor(':80')).rejects.toMatchObject({ code: 'ERR_STARLANE_ADDRESS' });
    await expect(node.waitFor('web', { timeoutMs: 0 })).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
  });
});

describe('binding', () => {
  it('hands sockets to a function, a net.Server or an http.Server', async () => {
    const [client, server] = await twoNodes();
    server.bind('function', (socket) => socket.end('function'));
    server.bind(
      'net',
      createNetServer((socket) => socket.end('net')),
    );
    const http = createHttpServer((request, response) => response.end(`http ${request.url}`));
    server.bind('http', { weight: 2 }, http);
    for (const name of ['function', 'net']) {
      expect((await readToEnd(client.dial(name))).toString()).toBe(name);
    }
    const response = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
      get({ path: '/path', createConnection: () => client.httpDial('http:80') }, resolve).once('error', reject);
    });
    expect((await readToEnd(response as unknown as Socket)).toString()).toBe('http /path');
  });

  it('emits an error of the server when the place is taken, and otherwise of the node', async () => {
    const node = makeNode();
    node.bind('web');
    const second = node.bind('web');
    expect(await once(second, 'error')).toMatchObject([{ code: 'EADDRINUSE', syscall: 'listen', address: 'web' }]);
    const told = once(node, 'error');
    node.bind('web');
    expect(await told).toMatchObject([{ code: 'EADDRINUSE' }]);
    expect(node.services()).toHaveLength(1);
  });

  it.each([
    ['@AAAAAAAAAAA:80', undefined, undefined, 'ERR_STARLANE_ADDRESS'],
    ['two words', undefined, undefined, 'ERR_STARLANE_ADDRESS'],
    ['web', { weight: 256 }, undefined, 'ERR_STARLANE_OPTION'],
    ['web', {}, {}, 'ERR_STARLANE_ARGUMENT'],
    ['web', { meta: 1n }, undefined, 'ERR_STARLANE_MESSAGE'],
  ])('refuses %p %p %p', (address, options, handler, code) => {
    const node = makeNode();
    expect(() => node.bind(address, options as object, handler as never)).toThrow(expect.objectContaining({ code }));
    expect(node.stats()).toMatchObject({ servers: { bound: 0 }, services: { names: 0 }, holds: 0 });
  });

  it('does not publish a bare port, which can still be dialled', async () => {
    const [client, server] = await twoNodes();
    server.bind(':7', (socket) => socket.end('bare'));
    expect(client.services()).toEqual([]);
    expect((await readToEnd(client.dial(`@${server.id}:7`))).toString()).toBe('bare');
  });
});

describe('dialling', () => {
  it('with a timeout is resolved when connected, or rejected', async () => {
    const [client, server] = await twoNodes();
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = await client.dialTimeout('echo', 1000);
    expect(socket.connecting).toBe(false);
    expect(socket.listenerCount('error')).toBe(0);
    socket.destroy();
    await expect(client.dialTimeout('nobody', 10)).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('calls back on connect', async () => {
    const [client, server] = await twoNodes();
    server.bind('echo', (socket) => socket.pipe(socket));
    for (const dial of [
      (done: () => void) => client.dial('echo', done),
      (done: () => void) => client.dial('echo', { timeoutMs: 1000 }, done),
    ]) {
      await new Promise<void>((resolve) => {
        const socket = dial(() => {
          socket.destroy();
          resolve();
        });
      });
    }
  });

  it('by the host of a URL drops port 80 only', async () => {
    const node = makeNode();
    node.bind('web:8080', (socket) => socket.end(`on ${socket.localPort}`));
    for (const host of ['web', 'web:80', 'web:8080']) {
      expect((await readToEnd(node.httpDial(host))).toString()).toBe('on 8080');
    }
    expect(() => node.httpDial('web:x')).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ADDRESS' }));
  });
});

describe('envs', () => {
  it('keep the names of nodes apart, unless they share one', async () => {
    const [red, blue, both] = [makeNode({ env: 'red' }), makeNode({ env: 'blue' }), makeNode({ env: ['red', 'blue'] })];
    const none = makeNode();
    for (const node of [red, blue, none]) node.bind('echo', (socket) => socket.end(node.id));
    const address = await listen(both);
    await Promise.all([red, blue, none].map((node) => node.join(address)));
    await turnsUntil('both are known', () => both.services().length === 2);
    expect(
      both
        .services()
        .map(({ nodeId }) => nodeId)
        .sort(),
    ).toEqual([red.id, blue.id].sort());
    await blue.join(await listen(red));
    expect(red.services()).toMatchObject([{ nodeId: red.id }]);
  });
});

describe('roles', () => {
  it('let a client see and dial services, but announce none', async () => {
    const [server, client] = [makeNode(), makeNode({ role: 'client' })];
    server.bind('echo', (socket) => socket.pipe(socket));
    client.bind('secret');
    await client.join(await listen(server));
    expect(client.services()).toHaveLength(2);
    expect(server.services()).toMatchObject([{ service: 'echo' }]);
    const socket = client.dial('echo');
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
  });
});

describe('the environment', () => {
  it('names addresses to listen at, seeds and the env', async () => {
    const path = socketPath();
    process.env['STARLANE_LISTEN'] = `unix:${path}`;
    process.env['STARLANE_ENV'] = 'red blue';
    const server = makeNode();
    delete process.env['STARLANE_LISTEN'];
    process.env['STARLANE_JOIN'] = `unix:${path}, unix:${path}`;
    const client = makeNode({ env: 'blue' });
    delete process.env['STARLANE_JOIN'];
    process.env['STARLANE_ENV'] = 'green';
    const stranger = makeNode({ seeds: [`unix:${path}`] });
    server.bind('echo');
    await knows(client, 'echo');
    if (stranger.links().length === 0) await once(stranger, 'link');
    expect(stranger.services()).toEqual([]);
    expect(client.stats().links.joins).toBe(1);
  });

  it('is reported when it makes no sense', async () => {
    process.env['STARLANE_JOIN'] = 'nonsense';
    const joining = makeNode();
    expect(await once(joining, 'error')).toMatchObject([{ code: 'ERR_STARLANE_ADDRESS' }]);
    delete process.env['STARLANE_JOIN'];
    process.env['STARLANE_LISTEN'] = 'tcp://0.0.0.0:0';
    const listening = makeNode();
    expect(await once(listening, 'error')).toMatchObject([{ code: 'ERR_STARLANE_INSECURE' }]);
  });
});

describe('a node made from another', () => {
  it('has its options, but for what is changed', async () => {
    const base = makeNode({ env: 'red', loopback: false });
    const fresh = keep(base.new());
    expect(fresh.id).not.toBe(base.id);
    const other = keep(base.withEnv('blue'));
    const loop = keep(base.withLoopBack());
    loop.bind('echo', (socket) => socket.end('hello'));
    expect((await readToEnd(loop.dial('echo'))).toString()).toBe('hello');
    const address = await listen(base);
    base.bind('echo');
    await Promise.all([fresh.join(address), other.join(address)]);
    expect([fresh.services().length, other.services().length]).toEqual([1, 0]);
    for (const node of [base.client(), base.server(), base.router()]) {
      keep(node);
      await node.join(address);
      expect(node.services()).toHaveLength(1);
    }
  });

  it('is the only one to join seeds when the first was a step on the way', async () => {
    const server = makeNode();
    const address = await listen(server);
    const step = makeNode({ seeds: [address] });
    const client = keep(step.client());
    await once(client, 'link');
    expect(step.stats().links).toMatchObject({ joins: 0, opened: 0 });
    step.bind('used');
    await once(step, 'link');
  });
});

describe('closing', () => {
  it('is done once, and refuses what comes after', async () => {
    const [client, server] = await twoNodes();
    let closes = 0;
    client.on('close', () => closes++);
    const first = client.close();
    expect(client.close()).toBe(first);
    await first;
    await client[Symbol.asyncDispose]();
    expect(closes).toBe(1);
    const refusal = { code: 'ERR_STARLANE_CLOSED' };
    await expect(client.join('tcp://127.0.0.1:1')).rejects.toMatchObject(refusal);
    await expect(client.listenAndServe('tcp://127.0.0.1:0')).rejects.toMatchObject(refusal);
    await expect(client.attach(client.dial('x').on('error', () => {}))).rejects.toMatchObject(refusal);
    expect(await once(client.bind('late'), 'error')).toMatchObject([{ code: 'ECANCELED' }]);
    await forgets(server, 'late');
  });

  it('lets open sockets finish', async () => {
    const [client, server] = await twoNodes();
    const bound = server.bind('slow');
    const connection = once(bound, 'connection');
    const near = client.dial('slow');
    const [far] = (await connection) as [Socket];
    const closed = server.close();
    far.end('last words');
    expect((await readToEnd(near)).toString()).toBe('last words');
    await closed;
  });

  it('ends joins that never succeeded', async () => {
    const node = makeNode();
    const join = expect(node.join(`unix:${socketPath()}`)).rejects.toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    await once(node, 'warning');
    await node.close();
    await join;
  });

  it('ends a join in the middle of a connection', async () => {
    const silent = createNetServer((socket) => socket.on('error', () => {}).resume()).listen(socketPath());
    await once(silent, 'listening');
    const node = makeNode();
    const join = expect(node.join(`unix:${silent.address() as string}`)).rejects.toMatchObject({
      code: 'ERR_STARLANE_CLOSED',
    });
    await once(silent, 'connection');
    await node.close();
    await join;
    silent.close();
  });
});

describe('what holds the process open', () => {
  it('is in use by the user: sockets, servers, listeners and waits, but no links', async () => {
    const [client, server] = [makeNode(), makeNode()];
    const listener = await server.listenAndServe(`unix:${socketPath()}`);
    expect(server.stats().holds).toBe(1);
    const join = client.join(listener.address);
    expect(client.stats().holds).toBe(1);
    await join;
    expect(client.stats().holds).toBe(0);
    const bound = server.bind('echo', (socket) => socket.pipe(socket));
    expect(server.stats().holds).toBe(2);
    await listener.close();
    const socket = client.dial('echo');
    expect(client.stats().holds).toBe(1);
    await once(socket, 'connect');
    socket.end().resume();
    await once(socket, 'close');
    expect(client.stats().holds).toBe(0);
    bound.close();
    await once(bound, 'close');
    expect(server.stats().holds).toBe(0);
  });

  it('is one timer, which goes with unref and comes with ref', () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
    const before = timers();
    const node = makeNode();
    const bound = node.bind('echo');
    node.bind('other');
    expect(timers()).toBe(before + 1);
    node.unref();
    expect(timers()).toBe(before);
    node.ref();
    expect(timers()).toBe(before + 1);
    bound.unref();
    expect(node.stats().holds).toBe(1);
  });
});

describe('tls', () => {
  it('is the default scheme of a node with a certificate', async () => {
    const tls = await memberTls();
    const [client, server] = [makeNode({ tls }), makeNode({ tls })];
    const { address } = await server.listenAndServe('127.0.0.1:0');
    expect(address).toMatch(/^tls:/);
    const link = await client.join(address.replace('tls://', ''));
    expect(link.address).toBe(address);
    await expect(makeNode().join(address)).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
  });
});
