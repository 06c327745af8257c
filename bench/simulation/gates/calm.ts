// Nothing happens, for long: on a path that delays and loses, no link is taken for dead and no node disappears.

import { isLoss } from '../../../lib/link/handshake/refusals.js';
import type { Network } from '../network.js';
import type { Figure, Gate } from './gate.js';

const HOUR_MS = 3_600_000;

export interface Calm {
  /** Why links were lost, one entry each end. */
  readonly lost: readonly string[];
  /** What disappeared from the views of nodes. */
  readonly gone: readonly string[];
  /** What nodes warned of: seeds that could not be joined. */
  readonly warnings: readonly string[];
}

/** Leaves a network alone, and notes what should not happen then. */
export async function leaveAlone(network: Network, forMs: number): Promise<Calm> {
  const { world } = network;
  const calm = { lost: [] as string[], gone: [] as string[], warnings: [] as string[] };
  world.watcher = {
    onLink: () => {},
    onUnlink: (_node, _link, reason) => {
      if (isLoss(reason)) calm.lost.push((reason as Error).message);
    },
    onGone: (_node, what) => calm.gone.push(what),
    onWarning: (_node, error) => calm.warnings.push(error.message),
  };
  await world.loop.run(forMs);
  world.watcher = undefined;
  return calm;
}

export const calm: Gate = {
  name: 'calm',
  target: '',
  about: 'an hour in which nothing happens, as --rtt and --loss have it',
  async run(network): Promise<Figure[]> {
    const { lost, gone, warnings } = await leaveAlone(network, HOUR_MS);
    for (const what of [...new Set([...lost, ...warnings])].slice(0, 8)) process.stderr.write(`  ${what}\n`);
    return [
      { title: 'links lost in an hour', value: lost.length, unit: '', atMost: 0 },
      { title: 'nodes and services gone from a view', value: gone.length, unit: '', atMost: 0 },
      { title: 'seeds that could not be joined', value: warnings.length, unit: '', atMost: 0 },
    ];
  },
};
