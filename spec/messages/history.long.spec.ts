// Processes that send messages to each other while links are cut and processes are killed and stopped: what they have written down
// keeps the promise of docs/messages.md. `npm run history` does the same with more of everything.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { reportOf } from '../../bench/history/report.js';
import { SHORT, trial } from '../../bench/history/trial.js';

const DEADLINE_MS = 240_000;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starlane-history-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it(
  'Eight processes under fifteen faults keep the promise about thousands of messages',
  async () => {
    const { history, verdict } = await trial({ ...SHORT, seed: 1, folder });
    if (verdict.violations.length > 0) throw new Error(`seed 1\n${reportOf(history, verdict)}`);
    const { counts } = verdict;
    expect(counts.messages).toBeGreaterThanOrEqual(SHORT.messages);
    expect(counts.faults).toBe(SHORT.faults);
    // Otherwise it has shown nothing.
    expect(counts.handled).toBeGreaterThan(SHORT.messages / 2);
    expect(counts.failed).toBeGreaterThan(0);
    expect(counts.large).toBeGreaterThan(0);
    expect(counts.keysAgain).toBeGreaterThan(0);
    expect(counts.unknown).toBeLessThanOrEqual(counts.inFlight + counts.messages / 10);
  },
  DEADLINE_MS,
);
