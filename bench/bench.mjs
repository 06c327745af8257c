import { mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { CASES } from './cases/index.mjs';
import { readOptions, usage } from './options.mjs';
import { describeMachine, tabulate, toJson, toMarkdown, toText } from './report.mjs';
import { runOnce } from './runner.mjs';

/**
 * A carrier as the runner sees it.
 *
 * @typedef {object} CarrierChoice
 * @property {string} name
 * @property {string} url of its module
 * @property {string} [execPath] the node it needs, when not this one
 * @property {number} [deadlineMs] for one run, in place of the case's own
 *
 * @typedef {object} BenchSetup
 * @property {string} command shown in the usage text
 * @property {CarrierChoice[]} carriers to choose from, all of them by default
 * @property {number} runs by default
 * @property {import('./cases/case.mjs').BenchCase[]} [cases] to choose from, those of `npm run bench` by default
 * @property {typeof runOnce} [runOnce] what runs a case once, default two processes
 * @property {string} [reference] the carrier without which floors say nothing, default net
 */

/** @param {string} line */
const progress = (line) => process.stderr.write(`${line}\n`);

/**
 * All pairs of one case. The order of the carriers turns round every other pair, so that none always runs on the
 * processor that another has warmed.
 *
 * @param {import('./cases/case.mjs').BenchCase} benchCase
 * @param {BenchSetup} setup
 * @param {import('./options.mjs').BenchOptions} options
 * @param {string | undefined} profileDir
 * @returns {Promise<import('./report.mjs').CaseOutcome>}
 */
export async function runCase(benchCase, setup, options, profileDir) {
  const runs = options.runs ?? benchCase.defaultRuns ?? setup.runs;
  const runCarrier = setup.runOnce ?? runOnce;
  const carriers = options.carriers
    .filter((name) => benchCase.carriers?.includes(name) ?? true)
    .map((name) => /** @type {CarrierChoice} */ (setup.carriers.find((carrier) => carrier.name === name)));
  const pairs = [];
  for (let run = 0; run < runs; run++) {
    /** @type {import('./report.mjs').Pair} */
    const pair = {};
    for (const carrier of run % 2 === 0 ? carriers : carriers.toReversed()) {
      const { name } = carrier;
      try {
        const profile =
          profileDir === undefined ? undefined : { dir: profileDir, name: `${benchCase.name}-${name}-${run + 1}` };
        pair[name] = await runCarrier(benchCase, carrier, options.settings, profile);
      } catch (error) {
        pair[name] = { failed: /** @type {Error} */ (error).message };
      }
      progress(`${benchCase.name} ${run + 1}/${runs} ${name}: ${summarise(benchCase, pair[name])}`);
    }
    pairs.push(pair);
  }
  return { benchCase, pairs };
}

/**
 * @param {import('./cases/case.mjs').BenchCase} benchCase
 * @param {import('./report.mjs').Pair[string]} values
 */
function summarise(benchCase, values) {
  if ('failed' in values) return `fails: ${values.failed}`;
  return benchCase.figures
    .filter(({ key }) => values[key] !== undefined)
    .map(({ key, title, digits }) => `${values[key].toFixed(digits)} ${title}`)
    .join('; ');
}

/** @param {import('./cases/case.mjs').Settings} settings */
function describeHeap({ heapMib }) {
  return heapMib === 0 ? 'no heap but what is measured' : `${heapMib} MiB of heap besides in client and server`;
}

/**
 * @param {BenchSetup} setup
 * @param {string[]} args
 * @returns {Promise<{ failures: Record<string, string[]>, missedFloor: boolean }>} failed runs by carrier, and whether
 *   a requested floor is missed
 */
async function run(setup, args) {
  const cases = setup.cases ?? CASES;
  const options = readOptions(
    args,
    setup.carriers.map((carrier) => carrier.name),
    cases,
  );
  if (options.help || options.list) {
    const list = cases.map(({ name, about }) => `${name.padEnd(12)} ${about}\n`).join('');
    process.stdout.write(options.help ? usage(setup) : list);
    return { failures: {}, missedFloor: false };
  }

  const profileDir = options.profile ? mkdtempSync(path.join(os.tmpdir(), 'starlane-profile-')) : undefined;
  const outcomes = [];
  for (const benchCase of options.cases) outcomes.push(await runCase(benchCase, setup, options, profileDir));

  const table = tabulate(outcomes, options.carriers, setup.reference ?? 'net');
  const about = `${describeMachine()}; ${describeHeap(options.settings)}`;
  const caption = `${about}. Medians; ratios are medians of the pairs' ratios (least-greatest).`;
  const json = toJson(outcomes, options.carriers, options.settings);
  if (options.json === '-') {
    process.stdout.write(`${json}\n`);
  } else {
    if (options.json !== undefined) writeFileSync(options.json, json);
    process.stdout.write(`\n${options.markdown ? toMarkdown(table) : toText(table)}\n\n${caption}\n`);
  }
  if (profileDir !== undefined) progress(`profiles: ${profileDir}`);
  const missedFloor = options.floors && table.rows.some((row) => row.missed);
  if (missedFloor) progress('a floor is missed');
  return { failures: failuresOf(outcomes), missedFloor };
}

/**
 * @param {import('./report.mjs').CaseOutcome[]} outcomes
 * @returns {Record<string, string[]>}
 */
export function failuresOf(outcomes) {
  /** @type {Record<string, string[]>} */
  const failures = {};
  for (const { benchCase, pairs } of outcomes) {
    for (const [name, values] of pairs.flatMap((pair) => Object.entries(pair))) {
      if (!('failed' in values)) continue;
      failures[name] ??= [];
      failures[name].push(`${benchCase.name}: ${values.failed}`);
    }
  }
  return failures;
}

/**
 * The whole command: exit code 0; 1 when a carrier of `mustWork` failed or a floor is missed; 2 for wrong options.
 *
 * @param {BenchSetup} setup
 * @param {string[]} mustWork
 */
export async function bench(setup, mustWork) {
  try {
    const { failures, missedFloor } = await run(setup, process.argv.slice(2));
    for (const [name, reasons] of Object.entries(failures)) {
      for (const reason of new Set(reasons)) progress(`${name} fails ${reason}`);
    }
    process.exitCode = missedFloor || mustWork.some((name) => failures[name] !== undefined) ? 1 : 0;
  } catch (error) {
    progress(`bench: ${/** @type {Error} */ (error).message}`);
    process.exitCode = 2;
  }
}
