// Members of a simulated network are revoked: an ordinary one, a relay, an issuer, and one whose half of the network is cut off.

import { afterEach, describe, expect, it } from '@jest/globals';
import { holds } from '../../bench/simulation/gates/gate.js';
import { revoke } from '../../bench/simulation/gates/revoke.js';
import { Network } from '../../bench/simulation/network.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import { World } from '../../bench/simulation/world.js';

describe('a simulated network of members', () => {
  let world: World;

  afterEach(() => world.close());

  it('gets rid of a revoked member within one flood', async () => {
    world = new World({ seed: 1, makePlane: makeRealPlane, hasMembers: true });
    const network = new Network(world, 100, 5);
    await network.startWarm();
    expect(await network.settle(5_000)).toBe(true);
    const figures = await revoke.run(network, { churn: 1, minutes: 1 });
    expect(figures.filter((figure) => holds(figure) === false)).toEqual([]);
    expect(figures.filter((figure) => holds(figure)).length).toBeGreaterThan(10);
  }, 120_000);

  it('starts one node after the other, and all know each other', async () => {
    world = new World({ seed: 3, makePlane: makeRealPlane, hasMembers: true });
    const network = new Network(world, 40, 2);
    const { equalMs } = await network.startCold(5_000);
    expect(equalMs).toBeLessThan(20_000);
    const books = network.live.map((node) => JSON.stringify(node.run?.book?.digest()));
    expect(new Set(books).size).toBe(1);
    expect(network.live[0].run?.book?.size).toBe(40);
  });
});
