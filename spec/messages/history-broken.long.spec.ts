// The history checker sees what it is for: runs of broken copies of the library, of which each has to be caught. `npm run history -- --broken`
// does it with more copies.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { BREAKS, type Break } from '../../bench/history/breaks.js';
import { SHORT, trial } from '../../bench/history/trial.js';

const DEADLINE_MS = 600_000;
const SEEDS = [100, 101, 102];
const SOME = { ...SHORT, faults: 12, faultEveryMs: 600, messages: 1_500 };

async function catches(broken: Break, seed: number): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'starlane-history-'));
  try {
    const { violations } = (await trial({ ...SOME, seed, folder }, broken)).verdict;
    return violations.some(({ rule }) => broken.rules.includes(rule));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

it.each(['answers-before-handler', 'no-duplicate-window'])(
  "The copy '%s' is caught",
  async (name) => {
    const broken = BREAKS.find((one) => one.name === name) as Break;
    let isCaught = false;
    for (const seed of SEEDS) isCaught ||= await catches(broken, seed);
    expect(isCaught).toBe(true);
  },
  DEADLINE_MS,
);
