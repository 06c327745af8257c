// The documents: links lead somewhere, the package ships what it links to, and commands exist.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const FOLDERS = ['docs', 'examples', 'bench', '.github'];

const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
      .map((name) => join(folder, name)),
  ),
];
const textOf = new Map(pages.map((page) => [page, readFileSync(join(ROOT, page), 'utf8')]));

/** The part of an address that leads to a heading, as GitHub makes it. */
function anchorOf(heading: string): string {
  const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
  return plain.replace(/[^\w\- ]/g, '').replaceAll(' ', '-');
}

function anchorsOf(page: string): Set<string> {
  return new Set(
    [...(textOf.get(page) ?? '').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading as string)),
  );
}

/** What a page links to inside the repository. */
function linksOf(page: string): Array<{ path: string; anchor: string }> {
  return [...(textOf.get(page) ?? '').matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target as string)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file, anchor = ''] = target.split('#');
      return { path: file === '' ? page : relative(ROOT, resolve(ROOT, dirname(page), file as string)), anchor };
    });
}

describe('the documents', () => {
  it('link to files and headings that exist', () => {
    const broken: string[] = [];
    for (const page of pages) {
      for (const { path, anchor } of linksOf(page)) {
        if (!existsSync(join(ROOT, path))) broken.push(`${page}: ${path}`);
        else if (anchor !== '' && !anchorsOf(path).has(anchor)) broken.push(`${page}: ${path}#${anchor}`);
      }
    }
    expect(pages.length).toBeGreaterThan(20);
    expect(broken).toEqual([]);
  });

  it('are all reached from the README', () => {
    const reached = new Set(['README.md']);
    for (const page of reached) {
      for (const { path } of linksOf(page)) {
        const target =
          existsSync(join(ROOT, path)) && statSync(join(ROOT, path)).isDirectory() ? join(path, 'README.md') : path;
        if (textOf.has(target)) reached.add(target);
      }
    }
    const pagesOfUsers = pages.filter((page) => !page.startsWith('bench') && !page.startsWith('.github'));
    expect(pagesOfUsers.filter((page) => !reached.has(page))).toEqual([]);
  });

  it('name files of the source that exist', () => {
    const named = [...textOf].flatMap(([page, text]) =>
      [...text.matchAll(/`((?:lib|spec|bench|docs|examples)\/[\w./-]*\w)`/g)].map(
        ([, path]) => [page, path as string] as const,
      ),
    );
    expect(named.length).toBeGreaterThan(20);
    const ends = ['', '.ts', '.spec.ts', '.long.spec.ts', '.mjs'];
    const missing = named.filter(([, path]) => !ends.some((end) => existsSync(join(ROOT, path + end))));
    expect(missing).toEqual([]);
  });

  it('name npm commands that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const named = [...textOf.values()].flatMap((text) => [...text.matchAll(/npm run (?:--silent )?([a-z][\w:]*)/g)]);
    const unknown = new Set(named.map(([, name]) => name as string).filter((name) => !(name in scripts)));
    expect([...unknown]).toEqual([]);
  });

  it('of the package link to nothing that it does not ship, but for examples and notes to contributors', () => {
    const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[] };
    const isShipped = (path: string): boolean =>
      ['README.md', 'LICENSE', ...files].some((name) => path === name || path.startsWith(`${name}/`));
    const missing = pages
      .filter(isShipped)
      .flatMap((page) => linksOf(page).map(({ path }) => `${page}: ${path}`))
      .filter((link) => !isShipped(link.replace(/^.*: /, '')) && !/: (examples|CONTRIBUTING\.md)/.test(link));
    expect(missing).toEqual([]);
  });
});

describe("the page of Node's internals", () => {
  const INTERNALS =
    /\b(_handle|_parentWrap|_readableState|_writableState|_undestroy|_connections|_emitCloseIfDrained|_wrapHandle|_init|_unrefTimer|_getpeername|_getsockname|_unref|moduleLoadList|getOwnPropertySymbols|addRequest|useUserBuffer|internalBinding)\b|process\.binding/;
  /** Refuses the option `_handle` of net. */
  const OTHERS = ['socket/net/arguments'];
  const listed = [...(textOf.get('docs/internals-of-node.md') ?? '').matchAll(/^\| `([\w/-]+)` \|/gm)].map(
    ([, file]) => file as string,
  );

  it('names files that exist', () => {
    expect(listed.length).toBeGreaterThan(8);
    expect(listed.filter((file) => !existsSync(join(ROOT, `lib/${file}.ts`)))).toEqual([]);
  });

  it('names every file that uses one', () => {
    const users = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .filter((name) => {
        const code = readFileSync(join(ROOT, 'lib', name), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
        return INTERNALS.test(code);
      })
      .map((name) => name.replace(/\.ts$/, ''));
    expect(users.filter((file) => !listed.includes(file) && !OTHERS.includes(file))).toEqual([]);
  });
});
