// T11: a network in two halves finds together.

import { expectedReach, isAllReached, isConverged, viewOf } from '../oracles.js';
import type { Figure, Gate } from './gate.js';

const SPLIT_MS = 60_000;
const LIMIT_MS = 300_000;

export const split: Gate = {
  name: 'split',
  target: 'T11',
  about: 'two halves are cut off from each other for a minute',
  async run(network): Promise<Figure[]> {
    const { world } = network;
    const { loop, random } = world;
    const half = new Set(random.sample(network.nodes, network.size / 2));
    for (const node of half) node.host.side = 1;
    await loop.run(SPLIT_MS);
    const expected = expectedReach(network.nodes);
    const isSplit = network.live.every((node) => viewOf(node).reachCount() < expected(node));
    const bytes = (): number => network.nodes.reduce((sum, node) => sum + node.traffic.bytesIn, 0);

    const healedMs = loop.now;
    let linkedMs = Number.NaN;
    world.watcher = {
      onLink: (node, link) => {
        if (Number.isNaN(linkedMs) && half.has(node) !== half.has(link.other.node)) linkedMs = loop.now;
      },
      onUnlink: () => {},
    };
    for (const node of half) node.host.side = 0;
    world.paths.healed();
    await loop.waitFor(LIMIT_MS, 5, () => !Number.isNaN(linkedMs));
    const bytesBefore = bytes();
    const wholeMs = (await loop.waitFor(LIMIT_MS, 5, () => isAllReached(network.live))) ? loop.now : Number.NaN;
    const equalMs = (await loop.waitFor(LIMIT_MS, 5, () => isConverged(network.nodes))) ? loop.now : Number.NaN;
    const spent = (bytes() - bytesBefore) / network.size;
    world.watcher = undefined;
    await network.settle(5_000);
    return [
      { title: 'was split', value: isSplit ? 1 : 0, unit: '', atLeast: 1 },
      { title: 'first link across after', value: (linkedMs - healedMs) / 1_000, unit: 's', atMost: 45 },
      { title: 'then all nodes reach each other after', value: wholeMs - linkedMs, unit: 'ms', atMost: 2_000 },
      { title: 'and all views are equal after', value: equalMs - linkedMs, unit: 'ms' },
      { title: 'received by each node until then', value: spent / 1_000, unit: 'KB' },
    ];
  },
};
