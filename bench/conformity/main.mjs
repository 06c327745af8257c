// npm run conformity: Node's own tests of net, http, https, tls and http2, run over the overlay. Each file is a separate
// process. The files are not part of this project and are not downloaded: they are taken from where `--tests` says.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exclusionOf } from './exclusions.mjs';

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    tests: { type: 'string' },
    only: { type: 'string', default: '' },
    way: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    timeout: { type: 'string', default: '20' },
    least: { type: 'string', default: '0' },
    markdown: { type: 'boolean' },
    verbose: { type: 'boolean' },
  },
});
const USAGE = `usage: npm run conformity -- --tests PATH [options]

  --tests PATH     the source of Node: its folder, or the file nodejs_*.orig.tar.* of Debian's source package, which
                   \`apt-get source --download-only nodejs\` brings (with deb-src among the sources of apt). A version near to
                   the one that runs (${process.version}) fits best. What fails over node:net as well is left out
  --only TEXT      files whose names contain it, as in test-net-
  --way NAME       net: require('net') is node.net; bound: servers are bound to a node, sockets dial by the preload.
                   Default: both for test-net-*, bound for the others
  --jobs N         processes at a time; default 2
  --timeout S      seconds for a file; default 20
  --least PERCENT  exit code 1 if any score is less
  --markdown       the tables of docs/conformity.md
  --verbose        what each failure printed`;
const jobs = Number(values.jobs);
const timeoutMs = Number(values.timeout) * 1000;
const isWay = values.way === undefined || values.way === 'net' || values.way === 'bound';
if (values.help || values.tests === undefined || !isWay || !(jobs >= 1) || !(timeoutMs > 0)) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}

const HERE = fileURLToPath(new URL('.', import.meta.url));
const PRELOADS = { net: join(HERE, 'as-net.mjs'), bound: join(HERE, 'as-bound.mjs') };
const WAYS = { net: '`node.net` instead of `node:net`', bound: 'bound servers, dialled over a link by the preload' };
const AREAS = ['net', 'http', 'https', 'tls', 'http2'];

/** @typedef {{ name: string, file: string, area: string, flags: string[], excluded: string | undefined }} Test */
/** @typedef {{ ok: boolean, why: string, output: string }} Outcome */

const scratch = mkdtempSync(join(tmpdir(), 'conformity-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** The folder `test` of the source of Node. @param {string} path */
function testFolder(path) {
  if (!existsSync(path)) throw new Error(`there is no ${path}`);
  if (statSync(path).isDirectory()) {
    const folder = [path, join(path, 'test')].find((each) => existsSync(join(each, 'common/index.js')));
    if (folder === undefined) throw new Error(`${path} has no test/common/index.js, so it is no source of Node`);
    return folder;
  }
  const { status, stderr } = spawnSync(
    'tar',
    ['-xf', path, '-C', scratch, '--strip-components=1', '--wildcards', '*/test/*'],
    {
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(`tar: ${stderr}`);
  return join(scratch, 'test');
}

/** @param {string} folder @returns {Test[]} */
function findTests(folder) {
  return ['parallel', 'sequential'].flatMap((kind) =>
    readdirSync(join(folder, kind))
      .sort()
      .flatMap((name) => {
        const area = /^test-(net|http|https|tls|http2)-.*\.m?js$/.exec(name)?.[1];
        if (area === undefined || !name.includes(/** @type {string} */ (values.only))) return [];
        const file = join(folder, kind, name);
        const text = readFileSync(file, 'utf8');
        const flags = /^\/\/ Flags: (.*)$/m.exec(text)?.[1].trim().split(/\s+/) ?? [];
        return [{ name, file, area, flags, excluded: exclusionOf(name, text) }];
      }),
  );
}

let started = 0;

/** @param {Test} test @param {string | undefined} preload @returns {Promise<Outcome>} */
function run(test, preload) {
  const own = join(scratch, `run-${started++}`);
  mkdirSync(own, { recursive: true });
  return new Promise((done) => {
    const extra = preload === undefined ? [] : ['--import', preload];
    const child = spawn(process.execPath, [...test.flags, ...extra, test.file], {
      cwd: own,
      env: { PATH: process.env.PATH, NODE_TEST_DIR: own, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output = (output + text).slice(-8_000);
      });
    }
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      rmSync(own, { recursive: true, force: true });
      const line = output.split('\n').find((each) => /^\w*(Error|Assertion)\b.*|^Mismatched|^Error/.test(each.trim()));
      const why = isLate
        ? 'does not end'
        : (line ?? output.trim().split('\n').at(-1) ?? `${signal ?? code}`).trim().slice(0, 120);
      done({ ok: code === 0 && !isLate, why, output });
    });
  });
}

/** Calls `work` for all of them, `jobs` at a time. @template T @param {readonly T[]} all @param {(one: T) => Promise<void>} work */
async function each(all, work) {
  const queue = [...all];
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
    }),
  );
}

const tests = findTests(testFolder(resolve(values.tests)));
if (tests.length === 0) {
  console.error('no file of that name');
  process.exit(2);
}
const runs = tests
  .filter(({ excluded }) => excluded === undefined)
  .flatMap((test) => {
    const ways = values.way !== undefined ? [values.way] : test.area === 'net' ? ['net', 'bound'] : ['bound'];
    return ways.filter((way) => way === 'bound' || test.area === 'net').map((way) => ({ way, test }));
  });
console.error(
  `${tests.length} files, ${tests.length - new Set(runs.map(({ test }) => test)).size} left out, ${runs.length} runs`,
);

/** @type {Map<Test, Promise<Outcome>>} */
const onNode = new Map();
/** @type {{ way: string, test: Test, outcome: Outcome }[]} */
const results = [];
await each(runs, async ({ way, test }) => {
  let outcome = await run(test, PRELOADS[way]);
  if (!outcome.ok) {
    // A test that Node itself fails here does not count.
    if (!onNode.has(test)) onNode.set(test, run(test, undefined));
    const plain = await onNode.get(test);
    if (!plain?.ok) test.excluded = 'fails or is skipped with an error on Node itself here';
    // The failure may be due to a busy machine: try again.
    else outcome = await run(test, PRELOADS[way]);
  }
  results.push({ way, test, outcome });
  if (test.excluded === undefined && !outcome.ok) {
    console.error(`${way} ${test.name}: ${outcome.why}`);
    if (values.verbose) console.error(outcome.output);
  }
});

const counted = results.filter(({ test }) => test.excluded === undefined);
const percent = (part, whole) => (whole === 0 ? '' : `${Math.floor((100 * part) / whole)} %`);
const rows = Object.keys(WAYS).flatMap((way) =>
  AREAS.map((area) => {
    const all = counted.filter((result) => result.way === way && result.test.area === area);
    return { way, area, passed: all.filter(({ outcome }) => outcome.ok).length, all: all.length };
  }).filter(({ all }) => all > 0),
);
if (values.markdown) {
  console.log('| way | files | run | pass | score |\n| --- | --- | ---: | ---: | ---: |');
  for (const { way, area, passed, all } of rows) {
    console.log(`| ${WAYS[way]} | \`test-${area}-*\` | ${all} | ${passed} | ${percent(passed, all)} |`);
  }
  console.log('\n## Left out\n');
  const reasons = Map.groupBy?.(tests, ({ excluded }) => excluded) ?? groupBy(tests, ({ excluded }) => excluded);
  for (const [reason, left] of reasons) {
    if (reason === undefined) continue;
    console.log(`- ${reason}: ${left.length}. ${left.map(({ name }) => short(name)).join(', ')}`);
  }
  console.log('\n## What fails\n\n| way | file | how |\n| --- | --- | --- |');
  for (const { way, test, outcome } of counted.sort((a, b) => (a.way + a.test.name < b.way + b.test.name ? -1 : 1))) {
    if (!outcome.ok) console.log(`| ${way} | ${short(test.name)} | ${outcome.why.replaceAll('|', '\\|')} |`);
  }
} else {
  for (const { way, area, passed, all } of rows) {
    console.log(`${way.padEnd(6)} test-${`${area}-*`.padEnd(8)} ${passed} of ${all}, ${percent(passed, all)}`);
  }
}
if (rows.some(({ passed, all }) => (100 * passed) / all < Number(values.least))) process.exitCode = 1;

/** @param {string} name */
function short(name) {
  return name.replace(/^test-/, '').replace(/\.js$/, '');
}

/** @template T, K @param {readonly T[]} all @param {(one: T) => K} keyOf @returns {Map<K, T[]>} */
function groupBy(all, keyOf) {
  /** @type {Map<K, T[]>} */
  const groups = new Map();
  for (const one of all) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one]);
  return groups;
}
