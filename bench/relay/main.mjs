// What a relay costs: a process between a client and a server, by the CPU time that it takes itself. See --help.

import { bench } from '../bench.mjs';
import { findHaproxy } from './carriers/haproxy.mjs';
import { CASES } from './cases/index.mjs';
import { runRelayed } from './runner.mjs';

const COMMAND = 'npm run bench:relay --';
const names = ['pipe', 'haproxy', 'direct', 'starlane', 'secure'];

if (findHaproxy() === undefined) {
  process.stderr.write('haproxy is skipped, and so are the floors against it: apt-get install haproxy\n');
  names.splice(names.indexOf('haproxy'), 1);
}
const carriers = names.map((name) => ({ name, url: new URL(`./carriers/${name}.mjs`, import.meta.url).href }));

await bench({ command: COMMAND, carriers, runs: 5, cases: CASES, runOnce: runRelayed, reference: 'pipe' }, names);
