// When a program that has ended is started again: pure.

import { backOffMs } from '../../../util/back-off.js';

export type RestartPolicy = 'always' | 'on-failure' | 'never';

const BACK_OFF = { minMs: 1_000, maxMs: 30_000 };
/** A program that ran for this long was well: the back-off begins again. */
const STABLE_MS = 60_000;

/** How a program has ended. */
export interface ProgramEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Restarts {
  private failures = 0;
  private total = 0;

  constructor(
    private readonly policy: RestartPolicy,
    private readonly random: () => number,
  ) {}

  /** How often the program was started again. */
  get count(): number {
    return this.total;
  }

  /** Returns the wait before the next start, in ms; undefined when there is to be none. */
  next({ code }: ProgramEnd, ranMs: number): number | undefined {
    if (this.policy === 'never' || (this.policy === 'on-failure' && code === 0)) return undefined;
    if (ranMs >= STABLE_MS) this.failures = 0;
    this.total++;
    return backOffMs(this.failures++, BACK_OFF, this.random);
  }
}

/** Returns it in words: `exit code 1`, `SIGKILL`. */
export function endInWords({ code, signal }: ProgramEnd): string {
  return signal ?? `exit code ${code}`;
}

/** Returns the exit code that stands for it, as shells have it. */
export function exitCodeFor({ code, signal }: ProgramEnd): number {
  if (code !== null) return code;
  const numbers: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
  return 128 + (numbers[signal as NodeJS.Signals] ?? 0);
}
