// npm run history: a run of processes under faults, and the verdict on what they have written down. See --help.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BREAKS, type Break } from './breaks.js';
import { readOptions, usage } from './command.js';
import { reportOf, rowOf } from './report.js';
import { judge, type Trial, trial } from './trial.js';

/** Each broken copy is tried with so many seeds. */
const TRIES = 4;

const options = readOptions(process.argv.slice(2));
if (options.help) console.log(usage());
else if (options.check !== undefined) show(judge(options.check, options.resumeMs));
else if (options.broken !== undefined) await runBroken(options.broken);
else await runWhole();

async function runWhole(): Promise<void> {
  const folder = makeFolder();
  console.log(`seed ${options.seed}, history in ${folder}`);
  const begin = performance.now();
  const found = await trial({ ...options, folder, onProgress: (line) => console.log(line) });
  const seconds = Math.round((performance.now() - begin) / 1000);
  show(found);
  const { counts } = found.verdict;
  const { sizes, faults, messages, seed } = options;
  console.log(`\n${rowOf(found.verdict, seed, sizes.senders + sizes.receivers + sizes.relays)}`);
  console.log(
    `${seconds} s, with the check; ${counts.faults} of ${faults} faults, ${counts.messages} of ${messages} messages`,
  );
  if (counts.faults < faults || counts.messages < messages) console.log('it ended before it was done: see --minutes');
  if (found.verdict.violations.length === 0 && !options.keep) rmSync(folder, { recursive: true });
}

/** Each broken copy has to be caught, by the rule that it breaks. */
async function runBroken(names: readonly string[]): Promise<void> {
  for (const broken of BREAKS.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const caught = await catches(broken);
    console.log(`${broken.name.padEnd(28)} ${caught ?? 'NOT CAUGHT'}`);
    if (caught === undefined) process.exitCode = 1;
  }
}

async function catches(broken: Break): Promise<string | undefined> {
  for (let at = 0; at < TRIES; at++) {
    const folder = makeFolder();
    const seed = options.seed + at;
    try {
      const { violations } = (await trial({ ...options, seed, folder }, broken)).verdict;
      const found = violations.filter(({ rule }) => broken.rules.includes(rule));
      if (found.length > 0) return `seed ${seed}: ${found.length} times ${found[0].rule}: ${found[0].text}`;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return undefined;
}

function show({ history, verdict }: Trial): void {
  console.log(reportOf(history, verdict));
  if (verdict.violations.length > 0) process.exitCode = 1;
}

function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'starlane-history-'));
}
