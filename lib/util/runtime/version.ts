// The version of this package.

import { readFileSync } from 'node:fs';

/** The file is above dist and above lib, in which modules lie at different depths. */
const MAX_LEVELS = 5;

let known: string | undefined;

/** Returns the version in package.json; `unknown` in a program that is bundled into one file. */
export function packageVersion(): string {
  known ??= find() ?? 'unknown';
  return known;
}

function find(): string | undefined {
  for (let level = 1; level <= MAX_LEVELS; level++) {
    try {
      const text = readFileSync(new URL(`${'../'.repeat(level)}package.json`, import.meta.url), 'utf8');
      const { name, version } = JSON.parse(text) as { name?: unknown; version?: unknown };
      if (name === 'starlane' && typeof version === 'string') return version;
    } catch {
      // Not there, or another one.
    }
  }
  return undefined;
}
