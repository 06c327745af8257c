// How `starlane job run` ends: as the program has ended, or with one of a few codes that programs seldom use. docs/jobs.md lists them, and a
// spec compares.

import { nodeOs } from '../../../../util/runtime/builtins.js';
import type { JobEnd, JobStatus } from '../record.js';

export const JobExit = {
  /** The host is gone: the state of the job is unknown until it returns. */
  UNKNOWN: 120,
  /** It has printed more than it may, or its input has broken off. */
  LIMIT: 121,
  CANCELLED: 122,
  /** The agent or its machine ended while it ran. */
  LOST: 123,
  /** As timeout(1) has it. */
  TIMED_OUT: 124,
  /** The job was not started, or cannot be asked for: the message says why. */
  FAILED: 125,
  /** The program could not be started, as shells have it. */
  NOT_STARTED: 126,
} as const;

const KINDS: Readonly<Record<Exclude<JobEnd['kind'], 'exited' | 'signalled'>, number>> = {
  cancelled: JobExit.CANCELLED,
  'timed-out': JobExit.TIMED_OUT,
  'output-limit': JobExit.LIMIT,
  'input-lost': JobExit.LIMIT,
  'not-started': JobExit.NOT_STARTED,
  lost: JobExit.LOST,
};

export function exitCodeFor({ end }: JobStatus): number {
  if (end === undefined) return JobExit.UNKNOWN;
  switch (end.kind) {
    case 'exited':
      return end.exitCode ?? JobExit.FAILED;
    case 'signalled':
      return 128 + ((nodeOs().constants.signals as Record<string, number>)[end.signal ?? ''] ?? 0);
    default:
      return KINDS[end.kind];
  }
}

/** Returns how a job has ended, or that it runs, in words. */
export function stateInWords({ state, end }: Pick<JobStatus, 'state' | 'end'>): string {
  if (end === undefined) return state;
  switch (end.kind) {
    case 'exited':
      return `exited (${end.exitCode})`;
    case 'signalled':
      return `ended by ${end.signal}`;
    default:
      return `${end.kind}: ${end.error?.message ?? ''}`;
  }
}
