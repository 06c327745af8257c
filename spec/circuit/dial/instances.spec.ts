// One instance of a service by its name, and several services by priority and by weight, over real nodes.

import { once } from 'node:events';
import http from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { agent } from '../../../lib/http/index.js';
import {
  type BindOptions,
  createNode,
  type DialOptions,
  failover,
  hash,
  type Node,
  type NodeOptions,
  type Server,
  type Socket,
  split,
} from '../../../lib/index.js';
import { within } from '../../support/deadline.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { forgets, readToEnd, socketPath } from '../../support/testnet.js';
import { thrownCode } from '../../support/thrown.js';
import { turnsUntil } from '../../support/turns.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 50, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  node.on('warning', () => {});
  nodes.push(node);
  return node;
}

/** One hub, to which all others have joined; diallers reach the servers through it. */
async function star(count: number, options: NodeOptions = {}): Promise<Node[]> {
  const hub = makeNode(options);
  const { address } = await hub.listenAndServe(`unix:${socketPath()}`);
  const others = Array.from({ length: count }, () => makeNode({ ...options, role: 'server' }));
  await Promise.all(others.map((node) => node.join(address)));
  return [hub, ...others];
}

/** Serves a name. A dialler gets `text`. */
function serve(node: Node, address: string, text: string, options: BindOptions = {}): Server {
  return node.bind(address, options, (socket) => {
    socket.on('error', () => {});
    socket.end(text);
  });
}

async function read(socket: Socket): Promise<string> {
  return (await within('an answer', readToEnd(socket))).toString();
}

type Target = Parameters<Node['dial']>[0];

const answer = (node: Node, address: Target, options?: DialOptions): Promise<string> =>
  read(node.dial(address, options));

async function failure(socket: Socket): Promise<NodeJS.ErrnoException> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as NodeJS.ErrnoException;
}

/** Waits until a node knows so many instances of a service. */
async function knows(node: Node, service: string, count: number): Promise<void> {
  await turnsUntil(`${count} of ${service}`, () => node.serviceMap().get(service).length === count);
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('an instance with a name', () => {
  it('is dialled by it from a peer and through a relay, and others by theirs', async () => {
    const [hub, zero, one, client] = await star(3);
    serve(zero, 'kafka', 'zero', { instance: '0' });
    serve(one, 'kafka:9092', 'one', { instance: '1' });
    for (const node of [hub, client]) {
      await knows(node, 'kafka', 2);
      expect(await answer(node, '0.kafka')).toBe('zero');
      expect(await answer(node, '1.kafka')).toBe('one');
      expect(await answer(node, '0.kafka:9092')).toBe('zero');
      expect(await answer(node, '1.kafka:9092')).toBe('one');
      const infos = node.services().filter(({ service }) => service === 'kafka');
      expect(infos.map(({ instance }) => instance).sort()).toEqual(['0', '1']);
    }
    expect(['zero', 'one']).toContain(await answer(client, 'kafka'));
  });

  it('is dialled with end-to-end encryption through a relay, and reports the service', async () => {
    const [, zero, one, client] = await star(3, { secret: 'a secret of more than 16 bytes' });
    const seen: unknown[] = [];
    zero.bind('kafka', { instance: '0' }, (socket) => {
      seen.push(socket.peer?.service);
      socket.end(`${socket.secure}`);
    });
    serve(one, 'kafka', 'one', { instance: '1' });
    await knows(client, 'kafka', 2);
    const socket = client.dial('0.kafka');
    expect(await read(socket)).toBe('true');
    expect([socket.peer?.service, socket.peer?.via.length, ...seen]).toEqual(['kafka', 1, 'kafka']);
  });

  it('is dialled by net.connect, by http with an agent, and waited for', async () => {
    const [hub, zero, one] = await star(2);
    const waiting = hub.waitFor('0.kafka');
    const dialled = answer(hub, '2.kafka');
    serve(one, 'kafka', 'one', { instance: '1' });
    await knows(hub, 'kafka', 1);
    const server = http.createServer((_request, response) => response.end('zero'));
    zero.bind('kafka', { instance: '0' }, server);
    expect(await waiting).toMatchObject({ service: 'kafka', instance: '0', nodeId: zero.id });
    expect(await hub.waitFor('0.kafka:17')).toMatchObject({ nodeId: zero.id });
    const own = agent(hub);
    const request = http.get('http://0.kafka/', { agent: own });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    expect((await readToEnd(response as never)).toString()).toBe('zero');
    own.destroy();
    expect(await read(hub.net.connect(5, '1.kafka') as never)).toBe('one');
    serve(zero, 'kafka:2', 'two', { instance: '2' });
    expect(await dialled).toBe('two');
    server.close();
  });

  it('of this node is dialled by its name as well', async () => {
    const node = makeNode();
    serve(node, 'kafka:1', 'one', { instance: 'a' });
    serve(node, 'kafka', 'any', { instance: 'b' });
    expect(await Promise.all(['a.kafka', 'b.kafka', 'a.kafka:1'].map((name) => answer(node, name)))).toEqual([
      'one',
      'any',
      'one',
    ]);
    // At port 1 another one answers.
    expect(await failure(node.dial('b.kafka:1', { timeoutMs: 10 }))).toMatchObject({ code: 'ENOTFOUND' });
  });

  it('comes after a service that has the whole name', async () => {
    const [hub, zero, one] = await star(2);
    serve(zero, 'kafka', 'an instance', { instance: '0' });
    await knows(hub, 'kafka', 1);
    expect(await answer(hub, '0.kafka')).toBe('an instance');
    const server = serve(one, '0.kafka', 'a service');
    await knows(hub, '0.kafka', 1);
    expect(await answer(hub, '0.kafka')).toBe('a service');
    server.close();
    await forgets(hub, '0.kafka');
    expect(await answer(hub, '0.kafka')).toBe('an instance');
  });

  it('that is missing fails with the names of those that exist', async () => {
    const [hub, zero, one] = await star(2);
    serve(zero, 'kafka:1', 'zero', { instance: '0' });
    serve(one, 'kafka', 'one', { instance: '1' });
    serve(one, 'web', 'web');
    await knows(hub, 'kafka', 2);
    await knows(hub, 'web', 1);
    const cause = async (address: string): Promise<string> => {
      const error = await failure(hub.dial(address, { timeoutMs: 20 }));
      expect(error).toMatchObject({ code: 'ENOTFOUND', cause: { code: 'ERR_STARLANE_NOT_FOUND' } });
      return (error.cause as Error).message;
    };
    expect(await cause('7.kafka')).toContain('kafka has no instance 7, but 0, 1');
    expect(await cause('0.kafka:5')).toContain('instance 0 of kafka is bound at port 1');
    expect(await cause('0.web')).toContain('web has no instance 0, but none with a name');
    await expect(hub.waitFor('7.kafka', { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ENOTFOUND',
      cause: { message: expect.stringContaining('but 0, 1') },
    });
  });

  it('must have a name without a dot, and belongs to a service', () => {
    const node = makeNode();
    for (const instance of ['', 'a.b', '-a', 'a b', 'x'.repeat(64), 5 as never]) {
      expect(thrownCode(() => node.bind('kafka', { instance }))).toBe('ERR_STARLANE_OPTION');
    }
    expect(thrownCode(() => node.bind(':5', { instance: '0' }))).toBe('ERR_STARLANE_OPTION');
  });
});

describe('failover', () => {
  it('dials the first service while it has an instance, then the next, and comes back', async () => {
    const [hub, one, two, client] = await star(3);
    const primary = serve(one, 'db-primary', 'primary');
    serve(two, 'db-replica', 'replica');
    const db = failover('db-primary', 'db-replica');
    for (const node of [hub, client]) {
      await knows(node, 'db-primary', 1);
      await knows(node, 'db-replica', 1);
      const socket = node.dial(db);
      expect(await read(socket)).toBe('primary');
      expect(socket.peer?.service).toBe('db-primary');
    }
    primary.close();
    for (const node of [hub, client]) {
      await forgets(node, 'db-primary');
      expect(await answer(node, db)).toBe('replica');
    }
    serve(one, 'db-primary', 'primary again');
    await knows(client, 'db-primary', 1);
    expect(await answer(client, db)).toBe('primary again');
  });

  it('goes on to the next service within the dial when every instance of the first refuses', async () => {
    const [hub, one, two, client] = await star(3);
    serve(one, 'db-primary', 'primary', { maxConnections: 0, allow: () => false });
    serve(two, 'db-replica:5432', 'replica');
    for (const node of [hub, client]) {
      await knows(node, 'db-primary', 1);
      await knows(node, 'db-replica', 1);
      expect(await answer(node, failover('db-primary', 'db-replica:5432'))).toBe('replica');
    }
  });

  it('waits for any of the services, and names all of them when none comes', async () => {
    const [hub, one] = await star(1);
    const waiting = answer(hub, failover('a', 'b', '0.c'));
    serve(one, 'c', 'instance 0', { instance: '0' });
    expect(await waiting).toBe('instance 0');
    const error = await failure(hub.dial(failover('a', split({ b: 3, d: 1 })), { timeoutMs: 10 }));
    expect(error).toMatchObject({ code: 'ENOTFOUND', address: 'a,b=3,d=1', cause: { code: 'ERR_STARLANE_NOT_FOUND' } });
    expect((error.cause as Error).message).toMatch(/: a: .*; b: .*; d: /);
  });
});

describe('split', () => {
  it('spreads dials by weight, and leaves the share of a service without instances to the others', async () => {
    const [hub, one, two] = await star(2);
    serve(one, 'web-v1', 'v1');
    const canary = serve(two, 'web-v2', 'v2');
    await knows(hub, 'web-v1', 1);
    await knows(hub, 'web-v2', 1);
    const web = split({ 'web-v1': 90, 'web-v2': 10 });
    const answers = await Promise.all(Array.from({ length: 600 }, () => answer(hub, web)));
    const share = answers.filter((text) => text === 'v2').length;
    // Six standard deviations on either side.
    expect(share).toBeGreaterThan(15);
    expect(share).toBeLessThan(105);
    canary.close();
    await forgets(hub, 'web-v2');
    expect(new Set(await Promise.all(Array.from({ length: 50 }, () => answer(hub, web))))).toEqual(new Set(['v1']));
  });

  it('keeps a key at its service and instance, whatever instances come and go elsewhere', async () => {
    const [hub, one, two, three] = await star(3);
    serve(one, 'web-v1', 'v1');
    serve(two, 'web-v2', 'v2 a', { instance: 'a' });
    const b = serve(three, 'web-v2', 'v2 b', { instance: 'b' });
    await knows(hub, 'web-v1', 1);
    await knows(hub, 'web-v2', 2);
    const web = split({ 'web-v1': 1, 'web-v2': 1 });
    const keys = Array.from({ length: 40 }, (_, key) => key);
    const all = (): Promise<string[]> => Promise.all(keys.map((key) => answer(hub, web, { selector: hash(key) })));
    const before = await all();
    expect(new Set(before)).toEqual(new Set(['v1', 'v2 a', 'v2 b']));
    expect(await all()).toEqual(before);
    b.close();
    await turnsUntil('it is gone', () => hub.serviceMap().get('web-v2').length === 1);
    expect(await all()).toEqual(before.map((text) => (text === 'v2 b' ? 'v2 a' : text)));
  });

  it('is dialled by http with an agent, by the key of its selector', async () => {
    const [hub, one, two] = await star(2);
    const servers = [one, two].map((node, index) => {
      const server = http.createServer((_request, response) => response.end(`v${index + 1}`));
      node.bind(`web-v${index + 1}`, server);
      return server;
    });
    await knows(hub, 'web-v1', 1);
    await knows(hub, 'web-v2', 1);
    const own = agent(hub, { address: () => split({ 'web-v1': 0, 'web-v2': 1 }), dial: { selector: hash('alice') } });
    const [response] = (await once(http.get('http://web/', { agent: own }), 'response')) as [http.IncomingMessage];
    expect((await readToEnd(response as never)).toString()).toBe('v2');
    own.destroy();
    for (const server of servers) server.close();
  });
});
