// Builds the page of the monitor: its scripts with cytoscape and uPlot in them, and the HTML and CSS files, each compressed. The bundle has them in place of
// lib/http/monitor/page-files.ts; specs build them for themselves.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const PAGE = join(dirname(fileURLToPath(import.meta.url)), '../lib/http/monitor/page');

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** Returns the files of the page by name, as PageFile of lib/http/monitor/page-files.ts. */
export async function buildPage() {
  const { outputFiles } = await build({
    entryPoints: { page: join(PAGE, 'main.ts'), login: join(PAGE, 'login.ts'), 'page.style': join(PAGE, 'page.css') },
    outdir: PAGE,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: ['chrome123', 'firefox120', 'safari17.5'],
    minify: true,
    // Their licences are in THIRD-PARTY-LICENSES.
    legalComments: 'none',
    external: ['/icon.svg'],
    write: false,
    logLevel: 'warning',
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: true } },
  });
  const texts = { 'index.html': '', 'login.html': '', 'icon.svg': '' };
  for (const name of Object.keys(texts))
    texts[name] = readFileSync(join(PAGE, name), 'utf8').replace(/\s*<!--.*?-->/gs, '');
  for (const { path, text } of outputFiles)
    texts[path.slice(PAGE.length + 1).replace('page.style.css', 'page.css')] = text;
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, compressed(name, text)]));
}

function compressed(name, text) {
  const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
  return { type, gzip: gzipSync(text, { level: 9 }).toString('base64') };
}

/** Two bundles have the same page. */
let built;

/** Puts the page into the bundle. */
export const pageFiles = {
  name: 'page-files',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]monitor[\\/]page-files\.ts$/ }, async () => {
      built ??= buildPage();
      return { contents: `export const PAGE_FILES = ${JSON.stringify(await built)};`, loader: 'js' };
    });
  },
};
