// The idle timeout of one socket. Made only for sockets that set one; activity costs a number, not a timer.

import { invalidArgType, outOfRange } from '../util/runtime/node-errors.js';
import { MAX_TIMEOUT_MS, sharedTimers, type Timed, type Timer } from '../util/timers.js';

/**
 * The arguments of setTimeout.
 * @throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE as net.Socket
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

  /** `timeoutMs`: what is longer than a timer of Node can be is cut to that. */
  constructor(
    timeoutMs: number,
    private readonly onIdle: () => void,
  ) {
    this.timeoutMs = Math.min(timeoutMs, MAX_TIMEOUT_MS);
    this.lastActive = sharedTimers.now();
    this.timer = sharedTimers.schedule(this.timeoutMs, this);
  }

  /** Bytes went in or out: the time counts from now. */
  touch(): void {
    this.lastActive = sharedTimers.now();
    this.timer ??= sharedTimers.schedule(this.timeoutMs, this);
  }

  stop(): void {
    if (this.timer !== null) sharedTimers.cancel(this.timer);
    this.timer = null;
  }

  onDeadline(now: number): void {
    const left = this.lastActive + this.timeoutMs - now;
    if (left > 0) {
      this.timer = sharedTimers.schedule(left, this);
      return;
    }
    // As net.Socket: once, and again only after further activity.
    this.timer = null;
    this.onIdle();
  }
}
