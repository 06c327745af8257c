// npm run bench:import: what a program pays for the import before it does anything, each import in fresh processes, beside a
// program that imports nothing.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, toMarkdown, toText } from '../report.mjs';
import { median } from '../statistics.mjs';

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    runs: { type: 'string', default: '10' },
    floors: { type: 'boolean' },
    markdown: { type: 'boolean' },
  },
});
const runs = Number(values.runs);
if (values.help || !Number.isInteger(runs) || runs < 1) {
  console.log(`usage: npm run bench:import -- [options]

  --runs N             processes for each row, in turn; default 10
  --floors             exit code 1 if a limit is missed
  --markdown           the table as Markdown`);
  process.exit(values.help ? 0 : 2);
}

const PROGRAM = fileURLToPath(new URL('./program.mjs', import.meta.url));
/** What is imported, by its row; `createNode()` is the one row that does something. */
const ROWS = ['an empty program', 'node:http', 'starlane/mux', 'starlane', 'starlane, createNode()', 'starlane/http'];
/** Above an empty program. */
const MOST = { ms: 50, mib: 2 };

/** @type {Map<string, { ms: number, mib: number }[]>} */
const measured = new Map(ROWS.map((row) => [row, []]));
for (let run = 0; run < runs; run++) {
  for (const row of run % 2 === 0 ? ROWS : ROWS.toReversed()) {
    const output = execFileSync(process.execPath, ['--expose-gc', PROGRAM, row], { encoding: 'utf8' });
    measured.get(row)?.push(JSON.parse(output));
  }
}

/** @param {string} row */
function medians(row) {
  const all = measured.get(row) ?? [];
  return { ms: median(all.map(({ ms }) => ms)), mib: median(all.map(({ mib }) => mib)) };
}

const empty = medians('an empty program');
const rows = ROWS.map((row) => {
  const { ms, mib } = medians(row);
  const isLimited = row === 'starlane';
  const missed = isLimited && (ms - empty.ms > MOST.ms || mib - empty.mib > MOST.mib);
  return {
    cells: [
      row,
      row === ROWS[0] ? '' : (ms - empty.ms).toFixed(1),
      mib.toFixed(2),
      row === ROWS[0] ? '' : (mib - empty.mib).toFixed(2),
      isLimited ? `<= ${MOST.ms} ms, <= ${MOST.mib} MiB` : '',
      isLimited ? (missed ? 'NO' : 'yes') : '',
    ],
    missed,
  };
});
const table = { head: ['import', 'ms', 'heap, MiB', 'above empty, MiB', 'limit', 'holds'], rows };
console.log(values.markdown ? toMarkdown(table) : toText(table));
console.log(`\n${describeMachine()}. Medians of ${runs} processes each; the heap after a forced collection.`);
if (values.floors && rows.some(({ missed }) => missed)) process.exitCode = 1;
