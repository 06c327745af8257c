import { throughput } from '../publishing.mjs';

export const benchCase = throughput({
  name: 'publish 128 B',
  bytes: 128,
  processes: 1,
  connections: 1,
  count: 250_000,
  atLeast: 1,
});
