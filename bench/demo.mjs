// The main job, shown and checked: an unchanged HTTP server and stream services bound by name in one process, dialled by
// name from this one, all over one TCP link. Ends with a table and exit code 0, or with what went wrong and 1.
//
//   node bench/demo.mjs [--requests N] [--streams N] [--open N] [--mib N]

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createNode } from '../dist/index.js';
import { deferred, within } from './deadline.mjs';
import * as steps from './demo/steps.mjs';

const MIB = 1024 * 1024;
const STEP_DEADLINE_MS = 60_000;
const START_DEADLINE_MS = 15_000;
const POST_MIB = 64;

/** The serving process: it answers one question at a time, and its failure fails what is being waited for. */
class ServerProcess {
  constructor() {
    this.child = fork(fileURLToPath(new URL('./demo/server.mjs', import.meta.url)));
    this.failed = deferred();
    this.failed.promise.catch(() => {});
    this.answer = deferred();
    this.child.on('message', (/** @type {any} */ message) => {
      if (message.type === 'failed') this.failed.reject(new Error(`serving process: ${message.reason}`));
      else this.answer.resolve(message);
    });
    this.child.on('exit', (code, signal) => {
      this.failed.reject(new Error(`serving process: ended early with ${signal ?? code}`));
    });
  }

  /** @returns {Promise<any>} */
  listening() {
    return this.orFailure(this.answer.promise, START_DEADLINE_MS, 'start of the serving process');
  }

  /** @returns {Promise<any>} */
  report() {
    this.answer = deferred();
    this.child.send('report');
    return this.orFailure(this.answer.promise, START_DEADLINE_MS, 'report of the serving process');
  }

  /**
   * @template T
   * @param {Promise<T>} promise
   * @param {number} ms
   * @param {string} what
   * @returns {Promise<T>}
   */
  orFailure(promise, ms, what) {
    return within(/** @type {Promise<T>} */ (Promise.race([promise, this.failed.promise])), ms, what);
  }

  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    if (this.child.connected) this.child.send('close');
    await within(exited, START_DEADLINE_MS, 'end of the serving process').catch((error) => {
      this.child.kill('SIGKILL');
      throw error;
    });
  }
}

function readSizes() {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '10000' },
      streams: { type: 'string', default: '100000' },
      open: { type: 'string', default: '10000' },
      mib: { type: 'string', default: '1024' },
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

/**
 * @param {import('../dist/index.js').Node} node
 * @param {ServerProcess} server
 * @param {Record<string, number>} size
 * @returns {Promise<string[][]>} rows of the table
 */
async function runSteps(node, server, size) {
  /** @type {[title: string, amount: number, unit: string, run: () => Promise<void>][]} */
  const plan = [
    [
      'HTTP GET, a stream each',
      Math.ceil(size.requests / 10),
      'requests',
      () => steps.getEachOverOwnStream(node, Math.ceil(size.requests / 10)),
    ],
    ['HTTP GET, keep-alive agent', size.requests, 'requests', () => steps.getOverKeptStreams(node, size.requests)],
    ['HTTP POST, SHA-256 of the body', POST_MIB, 'MiB', () => steps.postChecked(node, POST_MIB * MIB)],
    ["dial('echo'), 64 B, close", size.streams, 'streams', () => steps.echoOverManyStreams(node, size.streams)],
    ['all open at once, then 64 B each', size.open, 'streams', () => steps.echoOverOpenStreams(node, size.open)],
    ['upload on 1 stream, SHA-256', size.mib, 'MiB', () => steps.uploadOverOne(node, size.mib)],
    ['download on 8 streams, SHA-256', size.mib, 'MiB', () => steps.downloadOverSeveral(node, size.mib)],
  ];
  const rows = [];
  for (const [title, amount, unit, run] of plan) {
    const from = performance.now();
    await server.orFailure(run(), STEP_DEADLINE_MS, 'the step').catch((error) => {
      throw new Error(`${title}: ${error.message}`, { cause: error });
    });
    const seconds = (performance.now() - from) / 1000;
    rows.push([title, `${format(amount)} ${unit}`, `${seconds.toFixed(2)} s`, `${format(amount / seconds)} ${unit}/s`]);
    process.stderr.write(`${title}: ${seconds.toFixed(2)} s\n`);
  }
  return rows;
}

/** @param {string[][]} rows */
function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows) {
    const line = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])));
    process.stdout.write(`${line.join('  ').trimEnd()}\n`);
  }
}

async function main() {
  const size = readSizes();
  const from = performance.now();
  const server = new ServerProcess();
  const node = createNode();
  let links = 0;
  node.on('link', () => {
    links += 1;
  });
  node.on('unlink', (link) => server.failed.reject(new Error(`the link to ${link?.peerId ?? 'the server'} was lost`)));
  node.on('warning', (warning) => process.stderr.write(`warning: ${warning.message}\n`));
  const { address } = await server.listening();
  await within(node.join(address), START_DEADLINE_MS, `join ${address}`);
  for (const service of ['web', 'echo', 'upload', 'download']) {
    await node.waitFor(service, { timeoutMs: START_DEADLINE_MS });
  }
  const rows = await runSteps(node, server, size);
  const there = await server.report();

  const streams = size.streams + size.open;
  if (node.links().length !== 1 || there.links !== 1 || links > 1) {
    throw new Error(`${node.links().length} links here (${links} ever), ${there.links} there, instead of 1`);
  }
  if (there.echoes !== streams) throw new Error(`${there.echoes} echo streams arrived instead of ${streams}`);
  const [link] = node.links();
  printTable([
    ['what was done and checked', 'how much', 'time', 'rate'],
    ...rows,
    ['TCP links', '1', '', ''],
    ['HTTP connections seen by the server', format(there.httpConnections), '', ''],
    ['bytes over the link', `${format((link.bytesIn + link.bytesOut) / MIB)} MiB`, '', ''],
    ['RSS here / there', `${format(process.memoryUsage.rss() / MIB)} / ${format(there.rssBytes / MIB)} MiB`, '', ''],
    ['altogether', '', `${((performance.now() - from) / 1000).toFixed(2)} s`, ''],
  ]);
  node.removeAllListeners('unlink');
  await within(node.close(), START_DEADLINE_MS, 'close of the node');
  await server.stop();
}

main().catch((error) => {
  process.stderr.write(`demo failed: ${error.message}\n`);
  // What is still under way must not keep this process; the serving one ends with it.
  process.exit(1);
});
