// Bundles lib into dist: entry points that share their chunks, with every package but `debug` inside (docs/decisions/0008, 0015).
// Usage: node scripts/bundle.mjs [--outdir=DIR]

import { builtinModules } from 'node:module';
import { build } from 'esbuild';
import { pageFiles } from './page.mjs';

const outdir = process.argv.find((argument) => argument.startsWith('--outdir='))?.slice('--outdir='.length) ?? 'dist';

/** Bundled CommonJS packages require modules of Node, which an ES module cannot do by itself. */
const builtins = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    const names = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
    onResolve({ filter: /.*/ }, ({ kind, path }) =>
      kind === 'require-call' && names.has(path) ? { path, namespace: 'builtin' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

const options = {
  outbase: 'lib',
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  minifyWhitespace: true,
  lineLimit: 120,
  sourcemap: true,
  external: ['debug'],
  plugins: [builtins, pageFiles],
  logLevel: 'warning',
};

const entryPoints = [
  'lib/index.ts',
  'lib/mux/index.ts',
  'lib/http/index.ts',
  'lib/members/index.ts',
  'lib/messages/index.ts',
  'lib/preload/index.ts',
];
await build({ ...options, entryPoints });
// By itself: each subcommand is an entry point of its own, and shared chunks would cut the library into dozens of files.
await build({ ...options, entryPoints: ['lib/cli/main.ts'], chunkNames: 'cli/[name]-[hash]', sourcemap: false });
