// The option `allow` as users of nodes see it: who dials what, and whose services are there.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { agent } from '../../lib/http/index.js';
import { createNode, type Node, type NodeOptions, type Socket } from '../../lib/index.js';
import type { AllowRequest } from '../../lib/options/allow.js';
import { failureOf, ask as request } from '../http/exchange.js';
import { memberTls } from '../support/certificates.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { RelayNet } from '../support/relay-net.js';
import { turn, turnsUntil } from '../support/turns.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 100, ...options });
  nodes.push(node);
  return node;
}

async function link(one: Node, other: Node): Promise<void> {
  const [near, far] = duplexPair();
  await Promise.all([one.attach(near), other.attach(far)]);
}

/** A server, and a client that is linked to it. */
async function meet(server: NodeOptions, client: NodeOptions = {}): Promise<{ server: Node; client: Node }> {
  const pair = { server: makeNode(server), client: makeNode(client) };
  await link(pair.client, pair.server);
  return pair;
}

type Failure = NodeJS.ErrnoException & { cause?: Error };

async function failure(socket: Socket | NodeJS.EventEmitter): Promise<Failure> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as Failure;
}

/** What the other end says when it is connected. */
async function answer(socket: Socket): Promise<string> {
  const [chunk] = await within('an answer', once(socket, 'data'));
  socket.destroy();
  return `${chunk}`;
}

/** Serves a name, by saying that of its node. */
function serve(node: Node, address: string, options: Parameters<Node['bind']>[1] = undefined): void {
  node.bind(address, options as object, (socket) => {
    socket.on('error', () => {});
    socket.end(`${address} of ${node.id}`);
  });
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('a dial that is not allowed', () => {
  it('fails with EACCES, and the cause has the node that denies it and why', async () => {
    const { server, client } = await meet({ allow: [{ service: 'web' }] });
    serve(server, 'web');
    serve(server, 'admin:9');
    expect(await answer(client.dial('web'))).toBe(`web of ${server.id}`);
    const error = await failure(client.dial('admin:9'));
    expect(error).toMatchObject({ code: 'EACCES', syscall: 'connect', address: 'admin', port: 9 });
    expect(error.message).toBe('connect EACCES admin:9');
    expect(error.cause?.message).toBe(`${server.id} says: no rule of the node allows it`);
    expect(server.stats().accepts).toEqual({
      accepted: 1,
      refused: 1,
      denied: 1,
      insecure: 0,
      repeated: 0,
      quantumSafe: 0,
    });
    expect(client.stats().dials).toMatchObject({ connected: 1, failed: 1 });
  });

  it('is no event for the server', async () => {
    const { server, client } = await meet({});
    const bound = server.bind('web', { allow: async () => false });
    const events: string[] = [];
    for (const name of ['connection', 'drop', 'error'] as const) bound.on(name, () => events.push(name));
    const socket = client.dial('web');
    socket.write('unheard');
    expect(await failure(socket)).toMatchObject({ code: 'EACCES' });
    expect(events).toEqual([]);
  });

  it('goes on to an instance that allows it', async () => {
    const { client } = await meet({});
    const [closed, open] = [makeNode({ allow: [] }), makeNode({ allow: [{ service: 'w*' }] })];
    for (const node of [closed, open]) {
      serve(node, 'web');
      await link(client, node);
    }
    await turnsUntil('both are known', () => client.services().length === 2);
    for (let dial = 0; dial < 10; dial++) expect(await answer(client.dial('web'))).toBe(`web of ${open.id}`);
  });

  it('fails for clients of node.net and of http as well, whatever the server is', async () => {
    const { server, client } = await meet({ allow: [{ service: 'open-*' }] });
    for (const name of ['open-net', 'shut-net']) server.net.createServer((socket) => socket.end('net')).listen(name);
    for (const name of ['open-http', 'shut-http'])
      server.bind(
        name,
        createServer((_, response) => response.end('http')),
      );
    await client.waitFor('shut-http');
    expect(await answer(client.net.connect('open-net') as unknown as Socket)).toBe('net');
    expect(await failure(client.net.connect('shut-net'))).toMatchObject({ code: 'EACCES' });
    const httpAgent = agent(client);
    expect(await failureOf(request('http://shut-http/', { agent: httpAgent }))).toMatchObject({ code: 'EACCES' });
    const [response] = await within(
      'a response',
      once(request('http://open-http/', { agent: httpAgent }).end(), 'response'),
    );
    expect(response.statusCode).toBe(200);
    response.destroy();
    httpAgent.destroy();
  });

  it('is never checked for a dial of the node to itself', async () => {
    const node = makeNode({ allow: [] });
    serve(node, 'own', { allow: () => false });
    expect(await answer(node.dial('own'))).toBe(`own of ${node.id}`);
  });

  it('is denied by a node with the same options as well', async () => {
    const server = makeNode({ allow: [] }).new();
    nodes.push(server);
    const client = makeNode();
    await link(client, server);
    serve(server, 'web');
    expect(await failure(client.dial('web'))).toMatchObject({ code: 'EACCES' });
  });

  it('warns of a function that fails, once for all its failures', async () => {
    const { server, client } = await meet({
      allow: () => {
        throw new Error('of the user');
      },
    });
    serve(server, ':7');
    const warnings: Error[] = [];
    server.on('warning', (error) => warnings.push(error));
    for (let dial = 0; dial < 3; dial++) {
      const error = await failure(client.dial(`@${server.id}:7`));
      expect(error.cause?.message).toBe(`${server.id} says: the node could not decide`);
    }
    expect(warnings).toMatchObject([
      {
        code: 'ERR_STARLANE_ALLOW',
        message: expect.stringContaining('of the user'),
        cause: { message: 'of the user' },
      },
    ]);
  });

  it('is refused as a bad option before anything is bound', async () => {
    const node = makeNode();
    const bind = (): unknown => node.bind('web', { allow: [{ direction: 'bind' }] });
    expect(bind).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
    expect(() => makeNode({ allow: [{ id: 'nobody' }] })).toThrow('allow[0].id: must be a node id');
    expect(node.services()).toEqual([]);
  });
});

describe('the dialling node', () => {
  it('is known by the name in its certificate, where links use a PKI', async () => {
    const requests: AllowRequest[] = [];
    const tls = await memberTls();
    const server = makeNode({ tls, allow: (asked) => requests.push(asked) > 0 });
    const client = makeNode({ tls });
    serve(server, 'web:1', { allow: [{ name: 'mem*' }] });
    serve(server, 'web:2', { allow: [{ name: 'other' }] });
    const { address } = await server.listenAndServe('tls://127.0.0.1:0');
    await client.join(address);
    expect(await answer(client.dial('web:1'))).toBe(`web:1 of ${server.id}`);
    expect(await failure(client.dial('web:2'))).toMatchObject({ code: 'EACCES' });
    expect(requests[0].peer).toMatchObject({ id: client.id, name: 'member', verified: true });
  });

  describe('through relays', () => {
    let net: RelayNet;
    afterEach(() => net.close());

    it('gets EACCES from the destination, and the relay is not asked', async () => {
      net = await RelayNet.line(1, { node: { allow: [{ service: 'open' }] } });
      serve(net.last, ':7');
      const error = await failure(net.first.dial(`@${net.last.id}:7`));
      expect(error.code).toBe('EACCES');
      expect(error.cause?.message).toBe(`${net.last.id} says: no rule of the node allows it`);
      expect(net.nodes[1].stats().accepts.denied).toBe(0);
    });

    it('is unknown to rules unless the circuit is secure', async () => {
      net = await RelayNet.line(1);
      serve(net.last, ':7', { allow: [{ id: net.first.id }] });
      const where = `@${net.last.id}:7`;
      expect(await failure(net.first.dial(where, { secure: false }))).toMatchObject({ code: 'EACCES' });
      expect(await answer(net.first.dial(where, { secure: true }))).toBe(`:7 of ${net.last.id}`);
      expect(await failure(net.nodes[1].dial(where))).toMatchObject({ code: 'EACCES' });
    });

    it('may be decided late, and what is secure is held as well', async () => {
      net = await RelayNet.line(2);
      let decide: (isAllowed: boolean) => void = () => {};
      const asked: AllowRequest[] = [];
      net.last.bind(
        ':7',
        {
          allow: (one) => {
            asked.push(one);
            return new Promise((resolve) => {
              decide = resolve;
            });
          },
        },
        (socket) => socket.pipe(socket),
      );
      const socket = net.first.dial(`@${net.last.id}:7`, { secure: true });
      socket.write('hello');
      await turnsUntil('it is asked', () => asked.length === 1);
      const [, near, far] = net.nodes;
      expect(asked[0].peer).toMatchObject({ id: net.first.id, verified: true, via: [far.id, near.id] });
      for (let turns = 0; turns < 5; turns++) await turn();
      expect(socket.connecting).toBe(true);
      decide(true);
      expect(await answer(socket)).toBe('hello');
    });
  });
});

describe('a service that this node does not allow', () => {
  it('is not there, and not dialled by name; what its node has at a port is', async () => {
    const { server, client } = await meet({}, { allow: [{ service: 'web', direction: 'bind' }] });
    serve(server, 'web');
    serve(server, 'db:5432');
    await client.waitFor('web');
    await turnsUntil('db is hidden', () => client.stats().services.hidden === 1);
    expect(client.services().map(({ service }) => service)).toEqual(['web']);
    expect(client.serviceMap().has('db')).toBe(false);
    expect(await failure(client.dial('db', { timeoutMs: 50 }))).toMatchObject({ code: 'ENOTFOUND' });
    await expect(client.waitFor('db', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(await answer(client.dial(`@${server.id}:5432`))).toBe(`db:5432 of ${server.id}`);
  });

  it('is every one of others when rules speak of dials only; the own ones are there', async () => {
    const { server, client } = await meet({}, { allow: [{ service: 'own', direction: 'dial' }] });
    serve(server, 'web');
    serve(client, 'own');
    await turnsUntil('web is hidden', () => client.stats().services.hidden === 1);
    expect(client.services().map(({ service }) => service)).toEqual(['own']);
    await server.waitFor('own');
    expect(await answer(server.dial('own'))).toBe(`own of ${client.id}`);
  });

  it('is emitted once it is allowed, and a dial that waits for it goes on', async () => {
    let decide: (isAllowed: boolean) => void = () => {};
    const { server, client } = await meet(
      {},
      {
        allow: () =>
          new Promise((resolve) => {
            decide = resolve;
          }),
      },
    );
    const told: string[] = [];
    client.on('service', ({ service }) => told.push(service));
    const socket = client.dial('web');
    serve(server, 'web');
    await turnsUntil('web is hidden', () => client.stats().services.hidden === 1);
    expect(told).toEqual([]);
    decide(true);
    expect(await answer(socket)).toBe(`web of ${server.id}`);
    expect([told, client.stats().services.hidden]).toEqual([['web'], 0]);
  });

  it('leaves nothing behind when the node closes before that is decided', async () => {
    const { server, client } = await meet({}, { allow: () => new Promise(() => {}) });
    serve(server, 'web');
    await turnsUntil('web is hidden', () => client.stats().services.hidden === 1);
    await client.close();
    expect(client.stats().services.hidden).toBe(0);
  });
});
