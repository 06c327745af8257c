// npm run bench:broadcast -- --processes 20: the same in processes on loopback, beside flooding in the same run.

import { TREE_LIMITS } from '../../lib/messages/broadcast/tree/limits.js';
import { runProcesses } from './processes.js';

/** Runs and prints it; false when something does not hold. */
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
  for (const fault of report.faults) console.log(`FAILS  ${fault}`);
  return report.faults.length === 0;
}
