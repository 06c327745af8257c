// Streams over an emulated network path with delay, rate, loss and a queue, against one TCP socket for each of them. See --help.

import { mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { failuresOf, runCase } from '../bench.mjs';
import { describeMachine, tabulate, toJson, toMarkdown, toText } from '../report.mjs';
import { tabulateByCarrier } from './by-carrier.mjs';
import { GROUPS, SHORT_GROUP } from './cases.mjs';
import { readOptions, usage } from './options.mjs';
import { obstacle } from './path.mjs';
import { runOverPath } from './runner.mjs';

const EXIT_CANNOT_RUN = 77;

/** @type {Record<string, string>} */
const MODULES = { net: '../carriers/net.mjs', http2: '../carriers/http2.mjs', tls: '../tls/carriers/tls.mjs' };

/**
 * @param {string} name
 * @returns {import('../bench.mjs').CarrierChoice}
 */
const carrierOf = (name) => ({ name, url: new URL(MODULES[name] ?? `./carriers/${name}.mjs`, import.meta.url).href });

/** @param {string} line */
const progress = (line) => process.stderr.write(`${line}\n`);

/**
 * @param {import('./cases.mjs').Group} group
 * @param {import('./options.mjs').WanOptions} options
 * @param {string | undefined} profileDir
 */
async function runGroup(group, options, profileDir) {
  const carriers = group.carriers.map(carrierOf);
  const setup = { command: '', carriers, runs: options.runs, runOnce: runOverPath };
  const outcomes = [];
  for (const benchCase of group.cases) {
    const requested = /** @type {any} */ ({ ...options, carriers: group.carriers });
    const outcome = await runCase(/** @type {any} */ (benchCase), setup, requested, profileDir);
    for (const pair of outcome.pairs) benchCase.compare?.(pair);
    outcomes.push(outcome);
  }
  return outcomes;
}

/** @returns {Promise<number>} exit code */
async function main() {
  const options = readOptions(process.argv.slice(2), GROUPS, SHORT_GROUP);
  if (options.help) {
    process.stdout.write(usage(GROUPS));
    return 0;
  }
  if (options.list) {
    for (const { name, title, cases } of options.groups) {
      process.stdout.write(`${name}: ${title}\n${cases.map((c) => `  ${c.name.padEnd(30)} ${c.about}\n`).join('')}`);
    }
    return 0;
  }
  const reason = obstacle()?.reason;
  if (reason !== undefined) {
    progress(`bench:wan cannot run here: ${reason}.`);
    return EXIT_CANNOT_RUN;
  }

  const profileDir = options.profile ? mkdtempSync(path.join(os.tmpdir(), 'starlane-profile-')) : undefined;
  const machine = describeMachine('emulated path');
  const caption = `\`npm run bench:wan -- ${process.argv.slice(2).join(' ')}\`. ${machine}. Medians; ratios are medians of the pairs' ratios (least-greatest).`;
  const results = [];
  let hasMissed = false;
  let hasFailed = false;
  for (const group of options.groups) {
    const outcomes = await runGroup(group, options, profileDir);
    const table = group.isByCarrier
      ? tabulateByCarrier(outcomes, group.carriers)
      : tabulate(outcomes, group.carriers, undefined, group.ratios);
    hasMissed ||= table.rows.some((row) => row.missed);
    for (const [name, reasons] of Object.entries(failuresOf(outcomes))) {
      hasFailed = true;
      for (const text of new Set(reasons)) progress(`${name} fails ${text}`);
    }
    const measured = JSON.parse(toJson(outcomes, group.carriers, options.settings, group.ratios));
    results.push({ group: group.name, title: group.title, ...measured });
    if (options.json === '-') continue;
    const text = options.markdown ? `### ${group.title}\n\n${toMarkdown(table)}` : `${group.title}\n\n${toText(table)}`;
    process.stdout.write(`\n${text}\n`);
  }
  const json = JSON.stringify(results, undefined, 2);
  if (options.json === '-') process.stdout.write(`${json}\n`);
  else {
    if (options.json !== undefined) writeFileSync(options.json, json);
    process.stdout.write(`\n${caption}\n`);
  }
  if (profileDir !== undefined) progress(`profiles: ${profileDir}`);
  if (hasMissed && options.floors) progress('a floor is missed');
  return hasFailed || (hasMissed && options.floors) ? 1 : 0;
}

// Namespaces are removed when the process ends, but a signal ends it without that unless there is a handler.
for (const [signal, code] of /** @type {const} */ ([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
])) {
  process.once(signal, () => process.exit(code));
}
try {
  process.exitCode = await main();
} catch (error) {
  progress(`bench:wan: ${/** @type {Error} */ (error).message}`);
  process.exitCode = 2;
}
