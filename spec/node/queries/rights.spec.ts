// Who may ask a node for what.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { agent } from '../../../lib/http/index.js';
import { createNode, type Node, type NodeOptions } from '../../../lib/index.js';
import { queryNode } from '../../../lib/node/queries/client.js';
import { MemberNet } from '../../support/member-net.js';
import { RelayNet } from '../../support/relay-net.js';
import { knows, readToEnd } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

const SECRET = '0123456789abcdef';
const OPEN_PATHS = ['/v1/health', '/v1/ready'];
/** Answered for all who share an env, in part: see lists/rights.spec.ts. */
const PARTLY_OPEN_PATHS = ['/v1/services', '/v1/nodes'];
const ALL_PATHS = ['/v1/stats', '/v1/links', '/v1/routes', '/v1/topology', '/v1/members', '/v1/streams', '/v1/relay'];

const nodes: Node[] = [];
const nets: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  await Promise.all([...nodes.splice(0), ...nets.splice(0)].map((one) => one.close()));
});

function make(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 100, ...options });
  nodes.push(node);
  return node;
}

async function link(one: Node, other: Node): Promise<void> {
  const [near, far] = duplexPair();
  await Promise.all([one.attach(near), other.attach(far)]);
}

/** Two linked nodes. */
async function meet(asker: NodeOptions, asked: NodeOptions): Promise<[Node, Node]> {
  const pair = [make(asker), make(asked)] as [Node, Node];
  await link(...pair);
  return pair;
}

async function expectAll(asker: Node, asked: Node): Promise<void> {
  for (const path of [...OPEN_PATHS, ...PARTLY_OPEN_PATHS, ...ALL_PATHS]) await asker.query(`@${asked.id}`, path);
}

async function expectOnlyOpen(asker: Node, asked: Node): Promise<void> {
  for (const path of [...OPEN_PATHS, ...PARTLY_OPEN_PATHS]) await asker.query(`@${asked.id}`, path);
  await asker.query(`@${asked.id}`, `/v1/hop?to=${asker.id}`);
  for (const path of [...ALL_PATHS, '/v1/events', '/v1/unknown']) {
    await expect(asker.query(`@${asked.id}`, path)).rejects.toMatchObject({ code: 'EACCES' });
  }
}

async function expectNothing(asker: Node, asked: Node): Promise<void> {
  for (const path of [...OPEN_PATHS, `/v1/hop?to=${asker.id}`, ...PARTLY_OPEN_PATHS, ...ALL_PATHS, '/v1/events']) {
    await expect(asker.query(`@${asked.id}`, path)).rejects.toMatchObject({ code: 'EACCES' });
  }
}

describe('without a secret', () => {
  it('others only see whether the node is alive and ready, and how far a hop is', async () => {
    const [asker, asked] = await meet({}, {});
    await expectOnlyOpen(asker, asked);
  });

  it('the node itself sees everything', async () => {
    const [asker] = await meet({}, {});
    await expectAll(asker, asker);
  });

  it('a denied request gets 403 and the reason as JSON, over any HTTP client', async () => {
    const [asker, asked] = await meet({}, {});
    const keepAlive = agent(asker);
    const { get } = await import('node:http');
    const request = get({ agent: keepAlive, host: `@${asked.id}`, port: 2, path: '/v1/links' });
    const [response] = await once(request, 'response');
    expect(response.statusCode).toBe(403);
    expect(response.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(JSON.parse((await readToEnd(response)).toString())).toEqual({
      error: { code: 'EACCES', message: expect.stringContaining('/v1/links') },
    });
    keepAlive.destroy();
  });
});

describe('with a secret', () => {
  it('every peer sees everything', async () => {
    const [asker, asked] = await meet({ secret: SECRET }, { secret: SECRET });
    await expectAll(asker, asked);
  });

  it('every node does, over relays as well', async () => {
    const net = await RelayNet.line(2, { node: { secret: SECRET } });
    nets.push(net);
    await net.settled();
    await expectAll(net.first, net.last);
  });

  it('but not over a circuit that proves nothing', async () => {
    const net = await RelayNet.line(1, { node: { secret: SECRET } });
    nets.push(net);
    await net.settled();
    const socket = net.first.dial(`@${net.last.id}:2`, { secure: false });
    socket.end('GET /v1/links HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    expect((await readToEnd(socket)).toString()).toMatch(/^HTTP\/1.1 403 /);
  });
});

describe('with members', () => {
  const noRights = { relay: true, offer: ['*'], issue: false };

  it('issuers and members with the tag operator see everything, also over relays', async () => {
    const net = await MemberNet.line(1, {
      members: { 0: { tags: ['operator'], rights: noRights }, 1: { rights: { ...noRights, issue: true } } },
    });
    nets.push(net);
    await expectAll(net.first, net.last);
    await expectAll(net.net.nodes[1], net.last);
  });

  it('other members only see what is open', async () => {
    const net = await MemberNet.line(1, { members: { 0: { tags: ['web'], rights: noRights } } });
    nets.push(net);
    await expectOnlyOpen(net.first, net.last);
  });

  it('names of members are targets', async () => {
    const net = await MemberNet.line(1, { members: { 2: { name: 'database' } } });
    nets.push(net);
    expect(await queryNode(net.first, 'database', '/v1/health')).toMatchObject({ id: net.last.id, name: 'database' });
    const { members } = await queryNode(net.last, `@${net.last.id}`, '/v1/members');
    expect(members.map(({ name }) => name).sort()).toEqual(['database', 'n0', 'n1']);
  });
});

describe('the option queries', () => {
  it('as rules, names those who see everything, whatever the network', async () => {
    const asker = make();
    const asked = make({ queries: [{ id: asker.id }] });
    await link(asker, asked);
    await expectAll(asker, asked);
    const other = make();
    await link(other, asked);
    await expectOnlyOpen(other, asked);
  });

  it('as an empty list, leaves it to the node itself', async () => {
    const [asker, asked] = await meet({ secret: SECRET }, { secret: SECRET, queries: [] });
    await expectOnlyOpen(asker, asked);
    await expectAll(asked, asked);
  });

  it('false, answers nobody', async () => {
    const [asker, asked] = await meet({ secret: SECRET }, { secret: SECRET, queries: false });
    await expect(asker.query(`@${asked.id}`, '/v1/health')).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
  });

  it.each([
    ['queries: must be true, false, or a list of rules', 'all'],
    ['queries[0].service', [{ service: 'web' }]],
    ['queries[0].direction', [{ direction: 'dial' }]],
    ['queries[0]: must be a rule', [7]],
  ])('refuses %s', (message, queries) => {
    expect(() => createNode({ queries } as NodeOptions)).toThrow(message);
  });
});

describe('the port of queries', () => {
  it('cannot be bound, and answers no name', async () => {
    const node = make();
    const server = node.bind(':2');
    const [error] = await once(server, 'error');
    expect(error).toMatchObject({ code: 'EACCES', syscall: 'listen', port: 2 });
  });

  it('is reached through relays whose rules let nothing else pass', async () => {
    const net = await RelayNet.line(1, { nodes: { 1: { relay: [{ service: 'nothing' }] } } });
    nets.push(net);
    await net.settled();
    expect(await net.first.query(`@${net.last.id}`, '/v1/health')).toMatchObject({ id: net.last.id });
  });

  it('is not closed by the option allow', async () => {
    const [asker, asked] = await meet({}, { allow: [] });
    expect(await asker.query(`@${asked.id}`, '/v1/health')).toMatchObject({ id: asked.id });
  });

  it('answers while the node drains, and does not keep it from its end', async () => {
    const [asker, asked] = await meet({ secret: SECRET }, { secret: SECRET });
    const kept = agent(asker, { keepAlive: true });
    const { get } = await import('node:http');
    const [response] = await once(get({ agent: kept, host: `@${asked.id}`, port: 2, path: '/v1/health' }), 'response');
    await readToEnd(response);
    const drained = asked.drain();
    expect(await asker.query(`@${asked.id}`, '/v1/health')).toMatchObject({ state: 'draining' });
    await drained;
    kept.destroy();
  });
});

describe('envs', () => {
  const both: NodeOptions = { env: ['red', 'blue'], secret: SECRET };

  it('a node of another env sees nothing', async () => {
    const [asker, asked] = await meet({ env: 'green', secret: SECRET }, both);
    await expectNothing(asker, asked);
  });

  it('a node of one of two envs sees services, addresses and names of services on streams of that one only', async () => {
    const red = make({ env: 'red', secret: SECRET });
    const blue = make({ env: 'blue', secret: SECRET });
    const asked = make(both);
    await blue.listenAndServe('tls://127.0.0.1:0');
    await link(red, asked);
    await link(blue, asked);
    blue.bind('bluebird', (socket) => socket.on('error', () => {}));
    red.bind('robin');
    await knows(asked, 'bluebird');
    await knows(asked, 'robin');
    await once(asked.dial('bluebird'), 'connect');
    const announced = (): boolean => Reflect.get(asked, 'mesh').gossip.store.node(blue.id)?.addresses.length > 0;
    await turnsUntil('the address is announced', announced);

    const { services } = await queryNode(red, `@${asked.id}`, '/v1/services');
    expect(services.map(({ service }) => service)).toEqual(['robin']);
    const found = await queryNode(red, `@${asked.id}`, '/v1/nodes');
    expect(found.nodes.find(({ id }) => id === blue.id)).toMatchObject({ addresses: [], sharesEnv: false });
    const { links } = await queryNode(red, `@${asked.id}`, '/v1/links');
    expect(links.find(({ peerId }) => peerId === blue.id)).toMatchObject({ address: '', sharesEnv: false });
    const topology = await queryNode(red, `@${asked.id}`, '/v1/topology');
    expect(topology.nodes.find(({ id }) => id === blue.id)).toMatchObject({ services: 0 });
    const text = JSON.stringify(await queryNode(red, `@${asked.id}`, '/v1/streams'));
    expect(text).toContain(blue.id);
    expect(text).not.toContain('bluebird');
    const own = await queryNode(asked, `@${asked.id}`, '/v1/services');
    expect(own.services).toHaveLength(2);
  });

  it('a client of one of two envs sees that one through a relay', async () => {
    const net = await RelayNet.line(1, {
      node: { secret: SECRET },
      nodes: { 0: { env: 'red', role: 'client' }, 2: both },
    });
    nets.push(net);
    const last = (): unknown => Reflect.get(net.first, 'mesh').gossip.store.node(net.last.id);
    await turnsUntil('the far node is known', () => last() !== undefined);
    net.last.bind('own');
    const { services } = await queryNode(net.first, `@${net.last.id}`, '/v1/services');
    expect(services.map(({ service }) => service)).toEqual(['own']);
  });
});
