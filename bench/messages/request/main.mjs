// Request and reply: commands and topics of Starlane, a NATS server with its own client, and grpc-js, in alternating runs. See --help.

import { bench } from '../../bench.mjs';
import { findNats } from './carriers/nats.mjs';
import { CASES } from './cases.mjs';
import { runRequests } from './runner.mjs';

const names = ['starlane', 'relayed', 'topics', 'nats', 'grpc'];

if (findNats() === undefined) {
  process.stderr.write('nats is skipped, and so are the floors against it: apt-get install nats-server\n');
  names.splice(names.indexOf('nats'), 1);
}
const carriers = names.map((name) => ({ name, url: new URL(`./carriers/${name}.mjs`, import.meta.url).href }));

await bench(
  { command: 'npm run bench:request --', carriers, runs: 5, cases: CASES, runOnce: runRequests, reference: 'nats' },
  names,
);
