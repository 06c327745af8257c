// Wordings that the style of CONTRIBUTING.md rules out do not come back. The list is short: phrases that are never right here.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

/** Files that quote the phrases: this one, and the table of bad examples. */
const QUOTING: readonly string[] = ['spec/package/words.spec.ts', 'CONTRIBUTING.md'];

/** Each phrase with a plain replacement, which the failure shows. */
const PHRASES: ReadonlyArray<readonly [phrase: RegExp, instead: string]> = [
  [/\bfor ever\b/i, 'without limit, until ...'],
  [/\bwhoever\b/i, 'anyone who, the caller, the user'],
  [/(?<!\b(?:your|its|their|our|his|her|my|\w+'s)\s+)\bown PKI\b/i, 'your own PKI'],
  [/\bis told\b/i, 'gets, is notified, emits'],
  [/\bare told by\b/i, 'emits, is reported by'],
  [/\banew\b/i, 'again'],
  [/\bby and by\b/i, 'gradually'],
];

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const FOLDERS = ['lib', 'spec', 'bench', 'docs', 'examples'];
const TEXT = /\.(?:[cm]?[jt]s|md|go|c)$/;

const files = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((name) => TEXT.test(name) && !name.includes('node_modules')),
  ),
].filter((name) => !QUOTING.includes(name));

function faultsOf(name: string, text: string): string[] {
  return text.split('\n').flatMap((line, index) =>
    PHRASES.flatMap(([phrase, instead]) => {
      const found = phrase.exec(line)?.[0];
      return found === undefined ? [] : [`${name}:${index + 1}: '${found}' (better: ${instead})`];
    }),
  );
}

describe('the wording', () => {
  it('uses none of the phrases that are ruled out', () => {
    expect(files.flatMap((name) => faultsOf(name, readFileSync(join(ROOT, name), 'utf8')))).toEqual([]);
  });

  it('is checked for every phrase, and allows a possessive before own PKI', () => {
    const bad = [
      'waits for ever',
      'Whoever calls',
      'an own PKI',
      'it is told',
      'links are told by',
      'made anew',
      'by and by',
    ];
    expect(bad.flatMap((line) => faultsOf('bad', line))).toHaveLength(PHRASES.length);
    expect(faultsOf('good', 'certificates of your own PKI, renewed')).toEqual([]);
  });
});
