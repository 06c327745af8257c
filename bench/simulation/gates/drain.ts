// Nodes that drain and leave, as in a rolling restart, while circuits are opened between the others.

import { Opens } from '../churn.js';
import type { Network } from '../network.js';
import { percentileOf, sortedOf } from '../percentile.js';
import type { Figure, Gate } from './gate.js';

/** How long a node drains before it leaves, and how long it is away, in ms. */
const DRAIN_MS = 10_000;
const AWAY_MS = 20_000;
/** By then every node knows that one drains, in ms: the figure of the gate `spread` is 500. */
const FLOOD_MS = 1_000;
/** Nodes that begin to drain each minute, as a share of all. */
const SHARE = 0.5;
const OPENS_PER_NODE_S = 0.2;

export const drain: Gate = {
  name: 'drain',
  target: '',
  about: 'half of the nodes drain, leave and come back, a minute long, while circuits open between the others',
  async run(network): Promise<Figure[]> {
    const { loop } = network.world;
    const opens = new Opens(network, OPENS_PER_NODE_S * network.size);
    opens.start();
    const count = Math.max(1, Math.round(SHARE * network.size));
    for (let index = 0; index < count; index++) {
      drainOne(network);
      await loop.run(60_000 / count);
    }
    await loop.run(DRAIN_MS + AWAY_MS);
    opens.stop();
    await network.revive();
    for (const [why, times] of opens.failures) process.stderr.write(`  ${times} not opened: ${why}\n`);
    const late = opens.drainedMs.filter((ms) => ms > FLOOD_MS);
    return [
      { title: 'circuits opened', value: (100 * opens.opened) / opens.attempts, unit: '%', atLeast: 100 },
      { title: 'of', value: opens.attempts, unit: '' },
      { title: 'nodes drained', value: count, unit: '' },
      { title: 'OPENs refused by a draining node', value: opens.drainedMs.length, unit: '' },
      { title: `of them more than ${FLOOD_MS / 1_000} s after it began`, value: late.length, unit: '', atMost: 0 },
      { title: 'OPENs beyond those of the way, 99 %', value: percentileOf(sortedOf(opens.extraOpens), 99), unit: '' },
    ];
  },
};

function drainOne(network: Network): void {
  const { loop, random } = network.world;
  const settled = network.live.filter((node) => node.drainsSinceMs === undefined && node.isKnown);
  const node = random.pick(settled.filter(({ host }) => !network.seeds.includes(host.address)));
  node.drain();
  loop.call(DRAIN_MS, () => node.leave());
  loop.call(DRAIN_MS + AWAY_MS, () => {
    if (node.run === undefined) node.start();
  });
}
