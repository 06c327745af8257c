// One process of the simulation: the clock that its code sees, and its own event loop, which can be late.
//
//   RUNNING <──> SUSPENDED        blocked by its own work, or stopped by a signal
//      │  ^          v
//      │  └──── CATCHING UP       timers that are overdue, then what has arrived, then immediates: as libuv does
//      v
//    ENDED
//
// What arrives for a process that is not running waits outside of it, as in the buffers of a kernel.

import type { Clock } from '../../lib/util/timers.js';
import type { Actor, EventLoop } from './event-loop.js';

const Event = { TIMEOUT: 0, IMMEDIATE: 1, RESUME: 2, CATCH_UP: 3 } as const;

interface Timeout {
  /** Undefined when it was cleared. */
  fn: (() => void) | undefined;
}

interface Input {
  readonly actor: Actor;
  readonly kind: number;
  readonly payload: unknown;
}

export class SimProcess implements Clock, Actor {
  /** It has ended: nothing runs in it any more. */
  isEnded = false;
  /** How many reasons there are for it not to run. */
  private suspensions = 0;
  private isCatchingUp = false;
  private lateTimeouts: Timeout[] = [];
  private inputs: Input[] = [];
  private immediates: Array<() => void> = [];

  /** @param skewMs how far its clock is from that of the simulation: clocks of two processes have nothing in common */
  constructor(
    private readonly loop: EventLoop,
    private readonly skewMs = 0,
  ) {}

  /** What arrives now has to wait: {@link defer} it. */
  get isBusy(): boolean {
    return this.suspensions > 0 || this.isCatchingUp;
  }

  get isSuspended(): boolean {
    return this.suspensions > 0;
  }

  now(): number {
    return this.loop.now + this.skewMs;
  }

  setTimeout(fn: () => void, ms: number): unknown {
    const timeout: Timeout = { fn };
    if (!this.isEnded) this.loop.after(Math.max(1, ms), this, Event.TIMEOUT, timeout);
    return timeout;
  }

  clearTimeout(handle: unknown): void {
    (handle as Timeout).fn = undefined;
  }

  setImmediate(fn: () => void): void {
    if (this.isEnded) return;
    // After all that arrives in this turn.
    if (this.isBusy) this.immediates.push(fn);
    else this.loop.after(0, this, Event.IMMEDIATE, fn);
  }

  /** Input of an actor of this process, delivered again when the process reads it. */
  defer(actor: Actor, kind: number, payload: unknown): void {
    if (!this.isEnded) this.inputs.push({ actor, kind, payload });
  }

  /** Its event loop does something else for `ms`. */
  block(ms: number): void {
    this.stop();
    this.loop.after(ms, this, Event.RESUME);
  }

  /** As SIGSTOP. Each call needs a {@link resume}. */
  stop(): void {
    this.suspensions++;
  }

  resume(): void {
    if (this.suspensions === 0 || --this.suspensions > 0 || this.isEnded) return;
    this.isCatchingUp = true;
    this.loop.after(0, this, Event.CATCH_UP);
  }

  end(): void {
    this.isEnded = true;
    this.lateTimeouts = [];
    this.inputs = [];
    this.immediates = [];
  }

  /** @internal */
  onEvent(kind: number, payload: unknown): void {
    if (this.isEnded) return;
    switch (kind) {
      case Event.TIMEOUT:
        if (this.isBusy) this.lateTimeouts.push(payload as Timeout);
        else fire(payload as Timeout);
        break;
      case Event.IMMEDIATE:
        if (this.isBusy) this.immediates.push(payload as () => void);
        else (payload as () => void)();
        break;
      case Event.RESUME:
        this.resume();
        break;
      case Event.CATCH_UP:
        this.catchUp();
    }
  }

  /** One event at a time, as promise callbacks run after each. */
  private catchUp(): void {
    if (this.suspensions > 0) return;
    const timeout = this.lateTimeouts.shift();
    if (timeout !== undefined) {
      this.loop.after(0, this, Event.CATCH_UP);
      fire(timeout);
      return;
    }
    const input = this.inputs.shift();
    if (input !== undefined) {
      this.loop.after(0, this, Event.CATCH_UP);
      // It is up to date as far as this input goes, or the actor would have it wait again.
      this.isCatchingUp = false;
      input.actor.onEvent(input.kind, input.payload);
      this.isCatchingUp = true;
      return;
    }
    this.isCatchingUp = false;
    for (const fn of this.immediates) this.loop.after(0, this, Event.IMMEDIATE, fn);
    this.immediates = [];
  }
}

function fire(timeout: Timeout): void {
  const { fn } = timeout;
  timeout.fn = undefined;
  fn?.();
}
