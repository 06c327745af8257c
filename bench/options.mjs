import { parseArgs } from 'node:util';
import { findCase } from './cases/index.mjs';

/**
 * @param {import('./bench.mjs').BenchSetup} setup
 * @returns {string}
 */
export function usage({ command, carriers, runs }) {
  return `usage: ${command} [options]

  --list               name the cases and end
  --only a,b           these cases only
  --carriers a,b       default ${carriers.map(({ name }) => name).join(',')}
  --runs N             runs of each carrier, alternately; default ${runs} (idle: 1)
  --measure MS         length of one measurement, default 2000, after a warm-up of a quarter of it (at least 500)
  --streams N          streams of the idle case at most (over others as many as they hold)
  --heap MIB           what client and server keep alive besides, as larger programs do; default 0
  --verify             check every byte received (slower)
  --floors             exit code 1 if a floor is missed
  --json [FILE]        all values as JSON to FILE, or to stdout in place of the table
  --markdown           the table as Markdown
  --profile            run the processes with --cpu-prof and say where the profiles are
`;
}

/**
 * @typedef {object} BenchOptions
 * @property {boolean} help
 * @property {boolean} list
 * @property {import('./cases/case.mjs').BenchCase[]} cases
 * @property {string[]} carriers
 * @property {number | undefined} runs
 * @property {boolean} floors
 * @property {string | undefined} json file, or '-' for stdout
 * @property {boolean} markdown
 * @property {boolean} profile
 * @property {import('./cases/case.mjs').Settings} settings
 */

/**
 * @param {string[]} args
 * @param {string[]} known the carriers to choose from, all of them by default
 * @param {import('./cases/case.mjs').BenchCase[]} cases likewise
 * @returns {BenchOptions}
 */
export function readOptions(args, known, cases) {
  const { values } = parseArgs({
    args: args.flatMap((arg, i) => (arg === '--json' && !isFile(args[i + 1]) ? ['--json', '-'] : [arg])),
    options: {
      help: { type: 'boolean', short: 'h' },
      list: { type: 'boolean' },
      only: { type: 'string' },
      carriers: { type: 'string' },
      runs: { type: 'string' },
      measure: { type: 'string' },
      streams: { type: 'string' },
      heap: { type: 'string' },
      verify: { type: 'boolean' },
      floors: { type: 'boolean' },
      json: { type: 'string' },
      markdown: { type: 'boolean' },
      profile: { type: 'boolean' },
    },
  });
  const measureMs = readCount('measure', values.measure) ?? 2000;
  const carriers = values.carriers?.split(',') ?? known;
  for (const carrier of carriers) {
    if (!known.includes(carrier)) throw new Error(`no carrier '${carrier}'; there are ${known.join(', ')}`);
  }
  return {
    help: values.help ?? false,
    list: values.list ?? false,
    cases: values.only === undefined ? cases : values.only.split(',').map((name) => findCase(name, cases)),
    carriers,
    runs: readCount('runs', values.runs),
    floors: values.floors ?? false,
    json: values.json,
    markdown: values.markdown ?? false,
    profile: values.profile ?? false,
    settings: {
      warmupMs: Math.max(500, measureMs / 4),
      measureMs,
      verify: values.verify ?? false,
      heapMib: readCount('heap', values.heap, 0) ?? 0,
      streams: readCount('streams', values.streams),
    },
  };
}

/** @param {string | undefined} arg */
function isFile(arg) {
  return arg !== undefined && !arg.startsWith('-');
}

/**
 * Returns the value of an option that is a number; undefined when it is not given. 10_000 and 10,000 are the same.
 *
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} [least]
 */
export function readCount(name, text, least = 1) {
  if (text === undefined) return undefined;
  const count = Number(text.replaceAll(/[_,]/g, ''));
  if (!Number.isSafeInteger(count) || count < least) throw new Error(`--${name} needs a whole number from ${least} on`);
  return count;
}
