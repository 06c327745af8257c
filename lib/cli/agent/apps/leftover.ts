// Programs that an agent has left behind because it was killed: they are ended before the same app starts again.

import { performanceNow } from '../../../util/runtime/real-timers.js';
import { groupRunsStill, type ProcessIdentity, signalGroup } from '../process-identity.js';
import { pause } from '../retry.js';

const TERM_MS = 5_000;
const KILL_MS = 5_000;
const POLL_MS = 50;

/** Ends the group of a process, if it is still that one. Resolves when it has ended, or cannot be ended. */
export async function endLeftover(leftover: ProcessIdentity): Promise<boolean> {
  if (!groupRunsStill(leftover)) return false;
  signalGroup(leftover.pid, 'SIGTERM');
  if (!(await gone(leftover, TERM_MS))) {
    signalGroup(leftover.pid, 'SIGKILL');
    await gone(leftover, KILL_MS);
  }
  return true;
}

async function gone(leftover: ProcessIdentity, withinMs: number): Promise<boolean> {
  const untilMs = performanceNow() + withinMs;
  while (groupRunsStill(leftover)) {
    if (performanceNow() >= untilMs) return false;
    await pause(POLL_MS);
  }
  return true;
}
