// The benchmarks: each case does the same work over every carrier, in two fresh processes a run. See --help.

import { bench } from './bench.mjs';

const carriers = ['net', 'http2', 'starlane'].map((name) => ({
  name,
  url: new URL(`./carriers/${name}.mjs`, import.meta.url).href,
}));

await bench({ command: 'npm run bench --', carriers, runs: 5 }, ['net', 'http2', 'starlane']);
