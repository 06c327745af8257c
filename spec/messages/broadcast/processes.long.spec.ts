// Twenty processes in a mesh with relays: one is killed with kill -9, one is stopped and goes on, while others send.

import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { runProcesses } from '../../../bench/broadcast/processes.js';
import { TREE_LIMITS } from '../../../lib/messages/broadcast/tree/limits.js';
import { builtUrl } from '../../support/built-lib.js';

const WORKER = join(dirname(fileURLToPath(import.meta.url)), '../../../bench/broadcast/worker.mjs');

it('bring each message exactly once and in order to everybody who can be reached', async () => {
  const report = await runProcesses({
    processes: 20,
    stoppedMs: 7_000,
    sharedFirst: TREE_LIMITS.sharedFirst,
    worker: WORKER,
    starlane: builtUrl('index.js'),
    messages: builtUrl('messages/index.js'),
  });
  expect(report.faults).toEqual([]);
  expect(report.messages).toBeGreaterThan(300);
  // Beside flooding in the same run, whatever else this machine does meanwhile.
  const of = (what: string): number => report.steps.find((step) => step.what === what)?.redundancy as number;
  expect(of('plain flooding, one message')).toBeGreaterThan(1);
  expect(of('the tree, one message')).toBeLessThan(of('plain flooding, one message') / 2);
}, 300_000);
