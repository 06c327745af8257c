// Random schedules one after the other, and a shortened one of each that fails.

import type { SimulateOptions } from './command.js';
import { makeRealPlane } from './real-plane.js';
import { shrink } from './shrink.js';
import { describeStep, type Step } from './steps.js';
import { runTrial, type TrialOptions } from './trial.js';

const SCHEDULE_MS = 90_000;
const SHRINK_RUNS = 60;

/** True when no oracle complains. */
export async function runTrials({
  trials,
  seed,
  nodes,
  clients,
  steps,
  realCrypto,
}: SimulateOptions): Promise<boolean> {
  let failed = 0;
  for (let turn = 0; turn < trials; turn++) {
    const options: TrialOptions = {
      seed: seed + turn,
      nodes,
      clients,
      steps,
      scheduleMs: SCHEDULE_MS,
      makePlane: makeRealPlane,
      realCrypto,
    };
    const begin = performance.now();
    const { schedule, complaints, restMs, events } = await runTrial(options);
    const wallS = ((performance.now() - begin) / 1000).toFixed(1);
    const rest = restMs === undefined ? 'never at rest' : `at rest after ${(restMs / 1000).toFixed(1)} s`;
    console.log(
      `seed ${options.seed}: ${complaints.length === 0 ? 'good' : 'FAILED'}, ${rest}, ${events} events, ${wallS} s`,
    );
    if (complaints.length === 0) continue;
    failed++;
    console.log(complaints.map((complaint) => `  ${complaint}`).join('\n'));
    const fails = async (part: readonly Step[]): Promise<boolean> =>
      (await runTrial(options, part)).complaints.length > 0;
    const short = await shrink(schedule, fails, SHRINK_RUNS);
    console.log(`  with these ${short.length} steps of ${schedule.length}:`);
    console.log(short.map((step) => `    ${describeStep(step)}`).join('\n'));
  }
  console.log(`${trials - failed} of ${trials} schedules good`);
  return failed === 0;
}
