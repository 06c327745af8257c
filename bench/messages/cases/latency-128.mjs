import { latency } from '../publishing.mjs';

export const benchCase = latency({ name: 'latency 128 B', bytes: 128, perSecond: 5_000 });
