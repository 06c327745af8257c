// The lint rule that keeps the control plane simulable really fires: a broken file of each kind, linted with the
// configuration of the repository.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const FORBIDDEN = [
  'export const at = Date.now();',
  'export const at = new Date();',
  'export const at = performance.now();',
  'export const at = process.hrtime();',
  "import { performance } from 'node:perf_hooks';\nexport const at = performance;",
  'export const chance = Math.random();',
  "import { randomBytes } from 'node:crypto';\nexport const chance = randomBytes(1);",
  'export const chance = crypto.randomUUID();',
  "import { v4 } from 'uuid';\nexport const chance = v4();",
  'setTimeout(() => {}, 1);',
  'export const later = setInterval;',
  'setImmediate(() => {});',
  'globalThis.setTimeout(() => {}, 1);',
  'process.nextTick(() => {});',
];

const ALLOWED = `import type { Timers } from '../util/timers.js';

export function later(timers: Timers, random: () => number): number {
  timers.clock.setImmediate(() => {});
  timers.clock.setTimeout(() => {}, 1);
  return timers.now() + Math.floor(random());
}
`;

describe('the control plane', () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pure-mesh-'));
    mkdirSync(join(folder, 'lib/mesh'), { recursive: true });
    for (const file of ['biome.json', 'lib/mesh/pure.grit']) cpSync(join(ROOT, file), join(folder, file));
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  /** The complaints of the rule. */
  function lint(files: ReadonlyMap<string, string>): string {
    for (const [name, text] of files) writeFileSync(join(folder, name), text);
    const args = ['lint', '--max-diagnostics=none', '--reporter=github', ...files.keys()];
    try {
      return execFileSync(join(ROOT, 'node_modules/.bin/biome'), args, {
        cwd: folder,
        encoding: 'utf8',
        stdio: 'pipe',
      });
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  }

  it('may take time and randomness only from its arguments', () => {
    const files = new Map(FORBIDDEN.map((text, index) => [`lib/mesh/forbidden-${index}.ts`, `${text}\n`]));
    const complaints = lint(files);
    const missed = [...files].filter(([name]) => !complaints.includes(`/${name},`)).map(([, text]) => text);
    expect(missed).toEqual([]);
    expect(complaints).toContain('takes time from its Timers');
  });

  it('may use its arguments', () => {
    expect(lint(new Map([['lib/mesh/allowed.ts', ALLOWED]]))).not.toContain('file=');
  });

  it('is the only part that the rule applies to', () => {
    expect(lint(new Map([['lib/other.ts', 'export const at = Date.now();\n']]))).not.toContain('file=');
  });
});
