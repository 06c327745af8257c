// Bundles programs as their authors would, with everything they import but the modules of Node: each as ESM and as CommonJS, to
// BUNDLER-PROGRAM.mjs and .cjs.
//
// node bundle.mjs esbuild|rollup|webpack FOLDER PROGRAM...

import { basename, dirname, join, resolve } from 'node:path';

/** @typedef {(isEsm: boolean, entry: string, file: string) => Promise<void>} Bundler */

/** @type {Bundler} As by `esbuild --bundle --platform=node --format=esm`. */
async function esbuild(isEsm, entry, file) {
  const { build } = await import('esbuild');
  await build({
    entryPoints: [entry],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: isEsm ? 'esm' : 'cjs',
    logLevel: 'error',
  });
}

/** @type {Bundler} */
async function rollup(isEsm, entry, file) {
  const [{ rollup: build }, { nodeResolve }] = await Promise.all([
    import('rollup'),
    import('@rollup/plugin-node-resolve'),
  ]);
  const bundle = await build({ input: entry, plugins: [nodeResolve({ preferBuiltins: true })], external: /^node:/ });
  await bundle.write({ file, format: isEsm ? 'es' : 'cjs', inlineDynamicImports: true });
  await bundle.close();
}

/** @type {Bundler} */
async function webpack(isEsm, entry, file) {
  const { default: pack } = await import('webpack');
  const compiler = pack({
    entry,
    mode: 'production',
    devtool: false,
    target: 'node20',
    experiments: { outputModule: isEsm },
    output: {
      path: dirname(file),
      filename: basename(file),
      module: isEsm,
      library: { type: isEsm ? 'module' : 'commonjs2' },
    },
    optimization: { minimize: false },
  });
  await new Promise((resolve, reject) => {
    compiler.run((error, stats) => {
      const fault = error ?? (stats?.hasErrors() ? new Error(stats.toString({ all: false, errors: true })) : undefined);
      compiler.close((closeError) => ((fault ?? closeError) ? reject(fault ?? closeError) : resolve(undefined)));
    });
  });
}

const [name, folder, ...programs] = process.argv.slice(2);
/** @type {Record<string, Bundler>} */
const bundlers = { esbuild, rollup, webpack };
for (const program of programs) {
  const file = join(folder, `${name}-${basename(program, '.mjs')}`);
  await bundlers[name](true, resolve(program), `${file}.mjs`);
  await bundlers[name](false, resolve(program), `${file}.cjs`);
}
