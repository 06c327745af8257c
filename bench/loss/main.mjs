// npm run bench:loss: circuits of one client through one relay, and then the process of the server is killed. Prints for how
// long this blocks the event loops of the relay and of the client at a stretch, and when the last circuit has ended.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { within } from '../deadline.mjs';
import { Worker } from '../runner.mjs';

const { values } = parseArgs({
  options: { help: { type: 'boolean', short: 'h' }, circuits: { type: 'string', default: '1000000' } },
});
const circuits = Number(values.circuits.replaceAll(/[_,]/g, ''));
if (values.help || !Number.isInteger(circuits) || circuits < 1) {
  console.log('usage: npm run bench:loss -- [--circuits N]    default 1000000, which take some 5 GB');
  process.exit(values.help ? 0 : 2);
}

/** A turn of the event loop that takes longer is a stall. */
const MOST_MS = 250;
const DEADLINE_MS = 60_000 + circuits / 2;
const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));

/** @param {string} role */
const start = (role) => new Worker(role, { module: WORKER, execArgv: ['--max-old-space-size=8000'] });
const workers = ['relay', 'server', 'client'].map(start);
const [relay, server, client] = workers;
try {
  await within(run(), DEADLINE_MS, 'the run');
} finally {
  await Promise.all(workers.map((worker) => worker.stop()));
}

async function run() {
  const { address } = await relay.ask({ type: 'relay', circuits });
  await server.ask({ type: 'serve', circuits, address });
  const { perS } = await client.ask({ type: 'dial', circuits, address });
  await Promise.all([relay, client].map((worker) => worker.ask({ type: 'watch' })));
  const begin = performance.now();
  server.child.kill('SIGKILL');
  const lost = await client.ask({ type: 'lost' });
  const endedMs = performance.now() - begin;
  const relayed = await relay.ask({ type: 'relayed' });
  const isRight = lost.codes.ECONNRESET === circuits && relayed.left === 0;
  const holds = isRight && Math.max(lost.longestMs, relayed.longestMs) <= MOST_MS;
  console.log(`${circuits.toLocaleString('en-US')} circuits, opened at ${Math.round(perS).toLocaleString('en-US')} a second

| what | measured | limit |
| --- | ---: | ---: |
| longest turn of the relay's event loop, ms | ${relayed.longestMs.toFixed(0)} | ${MOST_MS} |
| longest turn of the client's event loop, ms | ${lost.longestMs.toFixed(0)} | ${MOST_MS} |
| circuits that ended with ECONNRESET | ${lost.codes.ECONNRESET ?? 0} | ${circuits} |
| the last of them ended after, s | ${(endedMs / 1000).toFixed(2)} | |
| circuits left in the relay | ${relayed.left} | 0 |
`);
  if (!holds) process.exitCode = 1;
}
