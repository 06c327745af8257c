// T5: a thousand nodes start within ten seconds.

import type { Figure, Gate } from './gate.js';

export const start: Gate = {
  name: 'start',
  target: 'T5',
  about: 'cold start in 10 s through 3 seeds that do not know each other',
  needsStart: true,
  async run(network): Promise<Figure[]> {
    const { coldStart } = network;
    if (coldStart === undefined) throw new Error('the network was there at once');
    return [
      { title: 'all views equal after the last start', value: coldStart.equalMs, unit: 'ms', atMost: 6_000 },
      { title: 'received by each node until then', value: coldStart.bytesPerNode / 1e6, unit: 'MB' },
      { title: 'links of a node by then', value: network.degree, unit: '' },
    ];
  },
};
