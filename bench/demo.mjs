// The main job, shown and checked: an unchanged HTTP server and stream services bound by name in one process, dialled by
// name from this one, and a relay between them, as neither of the two listens. Then a second relay appears, the first one
// is killed, and this process goes on dialling. Ends with a table and exit code 0, or with what went wrong and 1.
//
//   node bench/demo.mjs [--requests N] [--streams N] [--open N] [--mib N]

import { parseArgs } from 'node:util';
import { createNode } from '../dist/index.js';
import { within } from './deadline.mjs';
import { dialThroughout, HeldStreams } from './demo/failover.mjs';
import { DemoProcess, failure, orFailure } from './demo/process.mjs';
import * as steps from './demo/steps.mjs';

const MIB = 1024 * 1024;
const STEP_DEADLINE_MS = 30_000;
const START_DEADLINE_MS = 15_000;
const POST_MIB = 64;
const HELD = 50;

/** @typedef {import('../dist/index.js').Node} Node */

function readSizes() {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '5000' },
      streams: { type: 'string', default: '20000' },
      open: { type: 'string', default: '2000' },
      mib: { type: 'string', default: '512' },
    },
  });
  const size = Object.fromEntries(Object.entries(values).map(([name, text]) => [name, Number(text)]));
  for (const [name, value] of Object.entries(size)) {
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} needs a positive whole number`);
  }
  return size;
}

/** @param {number} value */
const format = (value) => value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 });

/** @param {string} line */
const progress = (line) => process.stderr.write(`${line}\n`);

/**
 * @param {Node} node
 * @param {Record<string, number>} size
 * @returns {Promise<string[][]>} rows of the table
 */
async function runSteps(node, size) {
  const singles = Math.ceil(size.requests / 10);
  /** @type {[title: string, amount: number, unit: string, run: () => Promise<void>][]} */
  const plan = [
    ['HTTP GET, a stream each', singles, 'requests', () => steps.getEachOverOwnStream(node, singles)],
    ['HTTP GET, keep-alive agent', size.requests, 'requests', () => steps.getOverKeptStreams(node, size.requests)],
    ['HTTP POST, SHA-256 of the body', POST_MIB, 'MiB', () => steps.postChecked(node, POST_MIB * MIB)],
    ["dial('echo'), 64 B, close", size.streams, 'streams', () => steps.echoOverManyStreams(node, size.streams)],
    ['all open at once, then 64 B each', size.open, 'streams', () => steps.echoOverOpenStreams(node, size.open)],
    ['upload on 1 stream, SHA-256', size.mib, 'MiB', () => steps.uploadOverOne(node, size.mib)],
    ['download on 8 streams, SHA-256', size.mib, 'MiB', () => steps.downloadOverSeveral(node, size.mib)],
  ];
  const rows = [];
  for (const [title, amount, unit, run] of plan) {
    const seconds = await timed(title, run);
    rows.push([title, `${format(amount)} ${unit}`, `${seconds.toFixed(2)} s`, `${format(amount / seconds)} ${unit}/s`]);
  }
  return rows;
}

/**
 * @param {string} title
 * @param {() => Promise<unknown>} run
 * @returns {Promise<number>} seconds
 */
async function timed(title, run) {
  const from = performance.now();
  await orFailure(run(), STEP_DEADLINE_MS, 'the step').catch((error) => {
    throw new Error(`${title}: ${error.message}`, { cause: error });
  });
  const seconds = (performance.now() - from) / 1000;
  progress(`${title}: ${seconds.toFixed(2)} s`);
  return seconds;
}

/**
 * The route to the service, as the node knows it and as a stream has taken it.
 *
 * @param {Node} node
 * @param {string} serviceId
 * @param {Map<string, string>} names
 */
async function describeRoute(node, serviceId, names) {
  const route = node.routes().find(({ nodeId }) => nodeId === serviceId);
  const socket = await node.dialTimeout('echo', START_DEADLINE_MS);
  const via = socket.peer?.via ?? [];
  socket.end();
  socket.resume();
  if (route?.hops !== 2 || via.length !== 1) {
    throw new Error(`the service is ${route?.hops} hops away, a stream went through ${via.length} relays`);
  }
  return `this process - ${via.map((id) => `${names.get(id)} (${id})`).join(' - ')} - service (${serviceId})`;
}

/** @param {string[][]} rows */
function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows) {
    const line = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])));
    process.stdout.write(`${line.join('  ').trimEnd()}\n`);
  }
}

/**
 * @param {Node} node
 * @param {string} peerId
 */
async function linked(node, peerId) {
  while (!node.links().some((link) => link.peerId === peerId)) {
    await new Promise((resolve) => node.once('link', resolve));
  }
}

async function main() {
  const size = readSizes();
  const from = performance.now();
  const node = createNode();
  const warnings = new Set();
  node.on('warning', ({ message }) => {
    if (!warnings.has(message)) progress(`warning: ${message}`);
    warnings.add(message);
  });

  const first = new DemoProcess('relay 1', './relay.mjs', []);
  const { address, nodeId: firstId } = await first.ready();
  const service = new DemoProcess('service', './service.mjs', [address]);
  const { nodeId: serviceId } = await service.ready();
  await orFailure(node.join(address), START_DEADLINE_MS, `join ${address}`);
  for (const name of ['web', 'echo', 'upload', 'download']) {
    await node.waitFor(name, { timeoutMs: START_DEADLINE_MS });
  }
  const names = new Map([[firstId, 'relay 1']]);
  const firstRoute = await describeRoute(node, serviceId, names);
  progress(`route: ${firstRoute}`);

  const rows = await runSteps(node, size);
  const [there, between] = [await service.ask({ type: 'report' }), await first.ask({ type: 'report' })];
  const streams = size.streams + size.open + 1;
  if (node.links().length !== 1 || there.links.length !== 1) {
    throw new Error(`${node.links().length} links here, ${there.links.length} at the service, instead of 1`);
  }
  if (there.echoes !== streams) throw new Error(`${there.echoes} echo streams arrived instead of ${streams}`);
  const [{ bytesIn, bytesOut }] = node.links();

  const held = new HeldStreams(node);
  await orFailure(held.open(HELD), STEP_DEADLINE_MS, 'streams through relay 1');
  const second = new DemoProcess('relay 2', './relay.mjs', [address]);
  const { nodeId: secondId } = await second.ready();
  names.set(secondId, 'relay 2');
  // Neither of the two is configured for it: they learn of a node with few links to others, and make one.
  const found = Promise.all([linked(node, secondId), service.ask({ type: 'linked', peerId: secondId })]);
  await timed('relay 2 found', () => found);
  await orFailure(held.open(HELD), STEP_DEADLINE_MS, 'streams through either relay');
  const dials = await orFailure(
    dialThroughout(node, () => first.kill()),
    STEP_DEADLINE_MS,
    'dialling while relay 1 is killed',
  );
  const fate = await orFailure(held.check(firstId), STEP_DEADLINE_MS, 'streams that were open');
  if (fate.reset < HELD) throw new Error(`${fate.reset} of at least ${HELD} streams through relay 1 were reset`);
  const secondRoute = await describeRoute(node, serviceId, names);
  progress(`route: ${secondRoute}`);
  const after = await timed('upload through relay 2', () => steps.uploadOverOne(node, POST_MIB));

  const mib = (/** @type {number} */ bytes) => format(bytes / MIB);
  const rss = [process.memoryUsage.rss(), between.rssBytes, there.rssBytes].map(mib).join(' / ');
  printTable([
    ['what was done and checked, through relay 1', 'how much', 'time', 'rate'],
    ...rows,
    ['HTTP connections seen by the server', format(there.httpConnections), '', ''],
    ['bytes over the link', `${mib(bytesIn + bytesOut)} MiB`, '', ''],
    ['CPU time of relay 1', '', `${between.cpuSeconds.toFixed(2)} s`, ''],
    ['RSS here / relay / service', `${rss} MiB`, '', ''],
    ['relay 1 killed, relay 2 there', '', '', ''],
    ['dials before / after, connected', `${format(dials.before)} / ${format(dials.after)}`, '', ''],
    ['slowest dial from the kill on', '', `${format(dials.slowestMs)} ms`, ''],
    ['open streams reset / gone on', `${format(fate.reset + dials.lost)} / ${format(fate.alive)}`, '', ''],
    [
      'upload through relay 2, SHA-256',
      `${POST_MIB} MiB`,
      `${after.toFixed(2)} s`,
      `${format(POST_MIB / after)} MiB/s`,
    ],
    ['total', '', `${((performance.now() - from) / 1000).toFixed(2)} s`, ''],
  ]);
  process.stdout.write(`\nroute at first: ${firstRoute}\nroute at last:  ${secondRoute}\n`);
  await within(node.close(), START_DEADLINE_MS, 'close of the node');
  await Promise.all([service.stop(), second.stop()]);
}

// A process that fails fails what is being waited for; this is for when nothing is.
Promise.race([main(), failure.promise]).catch((error) => {
  process.stderr.write(`demo failed: ${error.message}\n`);
  // What is still under way must not keep this process; the others end with it.
  process.exit(1);
});
