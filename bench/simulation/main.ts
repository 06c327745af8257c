// npm run simulate: a network of simulated nodes, measured against the gates, or random schedules against the oracles.
// See --help.

import { readOptions, usage } from './command.js';
import { runGates } from './gate-run.js';
import { runTrials } from './trial-run.js';

const options = readOptions(process.argv.slice(2));
if (options.help) console.log(usage());
else {
  const isGood = options.trials > 0 ? await runTrials(options) : await runGates(options);
  if (!isGood) process.exitCode = 1;
}
