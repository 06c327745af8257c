// npm run bench:edge: what a forwarded port, a gateway and a relay cost at a fixed rate, beside haproxy, http-proxy and a bare pipe.

import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pause, within } from '../deadline.mjs';
import { findHaproxy } from '../relay/carriers/haproxy.mjs';
import { describeMachine, describeRatios, format, toMarkdown, toText } from '../report.mjs';
import { Worker } from '../runner.mjs';
import { median } from '../statistics.mjs';
import { cpuSeconds, memoryMib, sleeps } from './processes.mjs';
import { Subjects } from './subjects.mjs';

const LOAD = fileURLToPath(new URL('./load.mjs', import.meta.url));
const NAMES = [
  'direct',
  'haproxy',
  'pipe',
  'forward',
  'haproxy-tls',
  'forward-tls',
  'relay',
  'http-proxy',
  'http-proxy-ka',
  'haproxy-http',
  'gateway',
  'gateway-tls',
];
/** Of a subject's processor time to that of its reference, by the median of the rounds. @type {Record<string, number>} */
const MOST = { forward: 1.5, gateway: 0.7 };
/** A rate that was missed by more is no measurement of that rate. */
const TOLERANCE = 0.05;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    only: { type: 'string' },
    rate: { type: 'string', default: '1000' },
    connections: { type: 'string', default: '50' },
    rounds: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '1000' },
    measure: { type: 'string', default: '5000' },
    first: { type: 'string', default: '8000' },
    rest: { type: 'string', default: '0' },
    other: { type: 'string' },
    profile: { type: 'string' },
    floors: { type: 'boolean' },
    markdown: { type: 'boolean' },
    json: { type: 'boolean' },
  },
});
const number = (/** @type {string} */ text) => Number(text.replaceAll(/[_,]/g, ''));
const [rate, connections, rounds, warmup, measure, first, rest] = [
  values.rate,
  values.connections,
  values.rounds,
  values.warmup,
  values.measure,
  values.first,
  values.rest,
].map(number);
const names =
  values.only?.split(',') ??
  NAMES.filter((name) => connections > 0 || (!name.includes('http') && !name.includes('gateway')));
const isValid = rate > 0 && connections >= 0 && rounds > 0 && warmup >= 0 && measure > 0 && first >= 0 && rest >= 0;
if (values.help || !isValid || !names.every((name) => NAMES.includes(name))) {
  console.log(`usage: npm run bench:edge -- [options]

  --only A,B           of ${NAMES.join(', ')}
  --rate N             requests a second; default 1000
  --connections N      connections that are kept, 0: one for each request; default 50
  --rounds N           measurements of each, in turn; default 5
  --warmup MS          of each measurement; default 1000
  --measure MS         of each measurement; default 5000
  --first MS           load on each before the first round, at twice the rate, for code to be compiled; default 8000
  --rest S             measures the processes without load as well, for so long; default 0: no
  --other DIR          another folder 'dist', whose forward and gateway are measured as well
  --profile DIR        write CPU profiles of the commands of Starlane there
  --floors             exit code 1 if a limit is missed
  --markdown, --json   the form of the result`);
  process.exit(values.help ? 0 : 2);
}
if (findHaproxy() === undefined && names.some((name) => name.startsWith('haproxy'))) {
  console.error('haproxy is missing: apt-get install haproxy');
  process.exit(2);
}

/** @typedef {{ load: number, us: number, farUs: number, p50: number, p99: number, perSecond: number, rss: number, peak: number }} Figures */

/** The figures of each, one a round; undefined where the rate was missed. @type {Map<string, Array<Figures | undefined>>} */
const results = new Map();
/** Of each, at rest. @type {Map<string, { percent: number, sleeps: number, rss: number }>} */
const rests = new Map();
/** @type {Set<string>} */
const faults = new Set();
const subjects = new Subjects(values.profile, values.other);
const load = new Worker('load', { module: LOAD, execArgv: [] });
try {
  await run();
} finally {
  await subjects.stop();
  await load.stop();
}
report();

async function run() {
  await subjects.start(names);
  const list = subjects.list.filter(({ name }) => names.includes(name) || name === 'direct' || name.endsWith('-other'));
  for (const subject of list) {
    results.set(subject.name, []);
    if (first > 0) await measureOne(subject, first, 1, 2 * rate);
  }
  if (rest > 0) await measureRest(list);
  for (let round = 0; round < rounds; round++) {
    // Each begins a round in turn, and neighbours change.
    const at = round % list.length;
    const order = [...list.slice(at), ...list.slice(0, at)];
    if (round % 2 === 1) order.reverse();
    for (const subject of order) {
      const figures = await measureOne(subject, warmup, measure);
      const isReached = Math.abs(figures.perSecond / rate - 1) <= TOLERANCE;
      if (!isReached)
        faults.add(
          `${subject.name}, round ${round + 1}: ${figures.perSecond.toFixed(0)} requests a second, not counted`,
        );
      results.get(subject.name)?.push(isReached ? figures : undefined);
    }
    if (process.stderr.isTTY)
      process.stderr.write(`round ${round + 1} of ${rounds}, load ${os.loadavg()[0].toFixed(1)}\n`);
  }
}

/**
 * @param {import('./subjects.mjs').Subject} subject
 * @param {number} warmupMs
 * @param {number} measureMs
 * @param {number} [perSecond]
 * @returns {Promise<Figures>}
 */
async function measureOne({ name, port, pid, farPid }, warmupMs, measureMs, perSecond = rate) {
  try {
    const request = { type: 'run', port, rate: perSecond, connections, warmupMs, measureMs, pids: [pid, farPid] };
    const measured = await within(load.ask(request), 30_000 + 2 * (warmupMs + measureMs), `load on ${name}`);
    const { cpu, seconds, done } = measured;
    const { rss, peak } = pid === undefined ? { rss: 0, peak: 0 } : memoryMib(pid);
    return {
      load: (cpu[0] * 100) / seconds,
      us: (cpu[0] * 1e6) / done,
      farUs: (cpu[1] * 1e6) / done,
      rss,
      peak,
      ...measured,
    };
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {import('./subjects.mjs').Subject[]} list */
async function measureRest(list) {
  await pause(5_000);
  const read = () =>
    list.flatMap(({ name, pid }) =>
      pid === undefined ? [] : [{ name, pid, cpu: cpuSeconds(pid), sleeps: sleeps(pid) }],
    );
  const before = read();
  await pause(rest * 1_000);
  for (const [i, { name, pid, cpu, sleeps: times }] of read().entries()) {
    const percent = ((cpu - before[i].cpu) * 100) / rest;
    rests.set(name, { percent, sleeps: (times - before[i].sleeps) / rest, rss: memoryMib(pid).rss });
  }
}

function report() {
  const of = (/** @type {string} */ name) => results.get(name) ?? [];
  /**
   * @param {string} name
   * @param {string} other
   */
  const ratios = (name, other) =>
    of(name).flatMap((figures, round) => {
      const reference = of(other)[round];
      return figures === undefined || reference === undefined ? [] : [figures.us / reference.us];
    });
  const range = (/** @type {number[]} */ list, /** @type {number} */ digits) =>
    list.length === 0
      ? '-'
      : `${format(median(list), digits)} (${format(Math.min(...list), digits)}-${format(Math.max(...list), digits)})`;
  let isMissed = false;
  const rows = subjects.list
    .filter(({ name }) => results.has(name))
    .map(({ name, references, pid, farPid }) => {
      const known = of(name).filter((figures) => figures !== undefined);
      const added = (/** @type {'p50' | 'p99'} */ key) =>
        of(name).flatMap((figures, round) => {
          const direct = of('direct')[round];
          return figures === undefined || direct === undefined ? [] : [figures[key] - direct[key]];
        });
      const other = `${name}-other`;
      const units = results.has(other) ? [other] : references.filter((of) => of !== name && results.has(of));
      const own = ratios(name, references[0]);
      const most = MOST[name];
      const holds = most === undefined || own.length === 0 ? '' : median(own) <= most ? 'yes' : 'NO';
      isMissed ||= holds === 'NO';
      const us = (/** @type {'us' | 'farUs' | 'load'} */ key) =>
        range(
          known.map((figures) => figures[key]),
          1,
        );
      const isWork = pid !== undefined;
      return {
        cells: [
          name,
          isWork ? us('load') : '',
          isWork ? us('us') : '',
          farPid === undefined ? '' : us('farUs'),
          isWork ? units.map((unit) => `${describeRatios(ratios(name, unit))} x ${unit}`).join(', ') : '',
          most === undefined || holds === '' ? '' : `<= ${most} x ${references[0]}: ${holds}`,
          isWork
            ? `${Math.max(...known.map(({ rss }) => rss)).toFixed(0)} / ${Math.max(...known.map(({ peak }) => peak)).toFixed(0)}`
            : '',
          isWork
            ? range(added('p50'), 2)
            : range(
                known.map(({ p50 }) => p50),
                2,
              ),
          isWork
            ? range(added('p99'), 2)
            : range(
                known.map(({ p99 }) => p99),
                2,
              ),
          rests.has(name) ? `${rests.get(name)?.percent.toFixed(2)} / ${rests.get(name)?.sleeps.toFixed(1)}` : '',
        ],
        missed: holds === 'NO',
      };
    });
  const head = [
    'what',
    'core, %',
    'us/request',
    'far side, us/request',
    'processor time',
    'limit',
    'RSS / peak, MiB',
    'added p50, ms',
    'added p99, ms',
  ];
  if (rests.size > 0) head.push('at rest: core, % / sleeps/s');
  else for (const row of rows) row.cells.pop();
  if (values.json)
    console.log(
      JSON.stringify({
        machine: describeMachine(),
        values,
        results: Object.fromEntries(results),
        rests: Object.fromEntries(rests),
      }),
    );
  else console.log(values.markdown ? toMarkdown({ head, rows }) : toText({ head, rows }));
  for (const fault of faults) console.error(fault);
  const how = connections > 0 ? `${connections} connections that are kept` : 'one connection for each request';
  if (!values.json)
    console.log(`
${rate} requests a second over ${how}, answers of 1 KiB, ${rounds} rounds of ${measure} ms in turn; medians (least-greatest); the ratio is of the same round.
${describeMachine()}, after ${os.loadavg()[0].toFixed(2)}.`);
  if (values.floors && isMissed) process.exitCode = 1;
  if (subjects.list.some(({ name }) => results.has(name) && !of(name).some((figures) => figures !== undefined)))
    process.exitCode = 1;
}
