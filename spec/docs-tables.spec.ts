import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { documentsWithTables } from '../scripts/docs-tables.js';

const ROOT = new URL('../', import.meta.url);

describe('the tables of errors and limits in the documentation', () => {
  it.each([...documentsWithTables(ROOT)])('are up to date in %s, or else run `npm run docs:tables`', (file, text) => {
    expect(readFileSync(new URL(file, ROOT), 'utf8')).toBe(text);
  });
});
