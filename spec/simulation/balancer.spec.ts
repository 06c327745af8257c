// One address in front of all nodes, as that of a service in Kubernetes: it is the only seed of all of them.

import { afterEach, describe, expect, it } from '@jest/globals';
import { isConverged } from '../../bench/simulation/oracles.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import type { SimNode } from '../../bench/simulation/sim-node.js';
import { World } from '../../bench/simulation/world.js';

const BALANCER = 'tcp://10.255.0.1:4000';

describe('nodes behind a balancer that is their only seed', () => {
  let world: World;

  function begin(seed: number, count: number): SimNode[] {
    world = new World({ seed, makePlane: makeRealPlane });
    const nodes = Array.from({ length: count }, () => world.add({ seeds: [BALANCER] }));
    world.balance(
      BALANCER,
      nodes.map(({ host }) => host),
    );
    return nodes;
  }

  const warningsOf = (nodes: readonly SimNode[]): unknown[] => nodes.flatMap(({ warnings }) => warnings);

  afterEach(() => world.close());

  for (const count of [2, 3, 4, 6, 20]) {
    it(`become one network within a minute, without a warning: ${count} that start at once`, async () => {
      for (let seed = 1; seed <= 10; seed++) {
        const nodes = begin(seed, count);
        for (const node of nodes) node.start();
        expect(await world.loop.waitFor(60_000, 100, () => isConverged(nodes) && isWhole(nodes))).toBe(true);
        expect(warningsOf(nodes)).toEqual([]);
        world.close();
      }
    });
  }

  it('become one network when the only running one has joined itself for an hour', async () => {
    const [first, second] = begin(3, 2) as [SimNode, SimNode];
    first.start();
    await world.loop.run(3_600_000);
    second.start();
    expect(await world.loop.waitFor(60_000, 100, () => isWhole([first, second]))).toBe(true);
    expect(warningsOf([first, second])).toEqual([]);
  });

  it('become one network again after a minute in two complete halves', async () => {
    const nodes = begin(4, 6);
    for (const node of nodes) node.start();
    await world.loop.run(60_000);
    nodes.forEach((node, index) => {
      node.host.side = index % 2;
    });
    await world.loop.run(600_000);
    for (const { host } of nodes) host.side = 0;
    world.paths.healed();
    expect(await world.loop.waitFor(180_000, 100, () => isWhole(nodes))).toBe(true);
  });
});

function isWhole(nodes: readonly SimNode[]): boolean {
  return nodes.every((node) => node.run?.plane.view.reachCount() === nodes.length - 1);
}
