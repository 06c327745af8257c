// npm run fuzz: mutated inputs by the million against everything that reads what a peer sends. See --help.
//
// A loop of our own and not Jazzer.js: that one finds its way by instrumenting what it loads as CommonJS, and this package
// is ESM; it brings native code, and its runs cannot take turns of the event loop by the batch, which sessions need.

import { readOptions, usage } from './command.js';
import { format, keep } from './corpus.js';
import { runTargets, type TargetResult } from './run.js';
import { TARGETS } from './targets/index.js';
import { Watchdog } from './watchdog.js';

const options = readOptions(process.argv.slice(2), TARGETS);
if (options.help) console.log(usage(TARGETS));
else await fuzz();

async function fuzz(): Promise<void> {
  const { inputs, seed, corpus, distil } = options;
  const watchdog = new Watchdog();
  console.log(`${inputs} inputs, seed ${seed}`);
  console.log('target           inputs       s   inputs/s   ways   heap KiB   codes');
  const results = await runTargets({
    targets: options.targets,
    inputs,
    seed,
    corpus,
    watchdog,
    onResult: async (result) => {
      console.log(line(result));
      if (result.failure !== undefined) report(result);
      else if (distil > 0) await keepSome(result, distil);
    },
  });
  await watchdog.stop();
  const done = results.reduce((sum, result) => sum + result.inputs, 0);
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  const ways = results.reduce((sum, result) => sum + result.ways, 0);
  const failures = results.filter(({ failure }) => failure !== undefined).length;
  const rss = Math.round(process.resourceUsage().maxRSS / 1024);
  console.log(`${done} inputs in ${seconds.toFixed(1)} s, ${ways} ways, ${rss} MiB at most, ${failures} failed`);
  if (failures > 0) process.exitCode = 1;
}

function line({ name, inputs, seconds, ways, grownBytes, codes }: TargetResult): string {
  const rate = Math.round(inputs / Math.max(seconds, 0.001));
  const heap = grownBytes === undefined ? '-' : String(Math.round(grownBytes / 1024));
  const numbers = [
    [inputs, 10],
    [seconds.toFixed(1), 8],
    [rate, 11],
    [ways, 7],
    [heap, 11],
  ] as const;
  return `${name.padEnd(16)}${numbers.map(([value, width]) => String(value).padStart(width)).join('')}   ${codes.map(shortCode).join(' ')}`;
}

function shortCode(code: string): string {
  return code.replace('ERR_STARLANE_', '');
}

/** The corpus begins with it from now on. */
function report({ failure, name }: TargetResult): void {
  if (failure === undefined) return;
  const { parts, error } = failure;
  console.log(`\n${name} FAILED: ${error.stack}\n${format(parts)}`);
  if (parts.length > 0) console.log(`kept as ${keep(options.corpus, name, parts, error.message)}\n`);
}

async function keepSome({ fuzzer, name }: TargetResult, count: number): Promise<void> {
  for (const { way, parts } of await fuzzer.distil(count)) keep(options.corpus, name, parts, way);
}
