// npm run bench:rest: what an idle node with eight links takes, and what memory a load leaves behind, beside
// a process that has nothing but a timer, and beside one that has had the same load over node:net.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pause, within } from '../deadline.mjs';
import { describeMachine, toMarkdown, toText } from '../report.mjs';
import { profileArgs, Worker } from '../runner.mjs';

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    calm: { type: 'string', default: '30' },
    rest: { type: 'string', default: '20' },
    settle: { type: 'string', default: '10' },
    links: { type: 'string', default: '8' },
    streams: { type: 'string', default: '100000' },
    floors: { type: 'boolean' },
    markdown: { type: 'boolean' },
    profile: { type: 'string' },
  },
});
const [calm, rest, settle, links, streams] = ['calm', 'rest', 'settle', 'links', 'streams'].map((name) =>
  Number(/** @type {any} */ (values)[name].replaceAll(/[_,]/g, '')),
);
if (values.help || ![calm, rest, settle, links, streams].every((n) => n > 0)) {
  console.log(`usage: npm run bench:rest -- [options]

  --calm S             seconds before a rest is measured, in which V8 collects what the start has left; default 30
  --rest S             seconds of rest that are measured; default 20
  --settle S           seconds between a load and a look at the memory; default 10
  --links N            links of the node; default 8
  --streams N          streams that are opened and closed; default 100000
  --floors             exit code 1 if a limit is missed
  --markdown           the table as Markdown
  --profile DIR        write CPU profiles of the processes there`);
  process.exit(values.help ? 0 : 2);
}

const MIB = 1024 * 1024;
const BULK_MS = 2_000;
const TIMER_MS = 200;
const DEADLINE_MS = 240_000 + (2 * calm + 2 * rest + 4 * settle) * 1_000 + 10 * streams;
const MOST = { cpuPercent: 0.1, wakeUps: 10, memory: 1.2 };
const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));

/** @typedef {{ rss: number, heapUsed: number, external: number }} Memory */
/** @typedef {{ before: Memory, settled: Memory, collected: Memory, done: string }} Load */

/** @type {Worker[]} */
const workers = [];
/** @param {string} role */
function start(role) {
  const profile = values.profile === undefined ? undefined : { dir: values.profile, name: `rest-${workers.length}` };
  const worker = new Worker(role, { module: WORKER, execArgv: profileArgs(role, profile) });
  workers.push(worker);
  return worker;
}

/** @type {import('../report.mjs').Row[]} */
const rows = [];
/**
 * @param {string} what
 * @param {string} reference
 * @param {string} measured
 * @param {string} [limit]
 * @param {boolean} [holds]
 */
function row(what, reference, measured, limit = '', holds) {
  const verdict = holds === undefined ? '' : holds ? 'yes' : 'NO';
  rows.push({ cells: [what, reference, measured, limit, verdict], missed: holds === false });
}

try {
  await within(run(), DEADLINE_MS, 'the run');
} finally {
  await Promise.all(workers.map((worker) => worker.stop()));
}
const table = { head: ['what', 'reference', 'starlane', 'limit', 'holds'], rows };
console.log(values.markdown ? toMarkdown(table) : toText(table));
console.log(`
${describeMachine()}.
Reference: at rest a process that has nothing but a timer, five times a second; for a load one that had it over node:net.`);
if (values.floors && rows.some(({ missed }) => missed)) process.exitCode = 1;

async function run() {
  const [node, peers, timer] = ['node', 'peers', 'timer'].map(start);
  const { address } = await node.ask({ type: 'serve' });
  await peers.ask({ type: 'join', address, links });
  await timer.ask({ type: 'tick', everyMs: TIMER_MS });
  await pause(calm * 1_000);
  await measureRest(node, timer, `at rest, ${links} links`);

  const [server, clients] = ['net-server', 'net-clients'].map(start);
  const { ports } = await server.ask({ type: 'serveTcp' });
  await clients.ask({ type: 'useTcp', ports });
  for (const load of [bulk, churn]) {
    compare(await weigh(server, () => load(clients)), await weigh(node, () => load(peers)));
  }
  await pause(calm * 1_000);
  await measureRest(node, timer, 'after it all');
}

/**
 * @param {Worker} node
 * @param {Worker} timer
 * @param {string} when
 */
async function measureRest(node, timer, when) {
  const [found, reference] = await Promise.all(
    [node, timer].map((worker) => worker.ask({ type: 'rest', ms: rest * 1000 })),
  );
  if (found.links !== links) throw new Error(`${found.links} links instead of ${links}`);
  const { cpuPercent, wakeUps } = found;
  const holds = Number(cpuPercent.toFixed(3)) <= MOST.cpuPercent;
  row(
    `${when}: CPU, % of a core`,
    reference.cpuPercent.toFixed(3),
    cpuPercent.toFixed(3),
    `<= ${MOST.cpuPercent}`,
    holds,
  );
  row(
    `${when}: wake-ups/s`,
    reference.wakeUps.toFixed(1),
    wakeUps.toFixed(1),
    `<= ${MOST.wakeUps}`,
    wakeUps <= MOST.wakeUps,
  );
}

/** @param {Worker} clients */
async function bulk(clients) {
  const { bytes } = await clients.ask({ type: 'bulk', ms: BULK_MS });
  return `${(bytes / MIB).toFixed(0)} MiB on 100 streams`;
}

/** @param {Worker} clients */
async function churn(clients) {
  const begin = performance.now();
  await clients.ask({ type: 'churn', streams });
  const perS = (streams * 1000) / (performance.now() - begin);
  return `${streams} streams, ${perS.toFixed(0)}/s`;
}

/**
 * The memory of a server before a load, some time after it, and after a forced collection. V8 leaves the garbage of a load
 * in place until there is more, and malloc keeps pages: only the last value shows what the program still holds.
 *
 * @param {Worker} server
 * @param {() => Promise<string>} load
 * @returns {Promise<Load>}
 */
async function weigh(server, load) {
  const before = await server.ask({ type: 'memory', collects: true });
  const done = await load();
  await pause(settle * 1_000);
  const settled = await server.ask({ type: 'memory' });
  return { before, done, settled, collected: await server.ask({ type: 'memory', collects: true }) };
}

/**
 * @param {Load} reference
 * @param {Load} ours
 */
function compare(reference, ours) {
  row('a load', reference.done, ours.done);
  row('  RSS before it, MiB', (reference.before.rss / MIB).toFixed(0), (ours.before.rss / MIB).toFixed(0));
  row(`  RSS ${settle} s after it, MiB`, growth(reference, 'settled'), growth(ours, 'settled'));
  const holds = ours.collected.rss <= reference.collected.rss * MOST.memory;
  const limit = `<= ${MOST.memory} x reference`;
  row('  RSS, garbage collected, MiB', growth(reference, 'collected'), growth(ours, 'collected'), limit, holds);
  const [was, is] = [kept(ours.before), kept(ours.collected)];
  row(
    '  heap and external, collected, MiB',
    `${(kept(reference.before) / MIB).toFixed(1)} to ${(kept(reference.collected) / MIB).toFixed(1)}`,
    `${(was / MIB).toFixed(1)} to ${(is / MIB).toFixed(1)}`,
    `<= ${MOST.memory} x before`,
    is <= was * MOST.memory,
  );
}

/**
 * @param {Load} load
 * @param {'settled' | 'collected'} when
 */
function growth(load, when) {
  const { before, [when]: memory } = load;
  return `${(memory.rss / MIB).toFixed(0)} (${(memory.rss / before.rss).toFixed(2)} x before)`;
}

/** @param {Memory} memory */
function kept({ heapUsed, external }) {
  return heapUsed + external;
}
