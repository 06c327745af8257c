// The library as JavaScript that a separate process can load, for specs about whole processes.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Child } from './child.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
/** Below node_modules, so that the packages it imports are found. */
const CACHE = join(ROOT, 'node_modules/.cache');
const PREFIX = 'starlane-spec-';
const HOUR_MS = 60 * 60 * 1000;

let out: string | undefined;

/** The folder with the library as it is now. Made once for all spec files, since its name depends on its content. */
function build(): string {
  if (out !== undefined) return out;
  const sources = readdirSync(join(ROOT, 'lib'), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ name, text: readFileSync(join(ROOT, 'lib', name), 'utf8') }));
  const hash = createHash('sha256').update(JSON.stringify(sources)).digest('hex').slice(0, 16);
  out = join(CACHE, PREFIX + hash);
  if (existsSync(out)) return out;
  removeOld();
  const making = `${out}-${process.pid}`;
  // A bundle loads in half the time, and there are hundreds of processes.
  execFileSync('npm', ['run', '--silent', 'bundle', '--', `--outdir=${making}`], { cwd: ROOT });
  writeFileSync(join(making, 'package.json'), '{"type":"module"}');
  try {
    renameSync(making, out);
  } catch {
    // Another worker was faster.
    rmSync(making, { recursive: true, force: true });
  }
  return out;
}

/** Builds of other states of the library; not those that another run may be using. */
function removeOld(): void {
  if (!existsSync(CACHE)) return;
  for (const name of readdirSync(CACHE)) {
    const path = join(CACHE, name);
    if (!name.startsWith(PREFIX) || Date.now() - statSync(path).mtimeMs < HOUR_MS) continue;
    rmSync(path, { recursive: true, force: true });
  }
}

/** Runs the file of a program under the preload, and the processes that it starts. */
export function runPreloadedFile(path: string, env: Record<string, string>): Child {
  const preload = pathToFileURL(join(build(), 'preload/index.js')).href;
  return new Child(process.execPath, ['--import', preload, path], { env: { PATH: process.env['PATH'], ...env } });
}

/** Runs an unchanged program under the preload, with `say` as it has it in {@link runProgram}. */
export function runPreloaded(kind: 'module' | 'commonjs', body: string, env: Record<string, string>): Child {
  const preload = pathToFileURL(join(build(), 'preload/index.js')).href;
  const program = `const say = (line) => console.log(JSON.stringify(line));\n${body}`;
  return new Child(process.execPath, ['--import', preload, `--input-type=${kind}`, '--eval', program], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], ...env },
  });
}

/** Returns the URL of a file of the built library, as `members/index.js`. */
export function builtUrl(path: string): string {
  return pathToFileURL(join(build(), path)).href;
}

/**
 * Runs the body of a module in a separate process. It has `starlane`, and `say(object)`, which sends the spec a line.
 * `enter` is a command that runs the command that follows it. `node`: the Node that runs it.
 */
export function runProgram(body: string, enter: readonly string[] = [], node = process.execPath): Child {
  const program = `
    import * as starlane from ${JSON.stringify(pathToFileURL(join(build(), 'index.js')).href)};
    const say = (line) => console.log(JSON.stringify(line));
    ${body}`;
  const [command, ...args] = [...enter, node, '--input-type=module', '--eval', program];
  return new Child(command, args, { env: { PATH: process.env['PATH'] } });
}
