// Nodes of a simulated network drain and leave, one after the other, as in a rolling restart.

import { afterEach, describe, expect, it } from '@jest/globals';
import { drain } from '../../bench/simulation/gates/drain.js';
import { holds } from '../../bench/simulation/gates/gate.js';
import { Network } from '../../bench/simulation/network.js';
import { viewOf } from '../../bench/simulation/oracles.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import { World } from '../../bench/simulation/world.js';

describe('a simulated network', () => {
  let world: World;

  async function start(seed: number): Promise<Network> {
    world = new World({ seed, makePlane: makeRealPlane });
    const network = new Network(world, 30);
    await network.startWarm();
    await network.settle(5_000);
    return network;
  }

  afterEach(() => world.close());

  it.each([1, 2])('opens every circuit while its nodes drain, leave and come back, with seed %i', async (seed) => {
    const network = await start(seed);
    const figures = await drain.run(network, { churn: 1, minutes: 1 });
    expect(figures.filter((figure) => holds(figure) === false)).toEqual([]);
    const of = (title: string): number | undefined => figures.find((figure) => figure.title === title)?.value;
    expect(of('of')).toBeGreaterThan(300);
    expect(of('nodes drained')).toBe(15);
  });

  it('sees no services of a node that drains, and still reaches it', async () => {
    const network = await start(3);
    const node = network.pickKnown();
    const others = network.live.filter((other) => other !== node);
    const name = `service-${node.host.index}`;
    expect(others.every((other) => viewOf(other).hasInstance(name, node.nodeId))).toBe(true);
    node.drain();
    await world.loop.run(1_000);
    expect(others.some((other) => viewOf(other).hasInstance(name, node.nodeId))).toBe(false);
    expect(others.every((other) => viewOf(other).isReachable(node.nodeId))).toBe(true);
    expect(viewOf(node).hasInstance(name, node.nodeId)).toBe(true);
  });
});
