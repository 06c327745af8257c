import { throughput } from '../publishing.mjs';

export const benchCase = throughput({
  name: 'publish 16 B',
  bytes: 16,
  processes: 1,
  connections: 1,
  count: 300_000,
  atLeast: 1,
});
