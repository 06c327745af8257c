// Reference: dissemination as memberlist does it by default. Every 200 ms each node sends the rumours that it still has to
// send to three nodes of its choice, each rumour 4 * log10(n + 1) times; a node that receives a new one does the same.

import { type Actor, EventLoop } from '../event-loop.js';
import type { Random } from '../random.js';
import type { Graph, Spread } from './flood.js';

const INTERVAL_MS = 200;
const FANOUT = 3;
const RETRANSMIT_FACTOR = 4;

const Event = { TICK: 0, RUMOUR: 1 } as const;

export async function spreadRumour(graph: Graph, origin: number, random: Random): Promise<Spread> {
  const loop = new EventLoop();
  const { size } = graph;
  const sends = RETRANSMIT_FACTOR * Math.ceil(Math.log10(size + 1));
  const times = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
  const left = new Int32Array(size);
  let messages = 0;
  const nodes: Actor = {
    onEvent(kind, payload) {
      const node = payload as number;
      if (kind === Event.RUMOUR) {
        if (times[node] !== Number.POSITIVE_INFINITY) return;
        times[node] = loop.now;
        left[node] = sends;
        return;
      }
      for (let turn = 0; turn < FANOUT && left[node] > 0; turn++) {
        left[node]--;
        messages++;
        const peer = random.below(size);
        loop.after(graph.latencyMs(node, peer), nodes, Event.RUMOUR, peer);
      }
      if (loop.now < 10_000) loop.after(INTERVAL_MS, nodes, Event.TICK, node);
    },
  };
  for (let node = 0; node < size; node++) loop.at(random.between(0, INTERVAL_MS), nodes, Event.TICK, node);
  loop.at(0, nodes, Event.RUMOUR, origin);
  await loop.run(12_000);
  return { times: times.sort(), messages };
}
