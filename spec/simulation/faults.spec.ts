// One kind of fault at a time, on a network of the real control plane: afterwards it comes to rest, and every oracle holds.

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Network } from '../../bench/simulation/network.js';
import { allComplaints, components, reachComplaints, viewOf } from '../../bench/simulation/oracles.js';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import { Stage, type Step, type StepKind } from '../../bench/simulation/steps.js';
import { World } from '../../bench/simulation/world.js';

const NODES = 30;
const REST_MS = 5_000;
const TIMEOUT_MS = 120_000;

/** Each kind, with what there has to be before it and how long it is left to work. */
const KINDS: ReadonlyArray<{ kind: StepKind; forMs?: number; workMs: number }> = [
  { kind: 'join', workMs: 10_000 },
  { kind: 'leave', workMs: 10_000 },
  { kind: 'crash', workMs: 10_000 },
  { kind: 'die', workMs: 40_000 },
  { kind: 'restart', workMs: 10_000 },
  { kind: 'forget', workMs: 10_000 },
  { kind: 'cut', workMs: 40_000 },
  { kind: 'half-cut', workMs: 40_000 },
  { kind: 'split', workMs: 60_000 },
  { kind: 'stall', forMs: 30_000, workMs: 60_000 },
  { kind: 'block', forMs: 8_000, workMs: 20_000 },
  { kind: 'storm', forMs: 10_000, workMs: 15_000 },
  { kind: 'wobble', forMs: 60_000, workMs: 90_000 },
];

describe('a network', () => {
  let world: World;
  let network: Network;
  let stage: Stage;

  beforeEach(async () => {
    world = new World({ seed: 21, makePlane: makeRealPlane });
    network = new Network(world, NODES);
    await network.startWarm();
    await network.settle(REST_MS);
    stage = new Stage(world, network.seeds);
  });

  afterEach(() => world.close());

  const step = (kind: StepKind, node: number, more: Partial<Step> = {}): void =>
    stage.carryOut({ atMs: 0, kind, node, ...more });

  /** Left alone, until nothing changes any more. */
  async function complaintsAtRest(): Promise<string[]> {
    stage.calm();
    expect(await network.settle(REST_MS)).toBe(true);
    return allComplaints(world, 100);
  }

  it('that is made at once is at rest, and every oracle holds', async () => {
    expect(await allComplaints(world, 100)).toEqual([]);
  });

  for (const { kind, forMs, workMs } of KINDS) {
    it(
      `comes to rest after each of ${kind}`,
      async () => {
        for (const node of [4, 11, 18]) step(kind, node, { other: node + 1, forMs });
        await world.loop.run(workMs);
        expect(await complaintsAtRest()).toEqual([]);
      },
      TIMEOUT_MS,
    );
  }

  it('loses no link to a process that is blocked for less than the keepalive timeout of its peers', async () => {
    const lost: string[] = [];
    world.watcher = { onLink: () => {}, onUnlink: (_node, _link, reason) => lost.push(`${reason?.message}`) };
    for (const node of [4, 11, 18]) step('block', node, { forMs: 8_000 });
    await world.loop.run(30_000);
    expect(lost).toEqual([]);
  });

  it('distinguishes a stopped process from one that is gone', async () => {
    const node = network.nodes[7];
    step('stall', 7, { forMs: 30_000 });
    await world.loop.run(25_000);
    // Dead links would be gone after 15 s; those to a kernel that answers are kept for three times that.
    const kept = network.live.filter((peer) => peer !== node && peer.linkTo(node) !== undefined);
    expect(kept.length).toBe(node.run?.links.size);
    expect(await complaintsAtRest()).toEqual([]);
  });

  it('detects that two processes share a key, and recovers when one of them is gone', async () => {
    const node = network.nodes[9];
    step('clone', 9);
    const clone = world.nodes[NODES];
    await world.loop.run(60_000);
    const codes = [node, clone].flatMap(({ warnings }) => warnings.map((error) => (error as { code?: string }).code));
    expect(codes).toContain('ERR_STARLANE_DUPLICATE_IDENTITY');
    expect(await complaintsAtRest()).toEqual([]);
    expect(viewOf(network.nodes[0]).isReachable(node.nodeId)).toBe(true);
  });

  it('continues in two halves while it is split, each consistent in itself', async () => {
    step('split', 0);
    await world.loop.run(60_000);
    const parts = components(world.nodes);
    expect(parts.length).toBe(2);
    for (const part of parts) expect(reachComplaints(part)).toEqual([]);
    expect((await allComplaints(world, 10)).join('\n')).toContain('the network is in 2 parts');
    expect(await complaintsAtRest()).toEqual([]);
  });

  it(
    'forgets nodes that have been gone for an hour, and no others',
    async () => {
      const gone = [network.nodes[5], network.nodes[12]];
      for (const node of gone) node.die();
      await world.loop.run(60_000);
      const known = (): boolean[] => gone.map(({ nodeId }) => viewOf(network.nodes[0]).versionOf(nodeId) !== undefined);
      expect(known()).toEqual([true, true]);
      await world.loop.run(3_900_000);
      for (const node of network.live) {
        for (const { nodeId } of gone) expect(viewOf(node).versionOf(nodeId)).toBeUndefined();
        expect(viewOf(node).reachCount()).toBe(NODES - 3);
      }
    },
    TIMEOUT_MS,
  );
});
