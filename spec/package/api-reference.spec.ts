// docs/api.md names everything that a user can import, every public member and option of it and every event, and nothing else.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from '@jest/globals';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');

/** The file behind each entry point that is described. */
const ENTRIES: Readonly<Record<string, string>> = {
  starlane: 'lib/index.ts',
  'starlane/mux': 'lib/mux/index.ts',
  'starlane/http': 'lib/http/index.ts',
  'starlane/members': 'lib/members/index.ts',
  'starlane/messages': 'lib/messages/index.ts',
};

interface Export {
  readonly kind: string;
  readonly members: readonly string[];
}

interface Inventory {
  readonly inventory: Readonly<Record<string, Readonly<Record<string, Export>>>>;
  readonly node: Readonly<Record<string, readonly string[]>>;
}

/** What the page says about an entry point. */
interface Part {
  /** Names in the second column of the table of exports. */
  readonly exports: readonly string[];
  /** Names in the first column below each heading, and the types whose members the section shares. */
  readonly sections: ReadonlyMap<string, { readonly members: readonly string[]; readonly shared: readonly string[] }>;
}

/** The names at the start of code spans: `dial(address)` is `dial`, `'link'` is `link`. */
function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`'?(\[Symbol\.\w+\]|~?\w+)[^`]*`/g)].map(([, name]) => name as string);
}

function cellsOf(text: string, column: number): string[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .flatMap((line) => namesIn(line.split(/(?<!\\)\|/)[column + 1] ?? ''));
}

function readPart(page: string, entry: string): Part {
  const text = new RegExp(`^## ${entry}\n(.*?)(?=^## |$(?![^]))`, 'ms').exec(page)?.[1] ?? '';
  const [head = '', ...rest] = text.split(/^### /m);
  const sections = rest.map((section) => {
    const shared = [...section.matchAll(/^Has all members of \[(\w+)\]/gm)].map(([, name]) => name as string);
    return [/^\w+/.exec(section)?.[0] ?? '', { members: cellsOf(section, 0), shared }] as const;
  });
  return { exports: cellsOf(head, 1), sections: new Map(sections) };
}

const page = readFileSync(join(ROOT, 'docs/api.md'), 'utf8');
let inventory: Inventory;

beforeAll(() => {
  const compiler = join(ROOT, 'node_modules/typescript-between/lib/typescript.js');
  const args = [join(HERE, 'api-inventory.mjs'), compiler, ...Object.values(ENTRIES)];
  inventory = JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 24 }));
}, 60_000);

/** The members of an export that the page has to describe: Node describes those that it has as well. */
function membersOf(entry: string, name: string): readonly string[] {
  const { members } = inventory.inventory[ENTRIES[entry] as string]?.[name] ?? { members: [] };
  return members.filter((member) => inventory.node[name]?.includes(member) !== true);
}

describe.each(Object.keys(ENTRIES))('the reference of %s', (entry) => {
  const part = readPart(page, entry);
  const exported = (): Readonly<Record<string, Export>> => inventory.inventory[ENTRIES[entry] as string] ?? {};

  it('lists what can be imported, and nothing else', () => {
    expect([...part.exports].sort()).toEqual(Object.keys(exported()).sort());
  });

  it('has a section for every export with members', () => {
    const described = [...part.sections.keys()].sort();
    const needed = Object.keys(exported()).filter((name) => membersOf(entry, name).length > 0);
    expect(described.filter((name) => exported()[name] === undefined)).toEqual([]);
    // These are the same wherever they are exported.
    const elsewhere = entry === 'starlane' ? [] : ['StarlaneError', 'MemberInfo', 'MemberRights'];
    expect(needed.filter((name) => !described.includes(name) && !elsewhere.includes(name))).toEqual([]);
  });

  it('names every member, option and event in the section of its type, and none that does not exist', () => {
    const faults: Record<string, { missing: string[]; unknown: string[] }> = {};
    for (const [name, { members, shared }] of part.sections) {
      const said = new Set([...members, ...shared.flatMap((other) => membersOf(entry, other))]);
      const real = membersOf(entry, name);
      const missing = real.filter((member) => !said.has(member));
      const unknown = [...said].filter((member) => !real.includes(member));
      if (missing.length + unknown.length > 0) faults[name] = { missing, unknown };
    }
    expect(faults).toEqual({});
  });
});

it('the reference has a part for every entry point of the package', () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: object };
  const entries = Object.keys(exports).filter((name) => !name.endsWith('.json'));
  const parts = entries.map((name) => name.replace(/^\./, 'starlane'));
  expect(parts.filter((name) => !page.includes(`\n## ${name}\n`))).toEqual([]);
});
