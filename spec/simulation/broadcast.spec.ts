// The broadcast of a thousand participants, and what it must hold: bench/broadcast/scenario.ts has the schedule.

import { expect, it } from '@jest/globals';
import { gatesOf, runScenario } from '../../bench/broadcast/scenario.js';

it.each([
  [100, 4],
  [1_000, 5],
])(
  'a tree of %i participants is as quick as it must be, and repairs itself in time: seed %i',
  async (participants, seed) => {
    const report = await runScenario({ participants, seed });
    expect(report.missed).toEqual([]);
    expect(report.faults).toEqual([]);
    expect(report.lost).toBe(0);
    expect(gatesOf(report).filter(({ figure, limit }) => figure > limit)).toEqual([]);
    for (const { flood } of report.settled) expect(flood.redundancy).toBeGreaterThan(3);
  },
  600_000,
);
