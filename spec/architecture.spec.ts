// The layers of the source: which folder may import which, how many files a folder holds, and what the package exports.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import * as index from '../lib/index.js';
import * as mux from '../lib/mux/index.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
/** Words that do not describe the content of a file. */
const EMPTY_NAMES = /^(manager|helpers?|common|misc|info|utils?|types?|data|base)$/;

/** An import or export of nothing but types. */
const TYPES_ONLY = /^(?:import|export) (?:type\b|\{(?:\s*type [^,}]*,?)+\s*\})/;
/** Files that a folder holds at most, besides its sub-folders. */
const MAX_FILES = 18;

interface Layer {
  readonly rank: number;
  readonly name: string;
}

/** The rank of each folder. A file imports only from lower ranks and from its own folder. */
const LAYERS: ReadonlyArray<[RegExp, Layer]> = [
  [/^(util\/|errors\.ts$|address\.ts$|options\/)/, { rank: 0, name: 'foundation' }],
  [/^wire\//, { rank: 1, name: 'wire' }],
  [/^identity\//, { rank: 2, name: 'identity' }],
  [/^access\//, { rank: 2, name: 'access' }],
  [/^mux\//, { rank: 2, name: 'mux' }],
  [/^link\//, { rank: 3, name: 'link' }],
  [/^socket\//, { rank: 3, name: 'socket' }],
  [/^mesh\//, { rank: 4, name: 'mesh' }],
  [/^circuit\//, { rank: 5, name: 'circuit' }],
  [/^node\//, { rank: 6, name: 'node' }],
  [/^(index\.ts$|http\/|members\/|messages\/|preload\/)/, { rank: 7, name: 'edge' }],
  [/^cli\//, { rank: 8, name: 'cli' }],
];

/** What a layer must not know although its rank is lower. */
const BLIND: ReadonlyArray<[from: string, to: string]> = [['mesh', 'socket']];

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(join(ROOT, folder), join(entry.parentPath ?? entry.path, entry.name)));
}

function layerOf(file: string): Layer {
  const found = LAYERS.find(([pattern]) => pattern.test(file));
  if (found === undefined) throw new Error(`lib/${file} is in no layer`);
  return found[1];
}

/** Files of lib that a file imports: for types as well, or for values only. */
function importsOf(file: string, isForValues = false): string[] {
  const text = readFileSync(join(ROOT, 'lib', file), 'utf8');
  const found: string[] = [];
  for (const [statement, specifier] of text.matchAll(
    /^(?:import|export)\b[^;]*?\bfrom '([^']+)';|^import '([^']+)';/gms,
  )) {
    if (isForValues && TYPES_ONLY.test(statement)) continue;
    if (specifier?.startsWith('.')) found.push(join(dirname(file), specifier.replace(/\.js$/, '.ts')));
  }
  return found;
}

const files = sources('lib');
const graph = new Map(files.map((file) => [file, importsOf(file)]));
/** The same without imports of types, which are gone when the program runs. */
const values = new Map(files.map((file) => [file, importsOf(file, true)]));

describe('the layers', () => {
  it('hold every file, and every import is of a file that is there', () => {
    for (const [file, imports] of graph) {
      expect(() => layerOf(file)).not.toThrow();
      for (const imported of imports)
        expect({ file, imported, known: graph.has(imported) }).toMatchObject({ known: true });
    }
    expect(files.length).toBeGreaterThan(30);
  });

  it('import from lower ranks or from their own folder', () => {
    const wrong: string[] = [];
    for (const [file, imports] of graph) {
      for (const imported of imports) {
        const [from, to] = [layerOf(file), layerOf(imported)];
        if (from.name !== to.name && to.rank >= from.rank) wrong.push(`${file} imports ${imported}`);
        if (BLIND.some(([one, other]) => one === from.name && other === to.name))
          wrong.push(`${file} knows ${imported}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('have no import cycles of values', () => {
    const done = new Set<string>();
    const path: string[] = [];
    const circles: string[] = [];
    const visit = (file: string): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' > '));
      else if (!done.has(file)) {
        path.push(file);
        for (const imported of values.get(file) ?? []) visit(imported);
        path.pop();
        done.add(file);
      }
    };
    for (const file of files) visit(file);
    expect(circles).toEqual([]);
  });

  it('keep the wire pure: no sockets, timers or events', () => {
    for (const file of files.filter((name) => layerOf(name).name === 'wire')) {
      const text = readFileSync(join(ROOT, 'lib', file), 'utf8');
      expect({
        file,
        impure: /from 'node:(net|tls|events|timers|stream)|\bsetTimeout\(|\bDate\.now\(/.test(text),
      }).toEqual({
        file,
        impure: false,
      });
    }
  });
});

describe('the files', () => {
  const all = [...files.map((file) => `lib/${file}`), ...sources('spec').map((file) => `spec/${file}`)];

  it('are all in the tree of docs/architecture.md, and no others', () => {
    const docs = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');
    const tree = /## Tree\n+```\n([^`]*)```/.exec(docs)?.[1] ?? '';
    const named: string[] = [];
    let folder = '';
    for (const line of tree.split('\n').filter((text) => text !== '')) {
      const words = line.trim().split(/\s+/);
      if (!line.startsWith(' ')) folder = (words.shift() as string).replace(/^lib\/?/, '');
      named.push(...words.map((name) => join(folder, `${name}.ts`)));
    }
    expect(named.sort()).toEqual([...files].sort());
  });

  it('are limited in number in each folder', () => {
    const counts = new Map<string, number>();
    for (const file of files) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
    expect([...counts].filter(([, count]) => count > MAX_FILES)).toEqual([]);
  });

  it('are named in kebab case, and for what they hold', () => {
    const wrong = all.filter((file) => {
      const name = file.replace(/^.*\//, '').replace(/((\.long)?\.spec)?\.ts$/, '');
      return !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name) || EMPTY_NAMES.test(name);
    });
    expect(wrong).toEqual([]);
  });

  it('begin with a comment about the file', () => {
    const silent = files.filter((file) => !/^(#!.*\n)?\/\//.test(readFileSync(join(ROOT, 'lib', file), 'utf8')));
    expect(silent).toEqual([]);
  });

  it('export by name', () => {
    const wrong = all.filter((file) => /^export default/m.test(readFileSync(join(ROOT, file), 'utf8')));
    expect(wrong).toEqual([]);
  });
});

describe('the package', () => {
  it('exports these values', () => {
    expect(Object.keys(index).sort()).toEqual([
      'Destination',
      'ERRORS',
      'Node',
      'Server',
      'Socket',
      'StarlaneError',
      'createNode',
      'failover',
      'findNodes',
      'findServices',
      'hash',
      'nearest',
      'priority',
      'random',
      'split',
    ]);
  });

  it('exports these values for plain sessions', () => {
    expect(Object.keys(mux).sort()).toEqual(['GoAwayCode', 'Session', 'StarlaneError', 'Stream']);
  });
});
