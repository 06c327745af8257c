// A link that sends SYNCED has passed on all that its end held when it came up. The oracle watches every link of every trial;
// here are the situations in which it matters most.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { isConverged } from '../../bench/simulation/oracles.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import type { SimNode } from '../../bench/simulation/sim-node.js';
import { SyncOracle } from '../../bench/simulation/sync-oracle.js';
import { World } from '../../bench/simulation/world.js';

describe('a link that is synced has brought what its other end held', () => {
  let world: World;
  let oracle: SyncOracle;

  beforeEach(() => {
    world = new World({ seed: 31, makePlane: makeRealPlane });
    oracle = new SyncOracle(world);
    world.watcher = oracle;
  });

  afterEach(() => world.close());

  it('in a network that starts', async () => {
    const nodes = world.addAll(16, 0);
    for (const node of nodes) {
      node.setup.seeds = nodes.slice(0, 3).map(({ host }) => host.address);
      world.loop.call(world.random.between(0, 2_000), () => node.start());
    }
    await world.loop.run(20_000);
    expect(oracle.checks).toBeGreaterThan(50);
    expect(oracle.complaints).toEqual([]);
  });

  it('in two halves that have healed', async () => {
    const nodes = world.addAll(16, 0);
    for (const node of nodes) {
      node.setup.seeds = nodes.slice(0, 3).map(({ host }) => host.address);
      node.start();
    }
    await world.loop.run(20_000);
    for (const { host } of nodes) host.side = host.x < 0.5 ? 0 : 1;
    await world.loop.run(60_000);
    for (const node of nodes) node.bind(`late-${node.host.index}`);
    await world.loop.run(5_000);
    const before = oracle.checks;
    for (const { host } of nodes) host.side = 0;
    world.paths.healed();
    await world.loop.run(90_000);
    expect(oracle.checks - before).toBeGreaterThan(2);
    expect(oracle.complaints).toEqual([]);
  });

  it('around a hub that is replaced: all views are equal as soon as all have linked to the new one', async () => {
    const hub = world.add();
    const spokes = Array.from({ length: 4 }, () => world.add({ role: 'server', seeds: [hub.host.address] }));
    const nodes = [hub, ...spokes];
    for (const node of nodes) {
      node.bind(`service-${node.host.index}`);
      node.start();
    }
    const areLinked = (): boolean => spokes.every((spoke: SimNode) => spoke.linkTo(hub)?.isUp === true);
    expect(await world.loop.waitFor(20_000, 10, areLinked)).toBe(true);
    expect(await world.loop.waitFor(10_000, 10, () => isConverged(nodes))).toBe(true);
    // More often, and its links would count as flapping.
    for (let turn = 0; turn < 2; turn++) {
      hub.crash();
      await world.loop.run(1_000);
      hub.start();
      expect(await world.loop.waitFor(20_000, 10, areLinked)).toBe(true);
      expect(await world.loop.waitFor(2_500, 10, () => isConverged(nodes))).toBe(true);
    }
    expect(oracle.complaints).toEqual([]);
  });
});
