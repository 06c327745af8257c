// The programs in examples, as a user runs them: with the package beside them.

import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { REDIS } from '../clients/redis-server.js';
import { describeWithPrograms } from '../clients/server-program.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const EXAMPLES = join(ROOT, 'examples');
const APP = join(ROOT, 'node_modules/.cache', `starlane-examples-${process.pid}`);
const STARLANE = join(APP, 'node_modules/starlane');
const { version: VERSION } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

/** How long an example may take on a busy machine. Alone, each takes 1 to 5 s. */
const DEADLINE_MS = 60_000;

const OUTPUT: Readonly<Record<string, string>> = {
  'echo.mjs': 'echoed: hello\n',
  'http-by-name.mjs': 'you asked for /news\n',
  'relay.mjs': 'through 1 relay\nit is half past eight\n',
  'secret.mjs':
    'tls://127.0.0.1:PORT\nverified: true, encrypted from end to end: true\nfound gold\nrefused: ERR_STARLANE_SECRET\n',
  'drop-in.mjs': 'I listen at port N\nI listen at port 7000\n',
  'fetch.mjs': `200 { method: 'DELETE', url: '/orders/7' }
ENOTFOUND no instance of the service can be dialled from here: 1 other node and 1 service are known; similar: api
`,
  'chat.mjs': `[ 'ann: is anybody here?', 'ann: is anybody here?' ]
[ 'ben: yes, I am', 'ben: yes, I am' ]
`,
  'members.mjs': `enrolled: till-1, tags shop
orders: orders for till-1
salaries: EACCES
enrolled again: ERR_STARLANE_TOKEN_USED
members: [ 'office' ]
`,
  'failover.mjs': `any broker answers: true
broker 1 answers: 1
with the primary: db-primary
without it: db-replica
most users get web-v1: true - some get web-v2: true
user 7 gets the same one each time: true
`,
  'resilience.mjs': `40 dials, answered by Set(1) { 'good' } - refusals: 3 - ejections: 1
dial failed: ECONNREFUSED - cause: undefined
dial failed: ECONNREFUSED - cause: undefined
warning: ERR_STARLANE_BREAKER_OPEN
dial failed: ECONNREFUSED - cause: undefined
dial failed: ECONNREFUSED - cause: ERR_STARLANE_BREAKER_OPEN
20 dials, answered by Set(1) { 'quick' } in less than 3 s: true
`,
  'graceful-restart.mjs': 'v1 serves\nv2 serves, and v1 no more: true\nfailed requests: 0\n',
  'topics.mjs': `orders.new 1, orders.new 2, orders.new 3, orders.new 4, orders.new 5, orders.new 6
packed once each: 1, 2, 3, 4, 5, 6
tea: { left: 7 }
ERR_STARLANE_NO_HANDLER not-handled
`,
  'edge.mjs': `200 /news for 127.0.0.1 by http
404${' '}
200 /status for 127.0.0.1 by http
the monitor shows [ 'secrets', 'web' ]
starlane_links 1
the access log has [
  'GET web.example.test/news 200 web',
  'GET secrets.example.test/ 404 -',
  'GET other.test/status 200 web'
]
`,
  'health.mjs': `api: version ${VERSION}, ready
db: version ${VERSION}, ready
web: version ${VERSION}, ready
web has seen that nobody offers api any more
api: version ${VERSION}, not ready: the node is draining
db: ETIMEDOUT
web: version ${VERSION}, ready
`,
  'api.mjs': `{ greeting: 'hello Ada' }
G
A
ERR_STARLANE_SCHEMA not-handled [ 'name' ]
{ greeting: 'hallo Ada' }
[ '/hello', '/initials' ]
hello {"greeting":"hello Grace"}
`,
  'nestjs.mjs': `sum: 6
countdown: [ 3, 2, 1, 0 ]
event: hello
error: no division by zero
error: There is no matching message handler for {"cmd":"nothing"}
ticks: [ 0, 1 ]
the server has stopped ticking
`,
  'trpc.mjs': `hello Ada
orders: 1 2 - by this node: true
error: BAD_REQUEST
error: BAD_REQUEST
error: NOT_FOUND
countdown: [ 3, 2, 1, 0 ]
aborted here: TRPCClientError
aborted at the server
`,
  'broadcast.mjs': `ann: [ 'the shop is open' ] eve: [ 'the shop is open' ] cat: []
without a link: [ 'the shop is open' ]
with another one: [ 'the shop is open', 'bread is sold out' ]
`,
  'command.mjs': `forward: you asked for /news
gateway: you asked for /news
tasks: [ 'forward ./web-here.sock', 'gateway' ]
members: 2
exit code 0
exit code 0
`,
};

const OUTPUT_WITH_REDIS: Readonly<Record<string, string>> = {
  'database.mjs': "[ 'Mercury', 'Venus', 'Earth' ]\nport of Redis: 0\n",
};

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, in a process group: at the deadline, what it has started ends with it. */
function run(command: string, args: readonly string[], cwd: string): Promise<Ran> {
  return new Promise((done, reject) => {
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const text = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        text[name] += chunk;
      });
    }
    const timer = setTimeout(() => process.kill(-(child.pid as number), 'SIGKILL'), DEADLINE_MS);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      done({ code, ...text });
    });
  });
}

beforeAll(async () => {
  mkdirSync(STARLANE, { recursive: true });
  cpSync(EXAMPLES, APP, { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(STARLANE, 'package.json'));
  const bundled = await run('npm', ['run', '--silent', 'bundle', '--', `--outdir=${join(STARLANE, 'dist')}`], ROOT);
  expect(bundled).toMatchObject({ code: 0 });
}, DEADLINE_MS + 5_000);

afterAll(() => rmSync(APP, { recursive: true, force: true }));

function itRuns(outputs: Readonly<Record<string, string>>): void {
  it.each(Object.entries(outputs))(
    '%s says what it shows, and ends',
    async (name, stdout) => {
      expect(await run(process.execPath, [name], APP)).toEqual({ code: 0, stdout, stderr: '' });
    },
    DEADLINE_MS + 5_000,
  );
}

describe('the examples', () => {
  itRuns(OUTPUT);

  it('are all run, and all in the table of their README, with the line that runs them at the top', () => {
    const programs = readdirSync(EXAMPLES).filter((name) => name.endsWith('.mjs'));
    expect(programs.sort()).toEqual([...Object.keys(OUTPUT), ...Object.keys(OUTPUT_WITH_REDIS)].sort());
    const table = [...readFileSync(join(EXAMPLES, 'README.md'), 'utf8').matchAll(/^\| \[([\w-]+\.mjs)\]\(\1\)/gm)];
    expect(table.map(([, name]) => name).sort()).toEqual(programs);
    for (const name of programs) {
      const head = readFileSync(join(EXAMPLES, name), 'utf8').split('\n\n')[0];
      expect(head).toMatch(new RegExp(`^// .*\n(?://.*\n)*// +node examples/${name}$`));
    }
  });
});

describeWithPrograms('the example with a database', REDIS, () => itRuns(OUTPUT_WITH_REDIS));
