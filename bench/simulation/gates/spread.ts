// T1: how fast one change is known everywhere; beside it what two reference models need on the same graph.

import { flood, type Graph, type Spread } from '../models/flood.js';
import { spreadRumour } from '../models/rumours.js';
import type { Network } from '../network.js';
import { viewOf } from '../oracles.js';
import { percentileOf, sortedOf } from '../percentile.js';
import type { Figure, Gate } from './gate.js';

const SAMPLES = 20;
const ASK_MS = 2;
const LIMIT_MS = 10_000;

export const spread: Gate = {
  name: 'spread',
  target: 'T1',
  about: 'a service is bound, and every node is offered it',
  async run(network): Promise<Figure[]> {
    const most: number[] = [];
    const all: number[] = [];
    for (let sample = 0; sample < SAMPLES; sample++) {
      const times = await reachTimes(network, `news-${sample}`);
      most.push(percentileOf(times, 99));
      all.push(percentileOf(times, 100));
      await network.world.loop.run(network.world.random.between(2_000, 4_000));
    }
    const graph = graphOf(network);
    const flooded = await ofModel(network, graph, flood);
    const gossiped = await ofModel(network, graph, spreadRumour);
    return [
      { title: `99 % of nodes, worst of ${SAMPLES}`, value: Math.max(...most), unit: 'ms', atMost: 400 },
      { title: `all nodes, worst of ${SAMPLES}`, value: Math.max(...all), unit: 'ms', atMost: 800 },
      { title: '99 %, median', value: percentileOf(sortedOf(most), 50), unit: 'ms' },
      { title: 'all, median', value: percentileOf(sortedOf(all), 50), unit: 'ms' },
      { title: 'model: plain flood, 99 % and median', value: flooded.most, unit: 'ms' },
      { title: 'model: plain flood, all', value: flooded.all, unit: 'ms' },
      { title: 'model: memberlist gossip, 99 %', value: gossiped.most, unit: 'ms' },
      { title: 'model: memberlist gossip, all', value: gossiped.all, unit: 'ms' },
    ];
  },
};

/** When each node was offered it, in ms, ascending. */
async function reachTimes(network: Network, service: string): Promise<Float64Array> {
  const { loop } = network.world;
  const origin = network.pickKnown();
  const startMs = loop.now;
  const times: number[] = [];
  let waiting = network.live;
  origin.bind(service);
  await loop.waitFor(LIMIT_MS, ASK_MS, () => {
    waiting = waiting.filter((node) => {
      const knows = viewOf(node).hasInstance(service, origin.nodeId);
      if (knows) times.push(loop.now - startMs);
      return !knows;
    });
    return waiting.length === 0;
  });
  origin.unbind(service);
  return sortedOf([...times, ...waiting.map(() => Number.POSITIVE_INFINITY)]);
}

async function ofModel(
  network: Network,
  graph: Graph,
  model: (graph: Graph, origin: number, random: Network['world']['random']) => Promise<Spread>,
): Promise<{ most: number; all: number }> {
  const { random } = network.world;
  const most: number[] = [];
  const all: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    const { times } = await model(graph, random.below(graph.size), random);
    most.push(percentileOf(times, 99));
    all.push(percentileOf(times, 100));
  }
  return { most: percentileOf(sortedOf(most), 50), all: percentileOf(sortedOf(all), 50) };
}

function graphOf(network: Network): Graph {
  // The models know of no clients.
  const live = network.live.filter(({ isKnown }) => isKnown);
  const index = new Map(live.map((node, at) => [node.nodeId, at]));
  const peers = live.map((node) =>
    [...(node.run?.links.values() ?? [])].flatMap((link) => index.get(link.peerId) ?? []),
  );
  return {
    size: live.length,
    peers: (node) => peers[node],
    latencyMs: (from, to) => network.world.paths.latencyMs(live[from].host, live[to].host),
  };
}
