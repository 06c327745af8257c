// A network in which two of three nodes are clients: they know what all the others know, are not announced to other nodes, and
// are not cut off by failures of the nodes that carry them.

import { afterEach, describe, expect, it } from '@jest/globals';
import { Network } from '../../bench/simulation/network.js';
import { allComplaints, expectedReach, viewOf } from '../../bench/simulation/oracles.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import { World } from '../../bench/simulation/world.js';

const NODES = 45;
const CLIENTS = 30;
const REST_MS = 5_000;

describe('a network with clients', () => {
  let world: World;
  let network: Network;

  async function begin(start: (network: Network) => Promise<unknown>): Promise<void> {
    world = new World({ seed: 5, makePlane: makeRealPlane });
    network = new Network(world, NODES, CLIENTS);
    await start(network);
    await atRest();
  }

  async function atRest(): Promise<void> {
    expect(await network.settle(REST_MS)).toBe(true);
    expect(await allComplaints(world, 200)).toEqual([]);
  }

  const clients = () => network.live.filter((node) => !node.isKnown);

  afterEach(() => world.close());

  it('forms when all start within seconds, each client with three links', async () => {
    await begin((cold) => cold.startCold(5_000));
    // The seeds know all links, but not the clients.
    expect(clients().map((node) => node.run?.links.size)).toEqual(Array(CLIENTS).fill(3));
    for (const node of network.live) expect(viewOf(node).counters().get('origins')).toBe(NODES - CLIENTS);
  });

  it('that is made at once is at rest, and every oracle holds', async () => {
    await begin((warm) => warm.startWarm());
    for (const client of clients()) {
      expect(viewOf(client).reachCount()).toBe(NODES - CLIENTS);
      const [link] = [...(client.run?.links.values() ?? [])];
      expect(viewOf(link.other.node).isReachable(client.nodeId)).toBe(true);
    }
  });

  it('loses no client with a third of the nodes that carry it', async () => {
    await begin((warm) => warm.startWarm());
    const known = network.live.filter((node) => node.isKnown && node.host.index >= 3);
    for (const node of known.slice(0, 5)) node.crash();
    await world.loop.run(20_000);
    await atRest();
    const expected = expectedReach(network.live);
    for (const client of clients()) expect(viewOf(client).reachCount()).toBe(expected(client));
    for (const client of clients()) expect(client.run?.links.size).toBe(3);
  });

  it('publishes nothing when clients come and go', async () => {
    await begin((warm) => warm.startWarm());
    const said = (): number =>
      network.live.reduce((sum, node) => sum + (viewOf(node).counters().get('originations') ?? 0), 0);
    const before = said();
    const gone = clients().slice(0, 10);
    gone.slice(0, 5).forEach((node) => void node.crash());
    gone.slice(5).forEach((node) => void node.leave());
    await world.loop.run(20_000);
    for (const node of gone) node.start();
    await world.loop.run(20_000);
    await atRest();
    expect(said()).toBe(before);
  });
});
