// Programs that are bundled into one file with the library, as for a container image or a function in the cloud, where there is
// no node_modules beside them.

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');
/** The project of a user, with the package in its node_modules. Below ours, where the bundlers are. */
const APP = join(ROOT, 'node_modules/.cache', `starlane-bundled-${process.pid}`);
const STARLANE = join(APP, 'node_modules/starlane');
/** Where the bundle runs: a folder that leads to no node_modules. */
let elsewhere: string;

function run(command: string, args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<string> {
  return new Promise((done, reject) => {
    execFile(command, args, { cwd, env: { PATH: process.env['PATH'], ...env } }, (error, stdout, stderr) =>
      error === null ? done(stdout) : reject(new Error(`${error.message}\n${stdout}${stderr}`)),
    );
  });
}

beforeAll(async () => {
  elsewhere = mkdtempSync(join(tmpdir(), 'starlane-bundled-'));
  mkdirSync(STARLANE, { recursive: true });
  // Else the name would lead to the project itself, and to what was built there last.
  writeFileSync(join(APP, 'package.json'), '{"private":true,"type":"module"}');
  cpSync(join(HERE, 'bundled'), APP, { recursive: true });
  cpSync(join(HERE, 'bundle.mjs'), join(APP, 'bundle.mjs'));
  cpSync(join(ROOT, 'package.json'), join(STARLANE, 'package.json'));
  await run('npm', ['run', '--silent', 'bundle', '--', `--outdir=${join(STARLANE, 'dist')}`], ROOT);
}, 60_000);

afterAll(() => {
  rmSync(APP, { recursive: true, force: true });
  rmSync(elsewhere, { recursive: true, force: true });
});

const FORMATS = ['esm', 'cjs'] as const;

describe.each(['esbuild', 'rollup', 'webpack'])('a bundle by %s', (bundler) => {
  beforeAll(() => run(process.execPath, ['bundle.mjs', bundler, elsewhere, 'app.mjs', 'preloaded.mjs'], APP), 60_000);

  function start(program: string, format: (typeof FORMATS)[number], env: Record<string, string> = {}): Promise<string> {
    return run(process.execPath, [`${bundler}-${program}.${format === 'esm' ? 'mjs' : 'cjs'}`], elsewhere, env);
  }

  it.each(FORMATS)('runs as %s', async (format) => {
    expect(JSON.parse(await start('app', format))).toEqual(['a page', 'StarlaneError', 'Session']);
  });

  it.each(FORMATS)('runs as %s with DEBUG, for which there is no package beside it', async (format) => {
    const output = await start('app', format, { DEBUG: 'starlane:*' });
    expect(JSON.parse(output)).toEqual(['a page', 'StarlaneError', 'Session']);
  });

  it.each(FORMATS)('keeps the preload as %s', async (format) => {
    const output = await start('preloaded', format, { STARLANE_JOIN: 'tcp://127.0.0.1:9' });
    expect(JSON.parse(output)).toEqual([null, '198.18']);
  });
});
