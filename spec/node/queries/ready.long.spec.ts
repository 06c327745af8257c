// Whether a node is ready: for it to say, its neighbours have to reach it.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions } from '../../../lib/index.js';
import type { ReadyAnswer } from '../../../lib/node/queries/answers.js';
import { queryNode } from '../../../lib/node/queries/client.js';
import { turnsUntil } from '../../support/turns.js';

const nodes: Node[] = [];
let proxy: Server | undefined;
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  proxy?.close();
  await Promise.all(nodes.splice(0).map((node) => node.close()));
});

function make(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 50, rejoinMinMs: 5, rejoinMaxMs: 20, ...options });
  node.on('warning', () => {});
  nodes.push(node);
  return node;
}

async function listening(options: NodeOptions = {}): Promise<{ node: Node; port: number }> {
  const node = make(options);
  const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
  return { node, port: Number(address.split(':').at(-1)) };
}

/** A path to a port on which one direction can be cut. */
async function pathTo(port: number): Promise<{ address: string; cut(direction: 'there' | 'back'): void }> {
  const pairs: Array<{ there: Socket; back: Socket }> = [];
  proxy = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => {});
    near.pipe(far);
    far.pipe(near);
    pairs.push({ there: near, back: far });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    address: `tcp://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    cut: (direction) => {
      for (const pair of pairs) {
        const from = pair[direction];
        from.unpipe();
        from.resume();
      }
    },
  };
}

function ready(node: Node): Promise<ReadyAnswer> {
  return queryNode(node, `@${node.id}`, '/v1/ready');
}

describe('a node', () => {
  it('is ready alone, when it joins nobody', async () => {
    expect(await ready(make())).toMatchObject({ ready: true, joins: 0, links: 0, checks: [] });
  });

  it('is not ready without a link when it joins others', async () => {
    const node = make({ seeds: ['tcp://127.0.0.1:1'] });
    expect(await ready(node)).toMatchObject({ ready: false, reason: 'the node has no link', joins: 1 });
  });

  it('is ready when a neighbour confirms that it reaches it', async () => {
    const { node, port } = await listening();
    const joiner = make();
    await joiner.join(`tcp://127.0.0.1:${port}`);
    await turnsUntil('there is a route back', () => node.routes().length === 1);
    const answer = await ready(joiner);
    expect(answer).toMatchObject({
      ready: true,
      joins: 1,
      links: 1,
      checks: [{ peerId: node.id, ok: true, how: 'neighbour', rttMs: expect.any(Number) }],
    });
  });

  it('is ready with a neighbour that answers no queries, as long as it answers pings', async () => {
    const { node, port } = await listening({ queries: false });
    const joiner = make();
    await joiner.join(`tcp://127.0.0.1:${port}`);
    expect(await ready(joiner)).toMatchObject({ ready: true, checks: [{ peerId: node.id, ok: true, how: 'ping' }] });
  });

  it.each(['there', 'back'] as const)('is not ready when its only link is cut on the way %s', async (direction) => {
    const { port } = await listening();
    const joiner = make();
    const { address, cut } = await pathTo(port);
    await joiner.join(address);
    cut(direction);
    const answer = await ready(joiner);
    expect(answer).toMatchObject({ ready: false, joins: 1, links: 1, checks: [{ ok: false }] });
    expect(answer.reason).toBe('no neighbour confirms that it reaches the node');
  });

  it('is not ready while it drains', async () => {
    const { node } = await listening();
    void node.drain();
    expect(await ready(node)).toMatchObject({ ready: false, reason: 'the node is draining', state: 'draining' });
  });

  it('asks its neighbours once for all that ask it at the same time', async () => {
    const { node, port } = await listening();
    const joiner = make();
    await joiner.join(`tcp://127.0.0.1:${port}`);
    await turnsUntil('there is a route back', () => node.routes().length === 1);
    const before = node.stats().accepts.accepted;
    await Promise.all(Array.from({ length: 10 }, () => ready(joiner)));
    expect(node.stats().accepts.accepted - before).toBe(1);
  });
});
