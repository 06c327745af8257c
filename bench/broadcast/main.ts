// npm run bench:broadcast: a thousand participants in virtual time, for several seeds. Exits with 1 when something does not hold.
//
//   npm run bench:broadcast -- --participants 1000 --seeds 1,2,3
//   npm run bench:broadcast -- --processes 20 --seeds ''          real processes on loopback instead

import { parseArgs } from 'node:util';
import { printGates } from './gates.js';
import { reportProcesses } from './processes-main.js';
import { gatesOf, type Measured, runScenario } from './scenario.js';

const { values } = parseArgs({
  options: {
    participants: { type: 'string', default: '1000' },
    seeds: { type: 'string', default: '1,2,3' },
    processes: { type: 'string', default: '0' },
  },
});
const participants = Number(values.participants);

let hasFailed = Number(values.processes) > 0 && !(await reportProcesses(Number(values.processes)));
for (const seed of values.seeds.split(',').filter(Boolean).map(Number)) {
  const began = performance.now();
  const report = await runScenario({ participants, seed });
  console.log(`\nseed ${seed}: ${report.participants} participants, ${report.degree.toFixed(2)} neighbours each,`);
  console.log(`${report.messages} messages, ${report.lost} reported as lost, ${seconds(began)} s of real time\n`);
  table('the first message after it', report.repairs);
  table('settled: the tenth message after it', report.settled);
  table('the tree that all share', report.shared);
  const one = await runScenario({ participants, seed, sharedOnly: true });
  table('one tree for all origins, without trees of their own', one.shared);
  if (!printGates(gatesOf(report), [...report.faults, ...report.missed])) hasFailed = true;
}
process.exitCode = hasFailed ? 1 : 0;

function table(title: string, measured: readonly Measured[]): void {
  const kinds = new Map<string, Measured[]>();
  for (const one of measured) kinds.set(one.what, [...(kinds.get(one.what) ?? []), one]);
  console.log(`| ${title} | got | redundancy | last, ms | flood: redundancy | last, ms | last / flood |`);
  console.log('| --- | ---: | ---: | ---: | ---: | ---: | ---: |');
  for (const [what, all] of kinds) {
    const got = all.every((one) => one.got === one.owed) ? 'all' : all.map((one) => `${one.got}/${one.owed}`).join(' ');
    const cells = [
      range(all.map(({ redundancy }) => redundancy)),
      range(all.map(({ lastMs }) => lastMs)),
      range(all.map(({ flood }) => flood.redundancy)),
      range(all.map(({ flood }) => flood.lastMs)),
      range(all.map(({ lastMs, flood }) => lastMs / flood.lastMs)),
    ];
    console.log(`| ${what} | ${got} | ${cells.join(' | ')} |`);
  }
  console.log('');
}

/** Returns the least and the greatest, or one figure when they are the same. */
function range(figures: readonly number[]): string {
  const shown = (figure: number): string => (figure >= 20 ? figure.toFixed(0) : figure.toFixed(2));
  const [least, most] = [shown(Math.min(...figures)), shown(Math.max(...figures))];
  return least === most ? least : `${least}-${most}`;
}

function seconds(began: number): string {
  return ((performance.now() - began) / 1_000).toFixed(0);
}
