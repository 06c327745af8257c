// Asks what the user has said by `allow`: rules answer at once; a function may, or give a promise, which has a deadline.
// Whatever is not a clear yes in time is a no.

import { type StarlaneError, starlaneError } from '../errors.js';
import type { Allow, AllowFunction, AllowRequest } from '../options/allow.js';
import { throwLater } from '../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../util/timers.js';
import { AllowRules } from './rules.js';

/** True: allowed. A text: denied, and why, as the other end is told. */
export type Verdict = true | string;

/** Tells a fault of a function of the user. `subject`: which one it is, since a peer can cause it any number of times. */
export type Warn = (subject: string, error: StarlaneError) => void;

/** One `allow`, of the node or of a server. */
export class Guard {
  private readonly rules: AllowRules | undefined;
  private readonly decide: AllowFunction | undefined;

  constructor(
    allow: Allow,
    readonly whose: 'node' | 'server',
    private readonly warn: Warn,
  ) {
    if (typeof allow === 'function') this.decide = allow;
    else this.rules = new AllowRules(allow);
  }

  ask(request: AllowRequest): Verdict | Promise<unknown> {
    if (this.decide === undefined) {
      return this.rules?.allows(request) === true ? true : `no rule of the ${this.whose} allows it`;
    }
    try {
      const answer: unknown = this.decide(request);
      // Looked at once only: it may be anything.
      return isThenable(answer) ? Promise.resolve(answer) : this.read(answer);
    } catch (error) {
      return this.failed(error);
    }
  }

  /** What an answer means. */
  read(answer: unknown): Verdict {
    if (answer === true) return true;
    if (answer !== false) this.tell('it answered neither true nor false', undefined);
    return `the ${this.whose} does not allow it`;
  }

  failed(error: unknown): Verdict {
    this.tell(error instanceof Error ? error.message : 'it threw what is no error', error);
    return `the ${this.whose} could not decide`;
  }

  private tell(what: string, cause: unknown): void {
    const subject = `allow of the ${this.whose}: ${what}`;
    this.warn(subject, starlaneError('ERR_STARLANE_ALLOW', subject, cause));
  }
}

export interface DecisionSetup {
  readonly timers: Timers;
  /** For all answers together. */
  readonly timeoutMs: number;
  /** Called once, maybe before `start` returns; never after `cancel`. */
  tell(verdict: Verdict): void;
}

/** One request, put to all guards in order: every one must allow it. */
export class Decision implements Timed {
  private at = 0;
  private timer: Timer | undefined;
  private isOver = false;

  constructor(
    private readonly guards: readonly Guard[],
    private readonly request: AllowRequest,
    private readonly setup: DecisionSetup,
  ) {}

  /** False: a promise is waited for. */
  start(): boolean {
    this.next();
    return this.isOver;
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.isOver = true;
    if (this.timer !== undefined) this.setup.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.timer = undefined;
    // A process that was busy looks first at what has arrived meanwhile: the answer may be among it.
    this.setup.timers.clock.setImmediate(() => {
      if (!this.isOver) this.settle(`the ${this.guards[this.at].whose} did not decide in time`);
    });
  }

  private next(): void {
    const { guards, request, setup } = this;
    for (; this.at < guards.length; this.at++) {
      const answer = guards[this.at].ask(request);
      if (this.isOver) return;
      if (answer === true) continue;
      if (typeof answer === 'string') this.settle(answer);
      else {
        this.timer ??= setup.timers.schedule(setup.timeoutMs, this);
        this.wait(guards[this.at], answer);
      }
      return;
    }
    this.settle(true);
  }

  private wait(guard: Guard, answer: Promise<unknown>): void {
    answer.then(
      (value) => this.onVerdict(() => guard.read(value)),
      (error) => this.onVerdict(() => guard.failed(error)),
    );
  }

  private onVerdict(read: () => Verdict): void {
    if (this.isOver) return;
    try {
      const verdict = read();
      if (verdict !== true) this.settle(verdict);
      else {
        this.at++;
        this.next();
      }
    } catch (error) {
      // Of a listener that hears of what was decided.
      throwLater(error);
    }
  }

  private settle(verdict: Verdict): void {
    this.cancel();
    this.setup.tell(verdict);
  }
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
