// The control plane under random schedules of faults: after any faults, a network that is left alone comes to rest
// with equal and correct views. A seed that fails here is run again, and its schedule shortened, by
// `npm run simulate -- --nodes 100 --trials 1 --seed N`.

import { describe, expect, it } from '@jest/globals';
import { makeRealPlane } from '../../bench/simulation/real-plane.js';
import { runTrial, type TrialOptions } from '../../bench/simulation/trial.js';

const OPTIONS: TrialOptions = {
  seed: 0,
  nodes: 100,
  steps: 40,
  scheduleMs: 90_000,
  makePlane: makeRealPlane,
  pairs: 300,
};
const TIMEOUT_MS = 300_000;

describe('nodes with random faults', () => {
  for (const [seed, nodes] of [
    [101, 100],
    [102, 40],
    [103, 40],
  ] as const) {
    it(
      `come to rest with equal views that are true: seed ${seed}, ${nodes} nodes`,
      async () => {
        const { complaints } = await runTrial({ ...OPTIONS, seed, nodes });
        expect(complaints).toEqual([]);
      },
      TIMEOUT_MS,
    );
  }

  it(
    'do so when most of them are clients',
    async () => {
      const { complaints } = await runTrial({ ...OPTIONS, seed: 107, nodes: 60, clients: 35 });
      expect(complaints).toEqual([]);
    },
    TIMEOUT_MS,
  );

  it(
    'do so with real signatures that every node checks for itself',
    async () => {
      const options = { ...OPTIONS, seed: 104, nodes: 40, steps: 15, scheduleMs: 20_000, realCrypto: true };
      const { complaints, signatureChecks } = await runTrial(options);
      expect(complaints).toEqual([]);
      expect(signatureChecks).toBeGreaterThan(1_000);
    },
    TIMEOUT_MS,
  );

  it(
    'go the same way each time',
    async () => {
      const options = { ...OPTIONS, seed: 105, nodes: 30, steps: 20, scheduleMs: 20_000 };
      const [first, second] = [await runTrial(options), await runTrial(options)];
      expect(second).toEqual(first);
      const { events } = await runTrial({ ...options, seed: 106 });
      expect(events).not.toBe(first.events);
    },
    TIMEOUT_MS,
  );
});
