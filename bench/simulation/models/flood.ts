// Reference: plain flooding of one record over a given graph, with nothing to hinder it. Each node passes it on once, to all
// peers, after a wait for company that is drawn from 0 to 10 ms. What any implementation has to be compared with.

import { type Actor, EventLoop } from '../event-loop.js';
import type { Random } from '../random.js';

const MAX_WAIT_MS = 10;
const PROCESSING_MS = 0.3;

/** The links of each node, with their delays. */
export interface Graph {
  readonly size: number;
  peers(node: number): readonly number[];
  latencyMs(from: number, to: number): number;
}

export interface Spread {
  /** When each node received it, in ms, ascending. */
  readonly times: Float64Array;
  /** Messages sent, by all nodes together. */
  readonly messages: number;
}

export async function flood(graph: Graph, origin: number, random: Random): Promise<Spread> {
  const loop = new EventLoop();
  const times = new Float64Array(graph.size).fill(Number.POSITIVE_INFINITY);
  let messages = 0;
  const nodes: Actor = {
    onEvent(node, from) {
      if (times[node] !== Number.POSITIVE_INFINITY) return;
      times[node] = loop.now;
      const sendAt = loop.now + PROCESSING_MS + random.between(0, MAX_WAIT_MS);
      for (const peer of graph.peers(node)) {
        if (peer === from) continue;
        messages++;
        loop.at(sendAt + graph.latencyMs(node, peer), nodes, peer, node);
      }
    },
  };
  loop.at(0, nodes, origin);
  await loop.waitFor(60_000, 1_000, () => loop.pending === 0);
  return { times: times.sort(), messages };
}
