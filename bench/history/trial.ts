// One run and its verdict.

import { rmSync } from 'node:fs';
import type { Break } from './breaks.js';
import { check, type Verdict } from './check/check.js';
import type { UnknownLimits } from './check/unknown.js';
import type { History } from './events.js';
import { readHistory } from './journal.js';
import { bundleWorker } from './run/bundle.js';
import { type RunOptions, run } from './run/run.js';

export type TrialOptions = Omit<RunOptions, 'program'>;

/** What a few processes can do in some seconds. */
export const SHORT = {
  sizes: { senders: 3, receivers: 3, relays: 2 },
  faults: 15,
  faultEveryMs: 800,
  messages: 3_000,
  rate: 120,
  minutes: 2,
  resumeMs: 5_000,
};

export interface Trial {
  readonly history: History;
  readonly verdict: Verdict;
}

/** Runs the library, or a broken copy of it, and checks what the processes have written into the folder. */
export async function trial(options: TrialOptions, broken?: Break): Promise<Trial> {
  const program = await bundleWorker(broken);
  try {
    await run({ ...options, program });
  } finally {
    rmSync(program, { force: true });
  }
  return judge(options.folder, options.resumeMs);
}

/** Checks the history in a folder. */
export function judge(folder: string, resumeMs: number): Trial {
  const history = readHistory(folder);
  const limits: UnknownLimits = { resumeMs, beforeMs: 5_000, lateMs: 500 };
  return { history, verdict: check(history, limits) };
}
