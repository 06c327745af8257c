// Programs that an agent has left behind because it was killed: they are ended before the same app starts again.

import { readFileSync } from 'node:fs';
import { performanceNow, setTimeout } from '../../../util/runtime/real-timers.js';
import type { ProcessMark } from './state.js';

const TERM_MS = 5_000;
const KILL_MS = 5_000;
const POLL_MS = 50;

/** Returns what identifies a process. */
export function markOf(pid: number): ProcessMark {
  return { pid, started: startOf(pid) };
}

/** Ends the process group of a mark, if it is still that one. Resolves when it has ended, or cannot be ended. */
export async function endLeftover({ pid, started }: ProcessMark): Promise<boolean> {
  // Without its time of start, it could be the group of somebody else; the watch over orphans ends it.
  // After another boot, the number may be that of any group, also of one whose first process has ended.
  const isOurs = () =>
    started?.startsWith(`${bootId()} `) === true && isAlive(pid) && [started, undefined].includes(startOf(pid));
  if (!isOurs()) return false;
  send(pid, 'SIGTERM');
  if (!(await gone(isOurs, TERM_MS))) {
    send(pid, 'SIGKILL');
    await gone(isOurs, KILL_MS);
  }
  return true;
}

async function gone(isThere: () => boolean, withinMs: number): Promise<boolean> {
  const untilMs = performanceNow() + withinMs;
  while (isThere()) {
    if (performanceNow() >= untilMs) return false;
    await new Promise<void>((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}

function isAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}

function send(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // It has ended.
  }
}

/** Returns the time of start in ticks since boot (proc(5), field 22), with the boot that it counts from. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program may have spaces and brackets.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const boot = bootId();
    return boot === undefined ? undefined : `${boot} ${ticks}`;
  } catch {
    return undefined;
  }
}

function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}
