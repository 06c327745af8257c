import { throughput } from '../publishing.mjs';

export const benchCase = throughput({
  name: 'to ten processes, 128 B',
  bytes: 128,
  processes: 10,
  connections: 1,
  count: 40_000,
  atLeast: 0.7,
});
