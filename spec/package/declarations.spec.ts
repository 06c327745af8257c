// The declarations that the package ships, as programs of users see them: compiled by the oldest TypeScript that the README
// promises, by the newest, and by one between, which is the last before typed arrays became generic.

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');
const MODULES = join(ROOT, 'node_modules');
/** The project of a user. Below node_modules, so that the types of Node are found. */
const APP = join(MODULES, '.cache', `starlane-types-${process.pid}`);
const STARLANE = join(APP, 'node_modules/starlane');
const RESOLUTIONS = ['node16', 'nodenext', 'bundler'] as const;
const DEADLINE_MS = 120_000;

/** What a command prints, and how it ended. */
function run(args: readonly string[], cwd = APP): Promise<{ code: unknown; output: string }> {
  return new Promise((done) => {
    execFile(process.execPath, args, { cwd, maxBuffer: 1 << 24 }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : error.code, output: stdout + stderr }),
    );
  });
}

/** Compiles with the newest, which is a program only. */
async function newest(options: readonly string[], files: readonly string[], cwd = APP): Promise<string> {
  const strict = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--skipLibCheck',
    'false',
    '--pretty',
    'false',
  ];
  const { code, output } = await run(
    [join(MODULES, 'typescript/bin/tsc'), ...strict, '--target', 'es2023', ...options, ...files],
    cwd,
  );
  return code === 0 ? '' : output || `exit code ${code}`;
}

function moduleOptions(resolution: (typeof RESOLUTIONS)[number]): string[] {
  return ['--module', resolution === 'bundler' ? 'esnext' : resolution, '--moduleResolution', resolution];
}

/** Compiles with one that is a library, and has to check less: a list of faults for each resolution. */
async function older(compiler: string): Promise<unknown> {
  const path = join(MODULES, compiler, 'lib/typescript.js');
  const { output } = await run([join(HERE, 'compile.mjs'), path, RESOLUTIONS.join(), 'es2022', join(APP, 'app.ts')]);
  return JSON.parse(output);
}

function versionOf(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
}

beforeAll(async () => {
  mkdirSync(STARLANE, { recursive: true });
  cpSync(join(HERE, 'consumer'), APP, { recursive: true });
  // Else the name would lead to the project itself, and to what was built there last.
  writeFileSync(join(APP, 'package.json'), '{"private":true,"type":"module"}');
  cpSync(join(ROOT, 'package.json'), join(STARLANE, 'package.json'));
  const { code, output } = await run(
    [
      join(MODULES, 'typescript/bin/tsc'),
      ...['-p', 'tsconfig.json', '--emitDeclarationOnly', '--outDir', join(STARLANE, 'dist')],
    ],
    ROOT,
  );
  if (code !== 0) throw new Error(output);
}, DEADLINE_MS);

afterAll(() => rmSync(APP, { recursive: true, force: true }));

describe('the types of the package', () => {
  it.each(RESOLUTIONS)('compile with the newest TypeScript in %s resolution', async (resolution) => {
    expect(await newest([...moduleOptions(resolution), '--types', 'node'], ['app.ts'])).toBe('');
  });

  it.each(['typescript-oldest', 'typescript-between'])(
    'compile with %s in every resolution that has exports',
    async (compiler) => {
      expect(await older(compiler)).toEqual(RESOLUTIONS.map(() => []));
    },
    DEADLINE_MS,
  );

  it('compile where they are required', async () => {
    expect(await newest([...moduleOptions('nodenext'), '--types', 'node'], ['app.cts'])).toBe('');
  });

  it('ask for the types of Node themselves, which TypeScript 6 and later do not load unasked', async () => {
    expect(await newest([...moduleOptions('nodenext'), '--types', ''], ['app.cts'])).toBe('');
  });

  it('compile with the newest types of Node', async () => {
    mkdirSync(join(APP, 'node_modules/@types'), { recursive: true });
    symlinkSync(join(MODULES, 'types-node-newest'), join(APP, 'node_modules/@types/node'), 'dir');
    try {
      expect(await newest([...moduleOptions('nodenext'), '--types', 'node'], ['app.ts'])).toBe('');
    } finally {
      rmSync(join(APP, 'node_modules/@types'), { recursive: true });
    }
  });

  it('are whole in every file that is shipped, also in those that no entry leads to', async () => {
    const files = readdirSync(join(STARLANE, 'dist'), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith('.d.ts'));
    expect(files.length).toBeGreaterThan(100);
    expect(await newest([...moduleOptions('nodenext'), '--types', 'node'], files, join(STARLANE, 'dist'))).toBe('');
    // What the newest takes and older ones do not: a typed array with a parameter.
    const generic = files.filter((name) =>
      /\b(Uint|Int|Float|BigInt|BigUint)\d+(Clamped)?Array</.test(readFileSync(join(STARLANE, 'dist', name), 'utf8')),
    );
    expect(generic).toEqual([]);
  });

  it('are tested with the oldest TypeScript that the README names', () => {
    const [major, minor] = versionOf('typescript-oldest').split('.');
    const promised = readFileSync(join(ROOT, 'README.md'), 'utf8').match(/TypeScript (\S+) or later/)?.[1];
    expect(promised).toBe(`${major}.${minor}`);
    expect(versionOf('typescript-between')).toMatch(/^5\.6\./);
  });
});
