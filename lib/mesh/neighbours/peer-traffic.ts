// How busy this node is with others through relays: opens, bytes and live circuits of the last minute, by destination.
// Bounded, and forgotten in steps of ten seconds.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';

const STEP_MS = 10_000;
const STEPS = 6;
const MAX_PEERS = 1_024;

/** Beyond any of these within a minute, a direct link is worth its while. */
const MANY_BYTES = 1024 * 1024;
const MANY_OPENS = 10;
const MANY_LIVE = 3;

/** What has happened since the last note; `live` and `relayRttMs` as they are now. */
export interface Traffic {
  readonly opens?: number;
  readonly bytes?: number;
  readonly live?: number;
  readonly relayRttMs?: number;
}

interface Usage {
  step: number;
  readonly opens: number[];
  readonly bytes: number[];
  live: number;
}

export class PeerTraffic {
  private readonly peers = new RecentMap<NodeId, Usage>(MAX_PEERS);

  get size(): number {
    return this.peers.size;
  }

  /** True when it is much, with this. */
  note(dst: NodeId, { opens = 0, bytes = 0, live }: Traffic, now: number): boolean {
    const step = Math.floor(now / STEP_MS);
    let usage = this.peers.get(dst);
    if (usage === undefined) {
      usage = { step, opens: new Array(STEPS).fill(0), bytes: new Array(STEPS).fill(0), live: 0 };
      this.peers.set(dst, usage);
    }
    for (let missed = Math.min(step - usage.step, STEPS); missed > 0; missed--) {
      usage.opens.pop();
      usage.opens.unshift(0);
      usage.bytes.pop();
      usage.bytes.unshift(0);
    }
    usage.step = step;
    (usage.opens[0] as number) += opens;
    (usage.bytes[0] as number) += bytes;
    if (live !== undefined) usage.live = live;
    return sum(usage.bytes) > MANY_BYTES || sum(usage.opens) > MANY_OPENS || usage.live > MANY_LIVE;
  }

  forget(dst: NodeId): void {
    this.peers.delete(dst);
  }
}

function sum(numbers: readonly number[]): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
