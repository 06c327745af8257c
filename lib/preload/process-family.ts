// A program under the preload hands its environment, and so the preload, on to its worker threads, its forks and whatever else it
// starts. What one process of them can have alone, an address to listen at and an identity, the first one has; the others
// join it.

import cluster from 'node:cluster';
import { isMainThread } from 'node:worker_threads';

/** How a process tells those that it starts what it has taken. */
const VARIABLE = 'STARLANE_PRELOADED';

interface Taken {
  readonly pid: number;
  /** By the address as STARLANE_LISTEN has it: where the process listens, which is another one where the port was 0. */
  readonly listen: Record<string, string>;
  readonly identity: string | undefined;
}

export interface Share {
  /** The addresses to listen at. */
  readonly listen: readonly string[];
  /** The addresses at which a process listens that this one belongs to. */
  readonly join: readonly string[];
  readonly identity: string | undefined;
  /** Whether an address may be in use by a process that this one belongs to, and is joined then. */
  readonly isPart: boolean;
}

/** What is left for this process of what its environment says. */
export function takeShare(listen: readonly string[], identity: string | undefined): Share {
  const above = readTaken(process.env[VARIABLE]);
  const isPart = !isMainThread || cluster.isWorker || above !== undefined;
  const join: string[] = [];
  const own: string[] = [];
  for (const address of listen) {
    const taken = above?.listen[address];
    if (taken === undefined || isAnyPort(taken)) own.push(address);
    else join.push(taken);
  }
  const isTaken = identity !== undefined && above?.identity === identity;
  const share = { listen: own, join, identity: isTaken ? undefined : identity, isPart };
  // What this one starts belongs to the first as well.
  if (above === undefined || own.length > 0) {
    const listening = { ...above?.listen, ...Object.fromEntries(own.map((address) => [address, address])) };
    writeTaken({ pid: process.pid, listen: listening, identity: above?.identity ?? identity });
  }
  return share;
}

/** It listens: those that are started from now on know where. */
export function tellListening(address: string, where: string): void {
  const taken = readTaken(process.env[VARIABLE]);
  if (taken !== undefined) writeTaken({ ...taken, listen: { ...taken.listen, [address]: where } });
}

function isAnyPort(address: string): boolean {
  return /:0$/.test(address);
}

function writeTaken(taken: Taken): void {
  process.env[VARIABLE] = JSON.stringify(taken);
}

/** Undefined where nobody above has taken anything, or it has ended. */
function readTaken(text: string | undefined): Taken | undefined {
  if (text === undefined) return undefined;
  let taken: Partial<Taken> | null;
  try {
    taken = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { pid, listen, identity } = taken ?? {};
  if (typeof pid !== 'number' || typeof listen !== 'object' || !isAlive(pid)) return undefined;
  return { pid, listen, identity };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
