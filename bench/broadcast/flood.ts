// Plain flooding over the same circuits, for comparison: everybody sends what is new to all neighbours but the one it came from.

import type { Network, Participant } from './network.js';

export interface Flood {
  /** Until the last participant has got it, in ms. */
  readonly lastMs: number;
  readonly reached: number;
  readonly payloads: number;
}

/** Floods one message from `origin` over the circuits that are up now. Their delays are fixed, so the order of arrival is that of the ways. */
export function flood(network: Network, origin: Participant): Flood {
  const arrivals = new Map<Participant, number>([[origin, 0]]);
  // The participants by arrival. A thousand of them need no heap.
  const open = new Set<Participant>([origin]);
  let payloads = 0;
  let lastMs = 0;
  while (open.size > 0) {
    let next: Participant = origin;
    let least = Number.POSITIVE_INFINITY;
    for (const one of open) {
      const atMs = arrivals.get(one) as number;
      if (atMs < least) [least, next] = [atMs, one];
    }
    open.delete(next);
    lastMs = least;
    for (const [id, edge] of next.edges) {
      const other = network.byId.get(id) as Participant;
      if (!edge.isUp || !other.isRunning) continue;
      payloads++;
      const atMs = least + edge.delayMs;
      if (atMs >= (arrivals.get(other) ?? Number.POSITIVE_INFINITY)) continue;
      arrivals.set(other, atMs);
      open.add(other);
    }
  }
  // Nobody sends it back.
  return { lastMs, reached: arrivals.size, payloads: payloads - (arrivals.size - 1) };
}
