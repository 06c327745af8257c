// The idle timeout of one socket. Only sockets that set one have it; activity sets a number and restarts no timer.

import { invalidArgType, outOfRange } from '../util/runtime/node-errors.js';
import { MAX_TIMEOUT_MS, sharedTimers, type Timed, type Timer } from '../util/timers.js';

/**
 * Checks the arguments of setTimeout.
 * @throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE as net.Socket does
 */
export function checkTimeout(timeoutMs: unknown, callback: unknown): void {
  if (typeof timeoutMs !== 'number') throw invalidArgType('msecs', 'of type number', timeoutMs);
  if (!(timeoutMs >= 0 && timeoutMs < Number.POSITIVE_INFINITY)) {
    throw outOfRange('msecs', 'a non-negative finite number', timeoutMs);
  }
  if (callback !== undefined && typeof callback !== 'function') {
    throw invalidArgType('callback', 'of type function', callback);
  }
}

export class IdleTimeout implements Timed {
  private timer: Timer | null;
  private lastActive: number;
  private readonly timeoutMs: number;

  /** `timeoutMs`: milliseconds, cut to 2147483647, the longest timer of Node. */
  constructor(
    timeoutMs: number,
    private readonly onIdle: () => void,
  ) {
    this.timeoutMs = Math.min(timeoutMs, MAX_TIMEOUT_MS);
    this.lastActive = sharedTimers.now();
    this.timer = sharedTimers.schedule(this.timeoutMs, this);
  }

  /** Called when bytes were received or sent: the timeout counts from now. */
  touch(): void {
    this.lastActive = sharedTimers.now();
    this.timer ??= sharedTimers.schedule(this.timeoutMs, this);
  }

  /** Drops the timer. */
  dispose(): void {
    if (this.timer !== null) sharedTimers.cancel(this.timer);
    this.timer = null;
  }

  onDeadline(now: number): void {
    const left = this.lastActive + this.timeoutMs - now;
    if (left > 0) {
      this.timer = sharedTimers.schedule(left, this);
      return;
    }
    // Once, and again only after further activity, as net.Socket does.
    this.timer = null;
    this.onIdle();
  }
}
