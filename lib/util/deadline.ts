// Deadlines: of an object that waits now and then, of a promise, and of the waits of users.

import { netError, optionError } from '../errors.js';
import type { Timed, Timer, Timers } from './timers.js';

/** A deadline that its owner sets and clears any number of times. */
export class Deadline implements Timed {
  private timer: Timer | undefined;

  /** @param onLate called with the time of the clock when a deadline has passed; it may set the next one */
  constructor(
    private readonly timers: Timers,
    private readonly onLate: (now: number) => void,
  ) {}

  /** True until the deadline has passed or was cleared. */
  get isSet(): boolean {
    return this.timer !== undefined;
  }

  /** Sets the deadline to `delayMs` from now, instead of the one that was set before. `slackMs`: as for {@link Timers.schedule}. */
  set(delayMs: number, slackMs = 0): void {
    this.clear();
    this.timer = this.timers.schedule(delayMs, this, slackMs);
  }

  /** Forgets the deadline. Does nothing when there is none. */
  clear(): void {
    if (this.timer === undefined) return;
    this.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(now: number): void {
    this.timer = undefined;
    this.onLate(now);
  }
}

/** How long a user waits. */
interface WaitOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
}

/** Returns checked options of the method `name`. @throws ERR_STARLANE_OPTION */
export function checkWaitOptions(name: string, options: WaitOptions | undefined): WaitOptions {
  if (options === undefined) return {};
  if (typeof options !== 'object' || options === null) throw optionError(name, 'must be an object of options');
  for (const option of Object.keys(options)) {
    if (option !== 'signal' && option !== 'timeoutMs') throw optionError(option, `unknown option of ${name}`);
  }
  const { signal, timeoutMs } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'must be an AbortSignal');
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 1)) {
    throw optionError('timeoutMs', 'must be a number of at least 1');
  }
  return options;
}

/**
 * Settles by the functions that `begin` gets, but rejects with the reason of the signal when that aborts, and with `late()` after
 * `timeoutMs`. What `begin` returns is called once, when the wait is over.
 */
export function waitWithin<T>(
  timers: Timers,
  { signal, timeoutMs = Number.POSITIVE_INFINITY, late }: WaitOptions & { late?: () => Error },
  begin: (resolve: (value: T) => void, reject: (reason: unknown) => void) => (() => void) | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    let isOver = false;
    let end: (() => void) | undefined;
    const over = <Result>(settle: (result: Result) => void, result: Result): void => {
      if (isOver) return;
      isOver = true;
      deadline.clear();
      signal?.removeEventListener('abort', onAbort);
      settle(result);
      end?.();
    };
    const onAbort = (): void => over(reject, signal?.reason);
    const deadline = new Deadline(timers, () => over(reject, late?.()));
    signal?.addEventListener('abort', onAbort, { once: true });
    if (timeoutMs !== Number.POSITIVE_INFINITY) deadline.set(timeoutMs);
    end = begin(
      (value) => over(resolve, value),
      (reason) => over(reject, reason),
    );
    if (isOver) end?.();
  });
}

/**
 * Resolves or rejects as `attempt` does, but with ETIMEDOUT after `timeoutMs` and with the reason of `parent` when that aborts. The
 * signal of the attempt aborts then; an attempt that does not listen to it is not waited for.
 * @param what is named in the ETIMEDOUT
 */
export function inTime<T>(
  timers: Timers,
  timeoutMs: number,
  what: string,
  attempt: (signal: AbortSignal) => Promise<T>,
  parent?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (parent?.aborted) throw parent.reason;
    const aborter = new AbortController();
    const settle = (): void => {
      timers.cancel(timer);
      parent?.removeEventListener('abort', onAbort);
    };
    const giveUp = (reason: unknown): void => {
      settle();
      reject(reason);
      aborter.abort(reason);
    };
    const onAbort = (): void => giveUp(parent?.reason);
    const timer = timers.schedule(timeoutMs, {
      onDeadline: () => giveUp(netError('ETIMEDOUT', 'connect', { address: what })),
    });
    parent?.addEventListener('abort', onAbort, { once: true });
    (async () => attempt(aborter.signal))().then(
      (value) => {
        settle();
        resolve(value);
      },
      (error) => {
        settle();
        reject(error);
      },
    );
  });
}
