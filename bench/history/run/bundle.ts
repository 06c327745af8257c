// The program of the processes, in one file with the library, as it is or with one piece of it broken.

import { readFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { build, type Plugin, stop } from 'esbuild';
import type { Break } from '../breaks.js';

/** Below the project, so that the packages that it imports are found. */
const FOLDER = 'build/history';

/** Makes the program, and returns its path. */
export async function bundleWorker(broken?: Break): Promise<string> {
  const outfile = resolve(FOLDER, `worker-${broken?.name ?? 'whole'}-${process.pid}.mjs`);
  const touched = new Set<string>();
  try {
    await build({
      entryPoints: [resolve('bench/history/worker/main.ts')],
      outfile,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      // No map: hundreds of processes would read it as they start.
      sourcemap: false,
      logLevel: 'warning',
      plugins: broken === undefined ? [] : [breaking(broken, touched)],
    });
  } finally {
    // Its process would hold this one open.
    await stop();
  }
  const missed = broken?.edits.filter(({ file }) => !touched.has(file)) ?? [];
  if (missed.length > 0)
    throw new Error(`'${broken?.name}': the program has no ${missed.map(({ file }) => file).join(', ')}`);
  return outfile;
}

/** Replaces pieces of text, each of which has to be there, once. */
function breaking({ name, edits }: Break, touched: Set<string>): Plugin {
  return {
    name: 'breaking',
    setup({ onLoad }) {
      onLoad({ filter: /[\\/]lib[\\/]messages[\\/].*\.ts$/ }, async ({ path }) => {
        const file = relative(process.cwd(), path);
        const mine = edits.filter((edit) => edit.file === file);
        if (mine.length === 0) return undefined;
        touched.add(file);
        let contents = await readFile(path, 'utf8');
        for (const { from, to } of mine) {
          const count = contents.split(from).length - 1;
          if (count !== 1) throw new Error(`'${name}' has to be renewed: ${file} has ${count} times: ${from}`);
          contents = contents.replace(from, () => to);
        }
        return { contents, loader: 'ts' };
      });
    },
  };
}
