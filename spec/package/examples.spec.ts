// The programs in examples, as a user runs them: with the package beside them.

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const APP = join(ROOT, 'node_modules/.cache', `starlane-examples-${process.pid}`);
const STARLANE = join(APP, 'node_modules/starlane');

const OUTPUT: Readonly<Record<string, string>> = {
  'echo.mjs': 'echoed: hello\n',
  'http-by-name.mjs': 'you asked for /news\n',
  'relay.mjs': 'through 1 relay\nit is half past eight\n',
  'secret.mjs':
    'tls://127.0.0.1:PORT\nverified: true, encrypted from end to end: true\nfound gold\nrefused: ERR_STARLANE_SECRET\n',
  'drop-in.mjs': 'I listen at port N\nI listen at port 7000\n',
};

function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((done, reject) => {
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
    execFile(command, args, { cwd, env, timeout: 20_000 }, (error, stdout, stderr) =>
      error === null ? done(stdout + stderr) : reject(new Error(`${error.message}\n${stdout}${stderr}`)),
    );
  });
}

beforeAll(async () => {
  mkdirSync(STARLANE, { recursive: true });
  cpSync(join(ROOT, 'examples'), APP, { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(STARLANE, 'package.json'));
  await run('npm', ['run', '--silent', 'bundle', '--', `--outdir=${join(STARLANE, 'dist')}`], ROOT);
}, 60_000);

afterAll(() => rmSync(APP, { recursive: true, force: true }));

it.each(Object.entries(OUTPUT))('%s says what it shows, and ends', async (name, output) => {
  expect(await run(process.execPath, [name], APP)).toBe(output);
});

it('every example is run', () => {
  const programs = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.mjs'));
  expect(programs.sort()).toEqual(Object.keys(OUTPUT).sort());
});
