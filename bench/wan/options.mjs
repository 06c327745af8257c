import { parseArgs } from 'node:util';
import { readCount } from '../options.mjs';

const DEFAULT_RUNS = 3;
const DEFAULT_MEASURE_MS = 4_000;
// A TCP socket that has left slow start too early takes some seconds to fill the path, and that is luck.
const DEFAULT_WARMUP_MS = 4_000;
const SHORT_MEASURE_MS = 2_000;
const SHORT_WARMUP_MS = 1_500;

/**
 * @typedef {object} WanOptions
 * @property {boolean} help
 * @property {boolean} list
 * @property {import('./cases.mjs').Group[]} groups with the requested cases and carriers
 * @property {number} runs
 * @property {boolean} floors
 * @property {string | undefined} json file, or '-' for stdout
 * @property {boolean} markdown
 * @property {boolean} profile
 * @property {import('../cases/case.mjs').Settings} settings
 */

/** @param {import('./cases.mjs').Group[]} groups */
export function usage(groups) {
  return `usage: npm run bench:wan -- [options]

  --list               name the cases by group and end
  --only a,b           these cases or groups only; * matches any text in a name
  --short              a few cases with loose floors, in less than a minute, for CI
  --carriers a,b       default those of each group, of ${carriersOf(groups).join(',')}
  --runs N             runs of each carrier, alternately; default ${DEFAULT_RUNS} (--short: 1)
  --measure MS         length of one measurement, default ${DEFAULT_MEASURE_MS} (--short: ${SHORT_MEASURE_MS})
  --warmup MS          before it, default ${DEFAULT_WARMUP_MS} (--short: ${SHORT_WARMUP_MS}), 30 round trips at least
  --heap MIB           what client and server keep alive besides; default 0
  --floors             exit code 1 if a floor is missed
  --json [FILE]        all values as JSON to FILE, or to stdout in place of the tables
  --markdown           the tables as Markdown
  --profile            run the processes with --cpu-prof and say where the profiles are

It needs Linux, root, /dev/net/tun, ip and cc; without one of them it says so and exits with 77.
`;
}

/** @param {import('./cases.mjs').Group[]} groups */
const carriersOf = (groups) => [...new Set(groups.flatMap(({ carriers }) => carriers))];

/**
 * @param {string[]} args
 * @param {import('./cases.mjs').Group[]} groups
 * @param {import('./cases.mjs').Group} shortGroup what --short runs
 * @returns {WanOptions}
 */
export function readOptions(args, groups, shortGroup) {
  const { values } = parseArgs({
    args: args.flatMap((arg, i) => (arg === '--json' && !isFile(args[i + 1]) ? ['--json', '-'] : [arg])),
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      list: { type: 'boolean', default: false },
      only: { type: 'string' },
      short: { type: 'boolean', default: false },
      carriers: { type: 'string' },
      runs: { type: 'string' },
      measure: { type: 'string' },
      warmup: { type: 'string' },
      heap: { type: 'string', default: '0' },
      floors: { type: 'boolean', default: false },
      json: { type: 'string' },
      markdown: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
    },
  });
  const requested = values.short ? [shortGroup] : groups;
  const named = values.only === undefined ? requested : pickCases(requested, values.only.split(','));
  const { help, list, floors, json, markdown, profile, short } = values;
  return {
    ...{ help, list, floors, json, markdown, profile },
    groups: values.carriers === undefined ? named : pickCarriers(named, values.carriers.split(',')),
    runs: readCount('runs', values.runs) ?? (short ? 1 : DEFAULT_RUNS),
    settings: {
      warmupMs: readCount('warmup', values.warmup) ?? (short ? SHORT_WARMUP_MS : DEFAULT_WARMUP_MS),
      measureMs: readCount('measure', values.measure) ?? (short ? SHORT_MEASURE_MS : DEFAULT_MEASURE_MS),
      verify: true,
      heapMib: readCount('heap', values.heap, 0) ?? 0,
      streams: undefined,
    },
  };
}

/**
 * @param {import('./cases.mjs').Group[]} groups
 * @param {string[]} names
 */
function pickCases(groups, names) {
  const known = groups.flatMap((group) => [group.name, ...group.cases.map(({ name }) => name)]);
  /** @type {(pattern: string, name: string) => boolean} */
  const fits = (pattern, name) => new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(name);
  for (const pattern of names) {
    if (!known.some((name) => fits(pattern, name))) throw new Error(`no case or group '${pattern}': see --list`);
  }
  return groups
    .map((group) => ({
      ...group,
      cases: group.cases.filter(({ name }) => names.some((p) => p === group.name || fits(p, name))),
    }))
    .filter(({ cases }) => cases.length > 0);
}

/**
 * @param {import('./cases.mjs').Group[]} groups
 * @param {string[]} names
 */
function pickCarriers(groups, names) {
  const known = carriersOf(groups);
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`no carrier '${name}' here; there are ${known.join(', ')}`);
  }
  return groups.map((group) => ({
    ...group,
    carriers: group.carriers.filter((name) => names.includes(name)),
    ratios: group.ratios.filter((pair) => pair.every((name) => names.includes(name))),
  }));
}

/** @param {string | undefined} arg */
function isFile(arg) {
  return arg !== undefined && !arg.startsWith('-');
}
