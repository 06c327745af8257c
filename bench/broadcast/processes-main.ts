// npm run bench:broadcast -- --processes 20: the same in processes on loopback, beside flooding in the same run.

import { availableParallelism, loadavg } from 'node:os';
import { TREE_LIMITS } from '../../lib/messages/broadcast/tree/limits.js';
import { type Gate, printGates } from './gates.js';
import { type ProcessesReport, runProcesses } from './processes.js';

/** Runs the processes and prints the report. Returns whether all gates hold. */
export async function reportProcesses(processes: number): Promise<boolean> {
  const report = await runProcesses({
    processes,
    stoppedMs: 8_000,
    sharedFirst: TREE_LIMITS.sharedFirst,
    worker: 'bench/broadcast/worker.mjs',
    starlane: new URL('../../lib/index.js', import.meta.url).href,
    messages: new URL('../../lib/messages/index.js', import.meta.url).href,
  });
  console.log(`\n${processes} processes, ${report.messages} messages\n`);
  console.log('| what | redundancy | last delivery, ms: median | greatest |');
  console.log('| --- | ---: | ---: | ---: |');
  for (const { what, redundancy, lastMs, worstMs } of report.steps) {
    console.log(`| ${what} | ${redundancy.toFixed(2)} | ${lastMs} | ${worstMs} |`);
  }
  console.log(`\nfirst message after kill -9: ${report.killMs} ms, after SIGSTOP: ${report.stopMs} ms`);
  console.log(`last delivery in the tree / by flooding, median of the pairs: ${report.ratio.toFixed(2)}`);
  const holds = printGates(gatesOf(report), report.faults);
  console.log(
    `load average ${loadavg()[0].toFixed(1)} on ${availableParallelism()} cores: the times count on a quiet machine only`,
  );
  return holds;
}

/** What has to hold: see docs/performance.md. */
function gatesOf({ steps, killMs, stopMs, ratio, faults }: ProcessesReport): Gate[] {
  const settled = steps.filter(({ what }) => what.includes('settled'));
  return [
    { what: 'faults: not once, not in order, not everywhere', figure: faults.length, limit: 0 },
    ...settled.map(({ what, redundancy }) => ({ what: `redundancy: ${what}`, figure: redundancy, limit: 0.2 })),
    { what: 'last delivery in the tree / by flooding', figure: ratio, limit: 2 },
    { what: 'ms to the last delivery of the first message after kill -9', figure: killMs, limit: 1_000 },
    { what: 'ms to the last delivery of the first message after SIGSTOP', figure: stopMs, limit: 1_000 },
  ];
}
