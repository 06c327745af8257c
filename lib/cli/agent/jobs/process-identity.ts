// Finds out whether a process that was started before is still the same one: numbers of processes are used again.

import { readFileSync } from 'node:fs';
import type { ProcessIdentity } from './record.js';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
/** The field of /proc/PID/stat with the time of the start, counted behind the name, which may hold spaces and parentheses. */
const START_FIELD = 22 - 3;

/** Returns what identifies a process that runs. */
export function identityOf(pid: number): ProcessIdentity {
  return { pid, ticks: ticksOf(pid), boot: bootId() };
}

/** Whether that process certainly runs still. */
export function runsStill({ pid, ticks, boot }: ProcessIdentity): boolean {
  return ticks !== undefined && boot !== undefined && boot === bootId() && ticks === ticksOf(pid);
}

/** Kills the process with its group, if it certainly runs still. */
export function killLeftover(identity: ProcessIdentity): void {
  if (!runsStill(identity)) return;
  try {
    process.kill(-identity.pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

function ticksOf(pid: number): string | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // Those that have ended, and whose parent has not looked, do nothing any more.
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[START_FIELD];
}

function bootId(): string | undefined {
  return textOf(BOOT_ID)?.trim();
}

/** Undefined where there is no such file, as on all systems but Linux. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
