import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { documentsWithTables, SCHEMA_FILE, schemaText } from '../scripts/docs-tables.js';

const ROOT = new URL('../', import.meta.url);

describe('the tables from the code in the documentation', () => {
  it.each([...documentsWithTables(ROOT)])('are up to date in %s, or else run `npm run docs:tables`', (file, text) => {
    expect(readFileSync(new URL(file, ROOT), 'utf8')).toBe(text);
  });

  it('and so is the schema of the configuration file', async () => {
    expect(readFileSync(new URL(SCHEMA_FILE, ROOT), 'utf8')).toBe(await schemaText());
  });
});
