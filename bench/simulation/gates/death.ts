// T6, T7, T15: how soon all nodes know that a node is gone, and what remains of a network after many deaths at once.

import type { Network } from '../network.js';
import { components, isAllReached, isConverged, viewOf } from '../oracles.js';
import type { SimNode } from '../sim-node.js';
import type { Figure, Gate } from './gate.js';

const ASK_MS = 5;

export const crash: Gate = {
  name: 'crash',
  target: 'T6',
  about: 'a process is killed, and disappears from all views',
  async run(network): Promise<Figure[]> {
    const samples = 10;
    const times: number[] = [];
    for (let sample = 0; sample < samples; sample++) {
      const node = network.pickKnown();
      node.crash();
      times.push(await goneMs(network, [node], 30_000));
      node.start();
      await network.settle(3_000);
    }
    return [{ title: `gone everywhere, worst of ${samples}`, value: Math.max(...times), unit: 'ms', atMost: 1_000 }];
  },
};

export const silence: Gate = {
  name: 'silence',
  target: 'T7',
  about: 'a machine is switched off, and disappears from all views',
  async run(network): Promise<Figure[]> {
    const samples = 5;
    const times: number[] = [];
    for (let sample = 0; sample < samples; sample++) {
      const node = network.pickKnown();
      node.die();
      times.push(await goneMs(network, [node], 120_000));
      node.start();
      await network.settle(3_000);
    }
    return [
      { title: `gone everywhere, worst of ${samples}`, value: Math.max(...times) / 1_000, unit: 's', atMost: 20 },
    ];
  },
};

export const deaths: Gate = {
  name: 'deaths',
  target: 'T15',
  about: '30 % of all processes are killed at once',
  async run(network): Promise<Figure[]> {
    const { loop, random } = network.world;
    const startMs = loop.now;
    for (const node of random.sample(network.live, Math.floor(0.3 * network.size))) node.crash();
    const [largest] = components(network.nodes);
    const knownOf = (nodes: readonly SimNode[]): number => nodes.filter(({ isKnown }) => isKnown).length;
    const share = knownOf(largest) / knownOf(network.live);
    const isOne = await loop.waitFor(120_000, 20, () => {
      const [part] = components(network.nodes);
      return part.length === network.live.length && isAllReached(part);
    });
    const oneMs = isOne ? loop.now - startMs : Number.NaN;
    const isEqual = await loop.waitFor(120_000, 50, () => isConverged(network.nodes));
    const equalMs = isEqual ? loop.now - startMs : Number.NaN;
    await network.revive();
    return [
      { title: 'survivors in the largest part at once', value: 100 * share, unit: '%', atLeast: 99 },
      { title: 'all survivors reach each other after', value: oneMs / 1_000, unit: 's', atMost: 10 },
      { title: 'all views equal after', value: equalMs / 1_000, unit: 's' },
    ];
  },
};

/** Until no live node reaches any of these. */
async function goneMs(network: Network, nodes: readonly SimNode[], limitMs: number): Promise<number> {
  const { loop } = network.world;
  const startMs = loop.now;
  const isGone = (): boolean =>
    network.live.every((live) => nodes.every(({ nodeId }) => !viewOf(live).isReachable(nodeId)));
  return (await loop.waitFor(limitMs, ASK_MS, isGone)) ? loop.now - startMs : Number.NaN;
}
