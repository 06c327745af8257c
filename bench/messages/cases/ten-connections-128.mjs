import { throughput } from '../publishing.mjs';

export const benchCase = throughput({
  name: 'to ten connections, 128 B',
  bytes: 128,
  processes: 1,
  connections: 10,
  count: 40_000,
  atLeast: 0.7,
});
