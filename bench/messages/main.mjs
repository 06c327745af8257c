// npm run bench:messages: messages and topics beside a nats-server and others. A case is a file in `cases`; see case.mjs.

import { readdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine, tabulate, toJson, toMarkdown, toText } from '../report.mjs';
import { Fleet } from './fleet.mjs';

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    list: { type: 'boolean' },
    only: { type: 'string' },
    carriers: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    measure: { type: 'string', default: '2000' },
    profile: { type: 'string' },
    floors: { type: 'boolean' },
    markdown: { type: 'boolean' },
    json: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const measureMs = Number(values.measure);
const files = readdirSync(new URL('./cases/', import.meta.url)).filter((file) => file.endsWith('.mjs'));
const names = files.map((file) => file.slice(0, -'.mjs'.length)).sort();
const wanted = values.only?.split(',') ?? names;
if (values.help || !(rounds > 0 && measureMs > 0) || !wanted.every((name) => names.includes(name))) {
  console.log(`usage: npm run bench:messages -- [options]

  --list               name the cases and end
  --only A,B           these cases only, of ${names.join(', ')}
  --carriers A,B       these only; default: those of each case
  --rounds N           of each carrier, in turn, in the same processes; default 5, after one to warm up
  --measure MS         about how long a round is; default 2000
  --profile DIR        write CPU profiles there
  --floors             exit code 1 if a limit is missed
  --markdown           the table as Markdown
  --json FILE          all values`);
  process.exit(values.help ? 0 : 2);
}
if (values.list) {
  console.log(wanted.join('\n'));
  process.exit(0);
}

/** @type {import('../report.mjs').CaseOutcome[]} */
const outcomes = [];
/** @type {Set<string>} */
const seen = new Set();
for (const name of wanted) {
  const url = new URL(`./cases/${name}.mjs`, import.meta.url).href;
  /** @type {{ benchCase: import('./case.mjs').MessageCase }} */
  const { benchCase } = await import(url);
  const carriers = benchCase.carriers.filter((carrier) => values.carriers?.split(',').includes(carrier) ?? true);
  for (const carrier of carriers) seen.add(carrier);
  outcomes.push({ benchCase: /** @type {any} */ (benchCase), pairs: await measure(benchCase, url, carriers) });
}
report([...seen]);

/**
 * @param {import('./case.mjs').MessageCase} benchCase
 * @param {string} url
 * @param {string[]} carriers
 */
async function measure(benchCase, url, carriers) {
  /** @type {import('../report.mjs').Pair[]} */
  const pairs = [];
  /** @type {Map<string, Fleet>} */
  const fleets = new Map();
  try {
    for (const carrier of carriers) {
      const fleet = new Fleet(benchCase, url, carrier, values.profile);
      fleets.set(carrier, fleet);
      await fleet.start();
      // Twice: code is compiled in the first one.
      for (const part of [1, 0.5]) await benchCase.round(fleet, { measureMs: measureMs * part, isWarmup: true });
    }
    for (let round = 0; round < rounds; round++) {
      /** @type {import('../report.mjs').Pair} */
      const pair = {};
      // Each begins a round in turn.
      const order = round % 2 === 0 ? carriers : [...carriers].reverse();
      for (const carrier of order) {
        const fleet = /** @type {Fleet} */ (fleets.get(carrier));
        pair[carrier] = await benchCase.round(fleet, { measureMs, isWarmup: false });
      }
      pairs.push(pair);
    }
  } finally {
    for (const fleet of fleets.values()) await fleet.stop();
  }
  if (process.stderr.isTTY) process.stderr.write(`${benchCase.name}\n`);
  return pairs;
}

/** @param {string[]} carriers */
function report(carriers) {
  const { head, rows } = tabulate(outcomes, carriers, undefined, ratiosOf(carriers));
  console.log(describeMachine());
  console.log(values.markdown ? toMarkdown({ head, rows }) : toText({ head, rows }));
  if (values.json !== undefined)
    writeFileSync(values.json, toJson(outcomes, carriers, { rounds, measureMs }, ratiosOf(carriers)));
  if (values.floors && rows.some(({ missed }) => missed)) process.exitCode = 1;
}

/**
 * Those of starlane to each of the others, and those that cases want besides.
 *
 * @param {string[]} carriers
 * @returns {import('../report.mjs').RatioOf[]}
 */
function ratiosOf(carriers) {
  /** @type {import('../report.mjs').RatioOf[]} */
  const ratios = carriers.includes('starlane')
    ? ['nats', 'grpc'].filter((other) => carriers.includes(other)).map((other) => ['starlane', other])
    : [];
  const more = outcomes.flatMap(({ benchCase }) => /** @type {any} */ (benchCase).ratios ?? []);
  for (const [ours, theirs] of more) {
    const isThere = ratios.some((ratio) => ratio[0] === ours && ratio[1] === theirs);
    if (!isThere && carriers.includes(ours) && carriers.includes(theirs)) ratios.push([ours, theirs]);
  }
  return ratios;
}
