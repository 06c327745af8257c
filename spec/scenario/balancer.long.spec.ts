// Nodes of which each knows one address only: that of a balancer in front of all of them.

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node } from '../../lib/index.js';
import { within } from '../support/deadline.js';
import { turn, turnsUntil } from '../support/turns.js';

const NODES = 4;
const OPTIONS = { rejoinMinMs: 5, rejoinMaxMs: 50 };

describe('a balancer in front of all nodes', () => {
  const nodes: Node[] = [];
  const ports: number[] = [];
  let balancer: Server;
  let address: string;
  let connections = 0;

  /** The first connection of each node gets back to that node, as chance will have it at times. */
  async function begin(makeOptions: (seed: string) => { seeds?: string[] }): Promise<void> {
    balancer = createServer((inbound) => {
      const outbound = connect(ports[connections++ % ports.length] as number, '127.0.0.1');
      inbound.on('error', () => outbound.destroy()).on('close', () => outbound.destroy());
      outbound.on('error', () => inbound.destroy()).on('close', () => inbound.destroy());
      inbound.pipe(outbound).pipe(inbound);
    }).listen(0, '127.0.0.1');
    await once(balancer, 'listening');
    address = `tcp://127.0.0.1:${(balancer.address() as AddressInfo).port}`;
    for (let count = 0; count < NODES; count++) {
      const node = createNode({ ...OPTIONS, ...makeOptions(address) });
      nodes.push(node);
      const listener = await node.listenAndServe('tcp://127.0.0.1:0');
      ports.push(Number(listener.address.split(':').at(-1)));
    }
  }

  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.close()));
    ports.length = 0;
    balancer.close();
  });

  /** A node dials twice a second at most, and may get to itself or to where it was before for a few times. */
  async function untilOne(): Promise<void> {
    let isOver = false;
    const wait = async (): Promise<void> => {
      while (!isOne() && !isOver) await turn();
    };
    await within('all reach all', wait()).finally(() => {
      isOver = true;
    });
  }

  const isOne = (): boolean => nodes.every((node) => node.routes().length === NODES - 1);

  it('as the seed of each makes one network', async () => {
    await begin((seed) => ({ seeds: [seed] }));
    await untilOne();
  });

  it('that each joins makes one network, and no join is rejected', async () => {
    await begin(() => ({}));
    const links = await Promise.all(nodes.map((node) => node.join(address)));
    for (const [index, link] of links.entries()) expect(link.peerId).not.toBe(nodes[index]?.id);
    await untilOne();
  });

  it('is left alone when the link that was joined is closed', async () => {
    await begin(() => ({}));
    const [node] = nodes as [Node];
    const link = await node.join(address);
    link.close();
    await turnsUntil('nothing is joined', () => node.stats().links.joins === 0);
  });
});
