// Every limit is documented, with what happens beyond it, and is reached by a spec.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ERRORS } from '../../lib/errors.js';
import { LIMITS } from '../../lib/options/limits.js';

const ROOT = new URL('../../', import.meta.url);

function textOf(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8');
}

/** Rows of the table of limits of nodes, by option. */
const rows = new Map(
  (/<!-- table: limits -->([\s\S]*?)<!-- end -->/.exec(textOf('SECURITY.md'))?.[1] ?? '')
    .split('\n')
    .map((line) => /^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (.+) \| (.+) \|$/.exec(line))
    .filter((row) => row !== null)
    .map(([, option, ...cells]) => [option, cells] as const),
);

describe('the table of limits in SECURITY.md', () => {
  it('has the end of each, with codes that exist', () => {
    for (const [option, [, , , what, end]] of rows) {
      expect({ option, length: what.length > 10 && end.length > 7 }).toEqual({ option, length: true });
      for (const [, code] of end.matchAll(/`(E\w+)`/g)) expect(Object.keys(ERRORS)).toContain(code);
    }
  });
});

describe('every limit', () => {
  it('is documented with its range and default', () => {
    const source = textOf('lib/options/limits.ts');
    for (const [option, [normal, least, most]] of LIMITS) {
      const comment = new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s+${option}: number;`).exec(source)?.[1] ?? '';
      const said = comment.replace(/\s+\*\s+/g, ' ');
      expect({ option, range: said.includes(`${least} to ${most}`) }).toEqual({ option, range: true });
      expect({ option, normal: said.includes(`Default ${normal}`) }).toEqual({ option, normal: true });
    }
  });

  it('is set by a spec', () => {
    const specs = readdirSync(new URL('spec', ROOT), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.spec.ts') && !/^options\/(options|limits)\.spec\.ts$/.test(file))
      .map((file) => textOf(join('spec', file)))
      .join('\n');
    const unreached = [...LIMITS.keys()].filter((option) => !new RegExp(`\\b${option}['"]?[:,]`).test(specs));
    expect(unreached).toEqual([]);
  });
});
