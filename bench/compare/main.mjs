// The cases of the benchmarks over other multiplexers. Needs `npm --prefix bench/compare ci` first; see README.md.

import { bench } from '../bench.mjs';
import { CASES } from '../cases/index.mjs';

// yamux-js can wait without end; nothing here may.
const DEADLINE_MS = 45_000;

/** @param {string} path */
const resolve = (path) => new URL(path, import.meta.url);

const carriers = [
  { name: 'http2', url: resolve('../carriers/http2.mjs').href },
  {
    name: 'libp2p-yamux',
    url: resolve('./carriers/libp2p-yamux.mjs').href,
    // It uses Promise.withResolvers, which Node 20 does not have.
    execPath: resolve('./node_modules/node/bin/node').pathname,
    deadlineMs: DEADLINE_MS,
  },
  { name: 'iroh', url: resolve('./carriers/iroh.mjs').href, deadlineMs: DEADLINE_MS },
  { name: 'yamux-js', url: resolve('./carriers/yamux-js.mjs').href, deadlineMs: DEADLINE_MS },
  { name: 'starlane', url: resolve('../carriers/starlane.mjs').href },
];

// Without those that only certain carriers have, which are HTTP.
const cases = CASES.filter((benchCase) => benchCase.carriers === undefined);

await bench({ command: 'node bench/compare/main.mjs', carriers, runs: 3, cases }, ['starlane']);
