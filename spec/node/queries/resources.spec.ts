// Each resource that a node answers, asked by another node over a link.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions, type Socket } from '../../../lib/index.js';
import type { AnswerPath, Answers } from '../../../lib/node/queries/answers.js';
import { queryNode } from '../../../lib/node/queries/client.js';
import { RelayNet } from '../../support/relay-net.js';
import { knows, type Testnet, testnet } from '../../support/testnet.js';
import { turnsUntil } from '../../support/turns.js';

const OPTIONS: NodeOptions = { secret: '0123456789abcdef', closeTimeoutMs: 100, dialTimeoutMs: 2_000 };

let net: Testnet;
let near: Node;
let far: Node;

beforeEach(async () => {
  net = await testnet('memory', OPTIONS);
  near = net.joiner;
  far = net.listener;
});

afterEach(() => net.close());

function ask<Path extends AnswerPath>(path: Path): Promise<Answers[Path]> {
  return queryNode(near, `@${far.id}`, path) as Promise<Answers[Path]>;
}

async function connected(service: string): Promise<[near: Socket, far: Socket]> {
  const accepted: Promise<Socket> = new Promise((resolve) => {
    far.bind(service, { allowHalfOpen: true }, resolve);
  });
  await knows(near, service);
  const socket = near.dial(service);
  await once(socket, 'connect');
  return [socket, await accepted];
}

describe('a node answers', () => {
  it('/v1/health', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    const health = await ask('/v1/health');
    expect(health).toMatchObject({
      id: far.id,
      alive: true,
      state: 'open',
      role: 'peer',
      version,
      protocol: 1,
      api: 1,
    });
    expect(health.uptimeMs).toBeGreaterThanOrEqual(0);
    expect(Math.abs(health.timeMs - Date.now())).toBeLessThan(20_000);
  });

  it('/v1/ready', async () => {
    const answer = await ask('/v1/ready');
    expect(answer).toEqual({ id: far.id, ready: true, state: 'open', joins: 0, links: 1, checks: [] });
  });

  it('/v1/hop', async () => {
    const answer = await queryNode(near, `@${far.id}`, `/v1/hop?to=${near.id}&samples=3`);
    expect(answer).toMatchObject({
      id: far.id,
      to: near.id,
      link: { suspect: false, stalled: false },
      route: { nextHop: near.id, hops: 1 },
    });
    expect(answer.link?.samplesMs).toHaveLength(3);
    expect(answer.link?.rttMs).toBe(Math.min(...(answer.link?.samplesMs ?? [])));
  });

  it('/v1/stats', async () => {
    expect(await ask('/v1/stats')).toMatchObject({ id: far.id, state: 'open', links: { up: 1 } });
  });

  it('/v1/links', async () => {
    const { links } = await ask('/v1/links');
    expect(links).toHaveLength(1);
    expect(links[0]).toMatchObject({
      peerId: near.id,
      address: 'attached',
      purpose: 'join',
      role: 'peer',
      suspect: false,
      stalled: false,
      sharesEnv: true,
    });
    expect(links[0].queuedBytes).toBeGreaterThanOrEqual(0);
  });

  it('/v1/services, all of them or those of a name', async () => {
    far.bind('web:80', { meta: { colour: 'red' }, weight: 7 });
    near.bind('db');
    await knows(far, 'db');
    const { services, total, truncated } = await ask('/v1/services');
    expect({ total, truncated, names: services.map(({ service }) => service).sort() }).toEqual({
      total: 2,
      truncated: false,
      names: ['db', 'web'],
    });
    const one = await queryNode(near, `@${far.id}`, '/v1/services?name=web');
    expect(one.services).toEqual([
      { service: 'web', port: 80, nodeId: far.id, weight: 7, meta: { colour: 'red' }, local: true, costMs: 0, hops: 0 },
    ]);
    expect(await queryNode(near, `@${far.id}`, '/v1/services?limit=1')).toMatchObject({ total: 2, truncated: true });
  });

  it('/v1/routes', async () => {
    expect(await ask('/v1/routes')).toMatchObject({
      total: 1,
      routes: [{ nodeId: near.id, nextHop: near.id, hops: 1 }],
    });
  });

  it('/v1/nodes', async () => {
    await turnsUntil('both are announced', () => Reflect.get(far, 'mesh').gossip.store.node(near.id) !== undefined);
    const { nodes } = await ask('/v1/nodes');
    expect(nodes.map(({ id, self }) => ({ id, self }))).toEqual([
      { id: far.id, self: true },
      { id: near.id, self: false },
    ]);
    expect(nodes[1]).toMatchObject({ relay: true, draining: false, reachable: true, hops: 1, sharesEnv: true });
  });

  it('/v1/topology', async () => {
    const announced = async (): Promise<boolean> => (await ask('/v1/topology')).edges.some(({ mutual }) => mutual);
    while (!(await announced())) await new Promise((resolve) => setImmediate(resolve));
    const { nodes, edges } = await ask('/v1/topology');
    const [a, b] = [near.id, far.id].sort();
    expect(edges).toEqual([{ a, b, costMs: expect.any(Number), mutual: true, own: true }]);
    expect(nodes.map(({ id }) => id).sort()).toEqual([a, b]);
  });

  it('/v1/members, none without an authority', async () => {
    expect(await ask('/v1/members')).toEqual({ id: far.id, total: 0, truncated: false, members: [] });
  });

  it('/v1/relay', async () => {
    expect(await ask('/v1/relay')).toMatchObject({
      enabled: true,
      draining: false,
      circuits: 0,
      neighbours: [{ peerId: near.id, circuits: 0, heldBytes: 0 }],
    });
  });

  it('/v1/streams, with what waits on each', async () => {
    const [socket, accepted] = await connected('sink');
    socket.write(Buffer.alloc(2_000_000));
    await turnsUntil('bytes wait at the other end', () => accepted.readableLength > 10_000);
    const { streams } = await queryNode(near, `@${far.id}`, '/v1/streams?service=sink');
    expect(streams).toHaveLength(1);
    expect(streams[0]).toMatchObject({
      kind: 'socket',
      service: 'sink',
      peerId: near.id,
      direction: 'in',
      relayed: false,
      via: [],
      link: near.id,
    });
    expect(streams[0].waitingIn).toBeGreaterThan(10_000);
    const own = await queryNode(near, `@${near.id}`, '/v1/streams?service=sink');
    expect(own.streams[0]).toMatchObject({ direction: 'out', service: 'sink', bytesOut: 2_000_000 });
    expect(own.streams[0].waitingOut).toBeGreaterThan(0);
    for (const one of [socket, accepted]) one.destroy();
  });

  it('/v1/streams, only those that stand still', async () => {
    const [stalled, held] = await connected('held');
    const [moving, taken] = await connected('taken');
    taken.resume();
    stalled.write(Buffer.alloc(2_000_000));
    moving.write('x');
    await turnsUntil('bytes wait', () => held.readableLength > 10_000);
    const { streams } = await queryNode(near, `@${far.id}`, '/v1/streams?stalled=true&forMs=50');
    expect(streams.map(({ service }) => service)).toEqual(['held']);
    expect(streams[0].idleMs).toBeGreaterThanOrEqual(50);
    for (const one of [stalled, held, moving, taken]) one.destroy();
  });

  it('only what it knows, and no wrong parameters', async () => {
    for (const path of ['/v1/nothing', '/', '/v2/health', '/v1/__proto__']) {
      await expect(near.query(`@${far.id}`, path)).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
    }
    for (const path of ['/v1/nodes?limit=0', '/v1/nodes?limit=x', '/v1/hop', '/v1/hop?to=x', '/v1/streams?stalled=x']) {
      await expect(near.query(`@${far.id}`, path)).rejects.toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
    }
  });
});

describe('streams through a relay', () => {
  it('are listed once, with both links and what waits on the way', async () => {
    const relayed = await RelayNet.line(1, { node: OPTIONS });
    await relayed.settled();
    const [first, relay, last] = relayed.nodes;
    const accepted: Promise<Socket> = new Promise((resolve) => {
      last.bind('sink', resolve);
    });
    await knows(first, 'sink');
    const socket = first.dial('sink', { secure: false });
    await once(socket, 'connect');
    (await accepted).pause();
    socket.write(Buffer.alloc(1_000_000));
    await turnsUntil('bytes wait in the relay', () => relay.stats().relay.heldBytes > 0);

    const { streams } = await queryNode(relay, `@${relay.id}`, '/v1/streams?stalled=true&forMs=50');
    expect(streams).toHaveLength(1);
    expect(streams[0]).toMatchObject({
      kind: 'relayed',
      service: '',
      peerId: first.id,
      direction: 'through',
      relayed: true,
      link: first.id,
      nextLink: last.id,
      bytesIn: null,
      waitingIn: 0,
    });
    expect(streams[0].waitingOut).toBe(relay.stats().relay.heldBytes);
    const own = await queryNode(first, `@${first.id}`, `/v1/streams?peer=${last.id}&service=sink`);
    expect(own.streams).toMatchObject([{ direction: 'out', relayed: true, via: [relay.id], link: relay.id }]);
    socket.destroy();
    await relayed.close();
  });

  it('are listed at both ends of the loopback', async () => {
    near.bind('own', (socket) => socket.on('error', () => {}));
    const socket = near.dial('own');
    await once(socket, 'connect');
    const { streams } = await queryNode(near, `@${near.id}`, '/v1/streams?service=own');
    expect(streams.map(({ direction, link }) => ({ direction, link }))).toEqual([
      { direction: 'out', link: null },
      { direction: 'in', link: null },
    ]);
    expect(new Set(streams.map(({ key }) => key)).size).toBe(2);
    socket.destroy();
  });
});

describe('query', () => {
  it('finds the node by its id or by a service, and asks the node itself', async () => {
    far.bind('web');
    await knows(near, 'web');
    expect(await near.query('web', '/v1/health')).toMatchObject({ id: far.id });
    expect(await near.query(`@${near.id}`, '/v1/health')).toMatchObject({ id: near.id });
    await expect(near.query('nobody', '/v1/health')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('fails for a node that cannot be reached', async () => {
    const other = createNode();
    const { id } = other;
    await other.close();
    await expect(near.query(`@${id}`, '/v1/health', { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      address: `@${id}`,
    });
  });

  it('says when a node answers no queries', async () => {
    const silent = await testnet('memory', { ...OPTIONS, queries: false });
    const query = silent.joiner.query(`@${silent.listener.id}`, '/v1/health');
    await expect(query).rejects.toMatchObject({ code: 'ERR_STARLANE_QUERY' });
    await expect(query).rejects.toThrow(/its version is older, or its option queries is false/);
    await silent.close();
  });
});
