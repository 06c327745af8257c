// Finds out whether a process that was started before is still the same one: numbers of processes are used again.

import { readFileSync } from 'node:fs';

/** What has to be known of a process to find it again, and not another one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it was started, in ticks since the machine was; undefined where the system does not say. */
  readonly ticks?: string | undefined;
  /** Which start of the machine that was. */
  readonly boot?: string | undefined;
}

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

/** Whether the group of that process is there still; its first process may have ended. */
export function groupRunsStill({ pid, ticks, boot }: ProcessIdentity): boolean {
  // Without its time of start, or after another boot, it could be the group of somebody else; the watch over orphans ends it.
  if (ticks === undefined || boot === undefined || boot !== bootId()) return false;
  return signalGroup(pid, 0) && [ticks, undefined].includes(ticksOf(pid));
}

/** Kills the process with its group, if it certainly runs still. */
export function killLeftover(identity: ProcessIdentity): void {
  if (runsStill(identity)) signalGroup(identity.pid, 'SIGKILL');
}

/** Sends a signal to a process group; 0 sends none. Returns whether there is such a group. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch {
    return false;
  }
}

function ticksOf(pid: number): string | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A process that has ended, and whose parent has not looked, does nothing any more.
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
