// Links over TCP around the world, with a round trip of 300 ms and 5 % of packets lost: lost packets are sent again, and what
// is behind them waits. No node is taken for dead, and dials succeed.

import { afterEach, describe, expect, it } from '@jest/globals';
import { type Outcome, openCircuit } from '../../bench/simulation/circuits.js';
import { leaveAlone } from '../../bench/simulation/gates/calm.js';
import { Network } from '../../bench/simulation/network.js';
import { allComplaints, viewOf } from '../../bench/simulation/oracles.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import type { SimNode } from '../../bench/simulation/sim-node.js';
import { World } from '../../bench/simulation/world.js';
import { DEFAULT_LIMITS } from '../../lib/options/options.js';
import { TinyPlane } from './tiny-plane.js';

const RTT_MS = 300;
const LOSS = 0.05;
const HOUR_MS = 3_600_000;
const TIMEOUT_MS = 120_000;
const DIALS = 1_000;
const DIAL_TIMEOUT_MS = DEFAULT_LIMITS.dialTimeoutMs;

let world: World;

function worldWith(loss: number, seed = 1): World {
  world = new World({ seed, makePlane: makeRealPlane, conditions: { rttMs: RTT_MS, loss } });
  return world;
}

afterEach(() => world.close());

describe('a network on a path that delays and loses', () => {
  it(
    'loses no link, no node and no service in an hour in which nothing happens',
    async () => {
      const network = new Network(worldWith(LOSS), 40, 4, 10);
      await network.startWarm();
      expect(await network.settle(5_000)).toBe(true);
      expect(await leaveAlone(network, HOUR_MS)).toEqual({ lost: [], gone: [], warnings: [] });
      expect(await allComplaints(world, 0)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'makes a link at the first attempt in 999 dials of a thousand, within the default timeout',
    async () => {
      world = new World({
        seed: 1,
        makePlane: (setup) => new TinyPlane(setup),
        conditions: { rttMs: RTT_MS, loss: LOSS },
      });
      const [one, other] = [world.add(), world.add()];
      other.start();
      const { network } = (one.start().plane as TinyPlane).setup;
      const outcomes: string[] = [];
      for (let turn = 0; turn < DIALS; turn++) {
        network.dial(other.host.address, { purpose: 'mesh' }).then(
          (link) => {
            outcomes.push('up');
            link.close();
          },
          (error) => outcomes.push(error.message),
        );
        await world.loop.run(2 * DIAL_TIMEOUT_MS);
      }
      expect(outcomes.length).toBe(DIALS);
      expect(outcomes.filter((outcome) => outcome !== 'up').length).toBeLessThanOrEqual(1);
    },
    TIMEOUT_MS,
  );

  it(
    'comes about: every node joins by its seeds and learns of all others',
    async () => {
      const network = new Network(worldWith(LOSS), 30);
      const { equalMs } = await network.startCold(10_000);
      expect(equalMs).toBeLessThan(15_000);
    },
    TIMEOUT_MS,
  );
});

/** Nodes that cannot be dialled, so that there are only these links. */
async function linked(loss: number, edges: ReadonlyArray<readonly [number, number]>): Promise<readonly SimNode[]> {
  worldWith(loss);
  const size = 1 + Math.max(...edges.flat());
  const nodes = Array.from({ length: size }, () => world.add({ isReachable: false }));
  for (const node of nodes) node.start();
  await world.loop.run(100);
  for (const [one, other] of edges) world.link(nodes[one], nodes[other]);
  await world.loop.run(60_000);
  return nodes;
}

function line(relays: number): Array<readonly [number, number]> {
  return Array.from({ length: relays + 1 }, (_, index) => [index, index + 1] as const);
}

interface Dials {
  readonly outcomes: readonly Outcome[];
  /** Neighbours that led nowhere, as their nodes took it. */
  readonly blamed: readonly string[];
}

async function dial(nodes: readonly SimNode[], from: SimNode, to: SimNode, count: number): Promise<Dials> {
  const blamed: string[] = [];
  for (const node of nodes) {
    const { routes } = viewOf(node);
    const penalise = routes.penalise.bind(routes);
    routes.penalise = (neighbour, dst) => {
      blamed.push(`${neighbour} for ${dst}`);
      penalise(neighbour, dst);
    };
  }
  const outcomes: Outcome[] = [];
  for (let turn = 0; turn < count; turn++) {
    openCircuit(from, to.nodeId, world.random.below(2 ** 32), (outcome) => outcomes.push(outcome), DIAL_TIMEOUT_MS);
    await world.loop.run(world.random.between(1_000, 3_000));
  }
  await world.loop.run(2 * DIAL_TIMEOUT_MS);
  return { outcomes, blamed };
}

const WAYS = [
  { name: 'a direct link', relays: 0 },
  { name: 'one relay', relays: 1 },
  { name: 'three relays', relays: 3 },
];

for (const { name, relays } of WAYS) {
  describe(`a dial through ${name} at 300 ms`, () => {
    it('takes one round trip from end to end', async () => {
      const nodes = await linked(0, line(relays));
      const { outcomes } = await dial(nodes, nodes[0], nodes[relays + 1], 10);
      const roundTripMs = (relays + 1) * RTT_MS;
      for (const { isOpen, tookMs } of outcomes) {
        expect(isOpen).toBe(true);
        expect(tookMs / roundTripMs).toBeLessThan(1.1);
      }
      expect(outcomes.length).toBe(10);
    });

    it(
      'succeeds a thousand times of a thousand with 5 % loss, and no neighbour is taken for a dead end',
      async () => {
        const nodes = await linked(LOSS, line(relays));
        const { outcomes, blamed } = await dial(nodes, nodes[0], nodes[relays + 1], DIALS);
        expect(outcomes.filter(({ isOpen }) => isOpen).length).toBe(DIALS);
        expect(blamed).toEqual([]);
      },
      TIMEOUT_MS,
    );
  });
}

describe('a dial at 300 ms that could go by several relays', () => {
  it(
    'succeeds a thousand times of a thousand with 5 % loss, and no relay is taken for a dead end',
    async () => {
      const edges = [1, 2, 3].flatMap((relay) => [[0, relay] as const, [relay, 4] as const]);
      const nodes = await linked(LOSS, edges);
      const { outcomes, blamed } = await dial(nodes, nodes[0], nodes[4], DIALS);
      expect(outcomes.filter(({ isOpen }) => isOpen).length).toBe(DIALS);
      expect(blamed).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
