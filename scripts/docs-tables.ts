// Writes what the documentation has from the code: `npm run docs:tables`. That is the tables of errors, limits and commands, and the schema of
// the configuration file. What a row says in words stays as it is; a spec fails when something is not up to date.

import { readFileSync, writeFileSync } from 'node:fs';
import { CATALOG, loadCommands } from '../lib/cli/catalog.js';
import { jsonSchemaOf } from '../lib/cli/config/schema.js';
import { ERRORS } from '../lib/errors.js';
import { LIMITS, type NodeLimits } from '../lib/options/limits.js';

type Limit = readonly [normal: number, min: number, max: number];

/** Limits that no peer can reach: waits of the node itself. */
const OWN_WAITS: ReadonlySet<keyof NodeLimits> = new Set(['dialTimeoutMs', 'rejoinMinMs', 'rejoinMaxMs']);

const MIB = 1024 * 1024;

/** Each file with the tables in it, by the name of their marker. */
const TABLES: Readonly<Record<string, Readonly<Record<string, (rows: string[]) => string[]>>>> = {
  'docs/api.md': { errors: errorRows, options: optionRows },
  'SECURITY.md': { limits: limitRows },
  'docs/command.md': { commands: commandRows },
};

/** Returns the text of every file with its tables made from the code. @throws when a limit has no row, or a row no limit */
export function documentsWithTables(root: URL): Map<string, string> {
  const documents = new Map<string, string>();
  for (const [file, tables] of Object.entries(TABLES)) {
    let text = readFileSync(new URL(file, root), 'utf8');
    for (const [name, rowsOf] of Object.entries(tables)) text = withTable(file, text, name, rowsOf);
    documents.set(file, text);
  }
  return documents;
}

/** The file with the schema of starlane.yaml. */
export const SCHEMA_FILE = 'docs/starlane.schema.json';

/** Returns the text of {@link SCHEMA_FILE}. */
export async function schemaText(): Promise<string> {
  return `${JSON.stringify(jsonSchemaOf(await loadCommands()), null, 1)}\n`;
}

/** Replaces the rows of the table between `<!-- table: name -->` and `<!-- end -->`. */
function withTable(file: string, text: string, name: string, rowsOf: (rows: string[]) => string[]): string {
  const begin = `<!-- table: ${name} -->\n`;
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf('<!-- end -->', from);
  if (from < begin.length || to < 0) throw new Error(`${file} has no markers for the table of ${name}`);
  const [heads, line, ...rows] = text.slice(from, to).trimEnd().split('\n');
  return `${text.slice(0, from)}${[heads, line, ...rowsOf(rows)].join('\n')}\n${text.slice(to)}`;
}

function commandRows(): string[] {
  return CATALOG.map(({ name, summary }) => `| \`${name}\` | ${summary} |`);
}

function errorRows(): string[] {
  return Object.entries(ERRORS).map(([code, { message }]) => `| \`${code}\` | ${message} |`);
}

/** The defaults of limits; all other rows stay. */
function optionRows(rows: string[]): string[] {
  const missing = new Set<string>(LIMITS.keys());
  const written = rows.map((row) => {
    const [, names = '', , meaning = ''] = row.split('|').map((cell) => cell.trim());
    const options = [...names.matchAll(/`(\w+)`/g)].map(([, option]) => option as keyof NodeLimits);
    const limits = options.map((option) => LIMITS.get(option));
    if (!limits.every((limit) => limit !== undefined)) return row;
    for (const option of options) missing.delete(option);
    const defaults = limits.map(([normal], index) => shownDefault(options[index], normal));
    return `| ${names} | ${defaults.join(', ')} | ${meaning} |`;
  });
  if (missing.size > 0) throw new Error(`the table of options lacks ${[...missing].join(', ')}`);
  return written;
}

function shownDefault(option: string, normal: number): string {
  if (!option.endsWith('Bytes')) return normal.toLocaleString('en-US');
  return normal % MIB === 0 ? `${normal / MIB} MiB` : `${normal / 1024} KiB`;
}

function limitRows(rows: string[]): string[] {
  const missing = new Set<string>([...LIMITS.keys()].filter((option) => !OWN_WAITS.has(option)));
  const written = rows.map((row) => {
    const [, name = '', , , , what, end] = row.split('|').map((cell) => cell.trim());
    const option = name.replaceAll('`', '') as keyof NodeLimits;
    if (!missing.delete(option)) throw new Error(`the table of limits has a row for ${option}`);
    const [normal, min, max] = LIMITS.get(option) as Limit;
    return `| \`${option}\` | ${normal} | ${min} | ${max} | ${what} | ${end} |`;
  });
  if (missing.size > 0) throw new Error(`the table of limits lacks ${[...missing].join(', ')}`);
  return written;
}

if (process.argv[1]?.endsWith('docs-tables.mjs')) {
  const root = new URL('../', import.meta.url);
  for (const [file, text] of documentsWithTables(root)) writeFileSync(new URL(file, root), text);
  writeFileSync(new URL(SCHEMA_FILE, root), await schemaText());
}
