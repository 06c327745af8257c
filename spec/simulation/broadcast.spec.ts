// The broadcast of some participants in virtual time, and what it must hold: bench/broadcast/scenario.ts has the schedule. A thousand are
// the business of `npm run bench:broadcast`.

import { expect, it } from '@jest/globals';
import { gatesOf, runScenario } from '../../bench/broadcast/scenario.js';

it('a tree of 60 participants is as quick as it must be, and repairs itself in time', async () => {
  const report = await runScenario({ participants: 60, seed: 4 });
  expect(report.missed).toEqual([]);
  expect(report.faults).toEqual([]);
  expect(report.lost).toBe(0);
  expect(gatesOf(report).filter(({ figure, limit }) => figure > limit)).toEqual([]);
  for (const { flood } of report.settled) expect(flood.redundancy).toBeGreaterThan(2);
}, 120_000);
