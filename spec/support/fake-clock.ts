// Time that moves only when a spec says so.

import type { Clock } from '../../lib/util/timers.js';

interface Timeout {
  readonly due: number;
  readonly fn: () => void;
}

export class FakeClock implements Clock {
  private time: number;
  private readonly timeouts = new Set<Timeout>();
  private immediates: Array<() => void> = [];

  constructor(startMs = 1_000) {
    this.time = startMs;
  }

  /** How many timeouts are armed. */
  get armed(): number {
    return this.timeouts.size;
  }

  /** How many callbacks of setImmediate wait for {@link runImmediates}. */
  get immediatesWaiting(): number {
    return this.immediates.length;
  }

  /** When the next timeout falls due; infinity for none. */
  get dueMs(): number {
    return this.earliest()?.due ?? Number.POSITIVE_INFINITY;
  }

  now(): number {
    return this.time;
  }

  setTimeout(fn: () => void, ms: number): unknown {
    const timeout = { due: this.time + Math.max(1, ms), fn };
    this.timeouts.add(timeout);
    return timeout;
  }

  clearTimeout(handle: unknown): void {
    this.timeouts.delete(handle as Timeout);
  }

  setImmediate(fn: () => void): void {
    this.immediates.push(fn);
  }

  /** Moves on by `ms`, and runs every timeout that falls due, in order, each at its due time. */
  advance(ms: number): void {
    const end = this.time + ms;
    for (let timeout = this.earliest(); timeout !== undefined && timeout.due <= end; timeout = this.earliest()) {
      this.timeouts.delete(timeout);
      this.time = Math.max(this.time, timeout.due);
      timeout.fn();
    }
    this.time = end;
  }

  /** The event loop was blocked for `ms`: time has passed, and no timeout has run. `advance(0)` runs what is overdue. */
  lag(ms: number): void {
    this.time += ms;
  }

  /** One turn of the event loop: runs what was waiting when called, not what that adds. */
  runImmediates(): void {
    const batch = this.immediates;
    this.immediates = [];
    for (const fn of batch) fn();
  }

  private earliest(): Timeout | undefined {
    let earliest: Timeout | undefined;
    for (const timeout of this.timeouts) {
      if (earliest === undefined || timeout.due < earliest.due) earliest = timeout;
    }
    return earliest;
  }
}
