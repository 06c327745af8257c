// The library as JavaScript that a process of its own can load, for specs about whole processes.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformFileSync } from '@swc/core';
import { Child } from './child.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** Below node_modules, so that the packages it imports are found. */
const OUT = join(ROOT, 'node_modules/.cache', `starlane-spec-${process.pid}`);

let built = false;

function build(): void {
  if (built) return;
  built = true;
  process.once('exit', () => rmSync(OUT, { recursive: true, force: true }));
  const sources = readdirSync(join(ROOT, 'lib'), { recursive: true }).map(String);
  for (const source of sources.filter((name) => name.endsWith('.ts'))) {
    const { code } = transformFileSync(join(ROOT, 'lib', source), {
      swcrc: false,
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript' },
        transform: { useDefineForClassFields: false },
      },
      module: { type: 'es6' },
    });
    const target = join(OUT, source.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, code);
  }
  writeFileSync(join(OUT, 'package.json'), '{"type":"module"}');
}

/** Runs an unchanged program under the preload, with `say` as it has it in {@link runProgram}. */
export function runPreloaded(kind: 'module' | 'commonjs', body: string, env: Record<string, string>): Child {
  build();
  const preload = pathToFileURL(join(OUT, 'register.js')).href;
  const program = `const say = (line) => console.log(JSON.stringify(line));\n${body}`;
  return new Child(process.execPath, ['--import', preload, `--input-type=${kind}`, '--eval', program], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...env },
  });
}

/** Runs the body of a module in a process of its own. It has `starlane`, and `say(object)`, which sends the spec a line. */
export function runProgram(body: string): Child {
  build();
  const program = `
    import * as starlane from ${JSON.stringify(pathToFileURL(join(OUT, 'index.js')).href)};
    const say = (line) => console.log(JSON.stringify(line));
    ${body}`;
  return new Child(process.execPath, ['--input-type=module', '--eval', program], {
    env: { PATH: process.env['PATH'] },
  });
}
