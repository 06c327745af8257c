// Measures the monitor page in Chromium: see measure.ts. `npm run bench:monitor`; CHROMIUM names another browser.

import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { buildPage } from '../../scripts/page.mjs';

const outfile = 'build/bench/monitor.mjs';
await build({
  entryPoints: ['bench/monitor/measure.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  logLevel: 'warning',
});
const { measure } = await import(pathToFileURL(outfile).href);
await measure(await buildPage());
