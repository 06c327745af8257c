import { throughput } from '../publishing.mjs';

export const benchCase = throughput({
  name: 'publish 1 KiB',
  bytes: 1024,
  processes: 1,
  connections: 1,
  count: 100_000,
  atLeast: 1,
});
