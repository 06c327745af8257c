// T8: processes that are busy for seconds at a time lose no link for it.

import { isLoss } from '../../../lib/link/handshake/refusals.js';
import type { SimLink } from '../sim-link.js';
import type { SimNode } from '../sim-node.js';
import type { Figure, Gate } from './gate.js';

const MEAN_PAUSE_MS = 10_000;

export const lag: Gate = {
  name: 'lag',
  target: 'T8',
  about: '10 % of processes are blocked for 0.5 to 8 s, again and again',
  async run(network, { minutes }): Promise<Figure[]> {
    const { world } = network;
    const { loop, random } = world;
    const slow = new Set(random.sample(network.live, Math.floor(0.1 * network.size)));
    let isOver = false;
    let blocks = 0;
    const block = (node: SimNode): void => {
      loop.call(random.exponential(MEAN_PAUSE_MS), () => {
        if (isOver) return;
        const ms = random.between(500, 8_000);
        node.run?.process.block(ms);
        blocks++;
        loop.call(ms, () => block(node));
      });
    };
    for (const node of slow) block(node);

    let ownLag = 0;
    let others = 0;
    const reasons = new Map<string, number>();
    world.watcher = {
      onLink: () => {},
      onUnlink: (node, link, reason) => {
        if (!isLoss(reason)) return;
        const { message } = reason as Error;
        reasons.set(message, (reasons.get(message) ?? 0) + 1);
        if (isOfSlow(slow, node, link)) ownLag++;
        else others++;
      },
    };
    await loop.run(minutes * 60_000);
    isOver = true;
    world.watcher = undefined;
    await loop.run(10_000);
    await network.settle(5_000);
    for (const [reason, count] of reasons) process.stderr.write(`  ${count} links lost: ${reason}\n`);
    const hours = (network.size * minutes) / 60;
    return [
      { title: 'links of a blocked process lost', value: ownLag, unit: '', atMost: 0 },
      { title: 'other links lost, of a node in an hour', value: others / hours, unit: '', atMost: 1 },
      { title: 'blocks', value: blocks, unit: '' },
    ];
  },
};

function isOfSlow(slow: ReadonlySet<SimNode>, node: SimNode, link: SimLink): boolean {
  return slow.has(node) || slow.has(link.other.node);
}
