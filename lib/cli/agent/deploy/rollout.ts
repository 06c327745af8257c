// A rollout over several hosts: so many at a time, to the end or to one failure too many, and back again then. Pure: what is done at a host
// are functions.

import { codeOf } from '../../../errors.js';
import { performanceNow } from '../../../util/runtime/real-timers.js';
import { lineOf } from '../../failure.js';

export type HostState =
  /** The version runs, and is healthy. */
  | 'deployed'
  /** It ran already. */
  | 'unchanged'
  | 'failed'
  /** What ran before runs again. */
  | 'rolled back'
  /** It was to be rolled back, and that failed. */
  | 'not rolled back'
  /** The rollout has ended before. */
  | 'skipped';

export interface HostOutcome<Host> {
  readonly host: Host;
  readonly state: HostState;
  readonly tookMs: number;
  readonly error?: Error | undefined;
}

/** What is done at one host. */
export interface HostSteps<Host, Done> {
  /** @throws why it has failed: then the host runs what it ran before, as far as it can be reached */
  deploy(host: Host, signal: AbortSignal): Promise<Done>;
  /** Whether the host ran the version before. */
  isUnchanged(done: Done): boolean;
  undo(host: Host, done: Done): Promise<void>;
}

export interface RolloutOptions<Host> {
  readonly parallel: number;
  /** So many hosts may fail. */
  readonly maxFailures: number;
  /** Whether hosts that are done are rolled back when too many fail. */
  readonly undoes: boolean;
  /** Aborts the rollout, as a failure too many does. */
  readonly signal: AbortSignal;
  onState?(outcome: HostOutcome<Host>): void;
}

export interface RolloutResult<Host> {
  readonly isDone: boolean;
  readonly outcomes: ReadonlyArray<HostOutcome<Host>>;
}

export async function rollOut<Host, Done>(
  hosts: readonly Host[],
  steps: HostSteps<Host, Done>,
  { parallel, maxFailures, undoes, signal, onState = () => {} }: RolloutOptions<Host>,
): Promise<RolloutResult<Host>> {
  const outcomes = new Map<Host, HostOutcome<Host>>();
  const done = new Map<Host, Done>();
  const set = (outcome: HostOutcome<Host>) => {
    outcomes.set(outcome.host, outcome);
    onState(outcome);
  };
  let failures = 0;
  const isOver = () => failures > maxFailures || signal.aborted;
  const waiting = [...hosts];
  const worker = async (): Promise<void> => {
    for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) {
      if (isOver()) {
        set({ host, state: 'skipped', tookMs: 0 });
        continue;
      }
      const beganMs = performanceNow();
      try {
        const result = await steps.deploy(host, signal);
        done.set(host, result);
        set({ host, state: steps.isUnchanged(result) ? 'unchanged' : 'deployed', tookMs: performanceNow() - beganMs });
      } catch (error) {
        failures++;
        set({ host, state: 'failed', tookMs: performanceNow() - beganMs, error: error as Error });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, hosts.length) }, worker));
  const isDone = !isOver();
  if (!isDone && undoes) {
    await Promise.all(
      [...done].map(async ([host, result]) => {
        if (steps.isUnchanged(result)) return;
        const beganMs = performanceNow();
        try {
          await steps.undo(host, result);
          set({ host, state: 'rolled back', tookMs: performanceNow() - beganMs });
        } catch (error) {
          set({ host, state: 'not rolled back', tookMs: performanceNow() - beganMs, error: error as Error });
        }
      }),
    );
  }
  return { isDone, outcomes: hosts.flatMap((host) => outcomes.get(host) ?? []) };
}

/** Returns an error as programs read it. */
export function plainError(error: Error | undefined): { code?: string; message: string } | undefined {
  if (error === undefined) return undefined;
  const code = codeOf(error);
  return { ...(code === undefined ? {} : { code }), message: lineOf(error) };
}
