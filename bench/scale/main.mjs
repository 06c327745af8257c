// npm run bench:scale: how long it takes until thousands of services that one node binds at once are known at another, and gone
// there when they are closed; and until the nodes of one process, all joining the first at once, know each other, and what
// they take then.
//
// Beside the wall-clock time is the time that the process had: its CPU time, and the time in which it had nothing to do. On
// a machine with other work they differ by the time in which it had to wait for a core.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { within } from '../deadline.mjs';
import { describeMachine, toMarkdown, toText } from '../report.mjs';
import { profileArgs, Worker } from '../runner.mjs';

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    services: { type: 'string', default: '20000' },
    nodes: { type: 'string', default: '200' },
    rest: { type: 'string', default: '20' },
    deadline: { type: 'string', default: '120' },
    floors: { type: 'boolean' },
    markdown: { type: 'boolean' },
    profile: { type: 'string' },
  },
});
const [services, nodes, rest, deadline] = ['services', 'nodes', 'rest', 'deadline'].map((name) =>
  Number(/** @type {any} */ (values)[name].replaceAll(/[_,]/g, '')),
);
if (values.help || ![services, nodes, rest, deadline].every((n) => Number.isInteger(n) && n >= 0)) {
  console.log(`usage: npm run bench:scale -- [options]

  --services N         services that are bound; 0: leaves that out; default 20000
  --nodes N            nodes in one process; 0: leaves that out; default 200
  --rest S             seconds of rest that are measured, after as many of calm; default 20
  --deadline S         seconds after which something counts as failed; default 120
  --floors             exit code 1 if a limit is missed
  --markdown           the table as Markdown
  --profile DIR        write CPU profiles of the processes there`);
  process.exit(values.help ? 0 : 2);
}

const MOST = { spreadMs: 2_000, convergeMs: 10_000, restPercent: 10 };
const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));

/** @typedef {{ wallMs: number, ownMs: number }} Times */

/** @type {import('../report.mjs').Row[]} */
const rows = [];
/**
 * @param {string} what
 * @param {Times & { failed?: string }} times
 * @param {number} limitMs
 */
function timeRow(what, { wallMs, ownMs, failed }, limitMs) {
  const holds = failed === undefined && wallMs <= limitMs;
  const cells = failed === undefined ? [wallMs, ownMs].map((ms) => (ms / 1_000).toFixed(2)) : [failed, ''];
  rows.push({ cells: [what, ...cells, `<= ${limitMs / 1_000}`, holds ? 'yes' : 'NO'], missed: !holds });
}

/** @type {Worker[]} */
const workers = [];
/** @param {string} role */
function start(role) {
  const profile = values.profile === undefined ? undefined : { dir: values.profile, name: `scale-${role}` };
  const worker = new Worker(role, { module: WORKER, execArgv: profileArgs(role, profile) });
  workers.push(worker);
  return worker;
}

try {
  await within(run(), (4 * deadline + 2 * rest + 60) * 1_000, 'the run');
} finally {
  await Promise.all(workers.map((worker) => worker.stop()));
}
const table = { head: ['what', 's', 's of the process', 'limit', 'holds'], rows };
console.log(values.markdown ? toMarkdown(table) : toText(table));
console.log(`\n${describeMachine()}.`);
if (values.floors && rows.some(({ missed }) => missed)) process.exitCode = 1;

async function run() {
  if (services > 0) await runServices();
  if (nodes > 0) await runNodes();
}

/** Both processes use the clock of the machine: the watcher reports when it knew all. */
async function runServices() {
  const [origin, watcher] = ['origin', 'watcher'].map(start);
  const { address } = await origin.ask({ type: 'serve' });
  await watcher.ask({ type: 'join', address });
  for (const [what, type, count] of /** @type {const} */ ([
    [`${services} services bound in a row`, 'bind', services],
    ['the same closed', 'unbind', 0],
  ])) {
    const known = watcher.ask({ type: 'know', count, ms: deadline * 1_000 });
    const { sinceMs, ownMs } = await origin.ask({ type, services });
    const { atMs, ownMs: watcherMs, failed } = await known;
    timeRow(what, { wallMs: atMs - sinceMs, ownMs: ownMs + watcherMs, failed }, MOST.spreadMs);
  }
}

async function runNodes() {
  const mesh = start('mesh');
  const converged = await mesh.ask({ type: 'mesh', nodes, ms: deadline * 1_000 });
  timeRow(`${nodes} nodes in one process know each other`, converged, MOST.convergeMs);
  const { cpuPercent } = await mesh.ask({ type: 'rest', ms: rest * 1_000 });
  const holds = cpuPercent <= MOST.restPercent;
  rows.push({
    cells: ['  at rest, % of a core', '', cpuPercent.toFixed(1), `<= ${MOST.restPercent}`, holds ? 'yes' : 'NO'],
    missed: !holds,
  });
}
