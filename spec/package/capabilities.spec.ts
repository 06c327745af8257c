// The table of capabilities: each row has a spec, and each spec is there.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const page = readFileSync(join(ROOT, 'docs/capabilities.md'), 'utf8');
const [shown] = page.split('## Deliberately not');
const rows = (shown as string).split('\n').filter((line) => /^\| (?!capability|---)/.test(line));

describe('the table of capabilities', () => {
  it('names a spec for each of them', () => {
    expect(rows.length).toBeGreaterThan(30);
    expect(rows.filter((row) => !/`spec\/[\w/.-]+\.spec\.ts` *\|$/.test(row))).toEqual([]);
  });

  it('names specs that exist', () => {
    const named = [...page.matchAll(/`(spec\/[\w/.-]+\.spec\.ts)`/g)].map(([, path]) => path as string);
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});
