// A member that is revoked is gone everywhere: from services, routes and links, as fast as a record spreads.

import type { Network } from '../network.js';
import { viewOf } from '../oracles.js';
import { percentileOf, sortedOf } from '../percentile.js';
import type { SimNode } from '../sim-node.js';
import type { Figure, Gate } from './gate.js';

const ASK_MS = 2;
const LIMIT_MS = 10_000;
const HEAL_LIMIT_MS = 300_000;
const SPLIT_MS = 60_000;
/** How long a revoked node tries to come back. */
const AFTER_MS = 30_000;

export const revoke: Gate = {
  name: 'revoke',
  target: 'T1',
  about: 'a member is revoked, and gone from the services, routes and links of every node',
  needsMembers: true,
  async run(network): Promise<Figure[]> {
    const { members } = network.world;
    if (members === undefined) throw new Error('the nodes have no certificates');
    const bytes = (): number => network.nodes.reduce((sum, node) => sum + node.traffic.bytesIn, 0);
    const revoked: SimNode[] = [];
    const figures: Figure[] = [];
    const isAny = (node: SimNode): boolean => !revoked.includes(node) && node.isKnown;
    for (const [title, isVictim] of [
      ['an ordinary member', ({ host }: SimNode) => members.isLeaf(host.index)],
      ['a relay', ({ host }: SimNode) => !members.isLeaf(host.index) && !members.isIssuer(host.index)],
      ['an issuer', ({ host }: SimNode) => members.isIssuer(host.index)],
    ] as const) {
      const victim = busiest(network.live.filter((node) => isAny(node) && isVictim(node)));
      const issuer = pickIssuer(network, [...revoked, victim]);
      const before = bytes();
      const times = await goneTimes(network, victim, [...revoked, victim], issuer);
      revoked.push(victim);
      const spent = (bytes() - before) / network.size;
      await network.world.loop.run(AFTER_MS);
      const back = othersOf(network, revoked).filter((node) => !isGone(node, victim));
      figures.push(
        { title: `${title}: gone at 99 % of nodes`, value: percentileOf(times, 99), unit: 'ms', atMost: 400 },
        { title: `${title}: gone at all`, value: percentileOf(times, 100), unit: 'ms', atMost: 800 },
        { title: `${title}: received by a node until then`, value: spent, unit: 'bytes' },
        {
          title: `${title}: nodes at which it is back after ${AFTER_MS / 1_000} s`,
          value: back.length,
          unit: '',
          atMost: 0,
        },
      );
    }
    for (const node of revoked) node.die();
    await network.settle(5_000);
    return [...figures, ...(await healed(network, revoked))];
  },
};

/** A member is revoked in one half of a divided network, and then the halves find together. */
async function healed(network: Network, revoked: SimNode[]): Promise<Figure[]> {
  const { world } = network;
  const { loop, random, members } = world;
  const half = new Set(random.sample(network.live, Math.floor(network.live.length / 2)));
  for (const node of half) node.host.side = 1;
  await loop.run(SPLIT_MS);
  const victim = random.pick(network.live.filter((node) => node.isKnown && half.has(node)));
  const issuer = pickIssuer(network, [...revoked, victim], (node) => !half.has(node));
  issuer.run?.book?.add(members?.revoke(victim.setup.keys) as Buffer);
  await loop.run(2_000);
  const cutOff = othersOf(network, [...revoked, victim]).filter((node) => half.has(node));
  const knewBefore = cutOff.filter((node) => knows(node, victim)).length;

  let linkedMs = Number.NaN;
  let links = 0;
  let late = 0;
  world.watcher = {
    onLink: (node, link) => {
      if (Number.isNaN(linkedMs) && half.has(node) !== half.has(link.other.node)) linkedMs = loop.now;
    },
    onUnlink: () => {},
    onSynced: (node, link) => {
      if (!half.has(node) || half.has(link.other.node)) return;
      links++;
      if (!knows(node, victim)) late++;
    },
  };
  for (const node of half) node.host.side = 0;
  world.paths.healed();
  await loop.waitFor(HEAL_LIMIT_MS, 5, () => !Number.isNaN(linkedMs));
  const isDone = await loop.waitFor(HEAL_LIMIT_MS, ASK_MS, () => cutOff.every((node) => isGone(node, victim)));
  const goneMs = isDone ? loop.now - linkedMs : Number.NaN;
  await loop.run(AFTER_MS);
  world.watcher = undefined;
  victim.die();
  await network.settle(5_000);
  return [
    { title: 'in the other half: nodes that knew before', value: knewBefore, unit: '', atMost: 0 },
    { title: 'gone there after the first link', value: goneMs, unit: 'ms', atMost: 2_000 },
    { title: 'links across, in sync', value: links, unit: '', atLeast: 1 },
    { title: 'of them before it was known there', value: late, unit: '', atMost: 0 },
  ];
}

/** When the victim was gone at each other node, in ms, ascending. */
async function goneTimes(
  network: Network,
  victim: SimNode,
  revoked: readonly SimNode[],
  issuer: SimNode,
): Promise<Float64Array> {
  const { loop, members } = network.world;
  const startMs = loop.now;
  const times: number[] = [];
  let waiting = othersOf(network, revoked);
  issuer.run?.book?.add(members?.revoke(victim.setup.keys) as Buffer);
  await loop.waitFor(LIMIT_MS, ASK_MS, () => {
    waiting = waiting.filter((node) => {
      const isDone = isGone(node, victim);
      if (isDone) times.push(loop.now - startMs);
      return !isDone;
    });
    return waiting.length === 0;
  });
  return sortedOf([...times, ...waiting.map(() => Number.POSITIVE_INFINITY)]);
}

function isGone(node: SimNode, victim: SimNode): boolean {
  const view = viewOf(node);
  const { nodeId } = victim;
  if (view.isReachable(nodeId) || view.versionOf(nodeId) !== undefined) return false;
  return node.linkTo(victim) === undefined && !view.hasInstance(`service-${victim.host.index}`, nodeId);
}

function knows(node: SimNode, victim: SimNode): boolean {
  return node.run?.book?.isRevoked(victim.setup.keys.publicKey) === true;
}

/** Live nodes but these. */
function othersOf(network: Network, nodes: readonly SimNode[]): SimNode[] {
  return network.live.filter((node) => !nodes.includes(node));
}

function busiest(nodes: readonly SimNode[]): SimNode {
  return nodes.reduce((most, node) => ((node.run?.links.size ?? 0) > (most.run?.links.size ?? 0) ? node : most));
}

function pickIssuer(
  network: Network,
  but: readonly SimNode[],
  isWanted: (node: SimNode) => boolean = () => true,
): SimNode {
  const { members, random } = network.world;
  const issuers = othersOf(network, but).filter((node) => isWanted(node) && members?.isIssuer(node.host.index));
  return random.pick(issuers);
}
