// Authorizes requests by the option `allow`. Rules answer at once; a function answers at once or by a promise, which has a deadline.
// Anything but a clear yes in time is a no.

import { type StarlaneError, starlaneError } from '../errors.js';
import type { Allow, AllowFunction, AllowRequest } from '../options/allow.js';
import { throwLater } from '../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../util/timers.js';
import { AllowRules } from './rules.js';

/** True: allowed. A text: denied, with the reason that the other end gets. */
export type Verdict = true | string;

/** Warns of a fault in a function of the user. `subject` names the fault, as a peer can cause it any number of times. */
export type Warn = (subject: string, error: StarlaneError) => void;

/** The option `allow` of the node or of one server. */
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
      // Read once only, as it may be anything.
      return isThenable(answer) ? Promise.resolve(answer) : this.read(answer);
    } catch (error) {
      return this.failed(error);
    }
  }

  /** Returns what an answer means. */
  read(answer: unknown): Verdict {
    if (answer === true) return true;
    if (answer !== false) this.report('it answered neither true nor false', undefined);
    return `the ${this.whose} does not allow it`;
  }

  failed(error: unknown): Verdict {
    this.report(error instanceof Error ? error.message : 'it threw something that is not an Error', error);
    return `the ${this.whose} could not decide`;
  }

  private report(what: string, cause: unknown): void {
    const subject = `allow of the ${this.whose}: ${what}`;
    this.warn(subject, starlaneError('ERR_STARLANE_ALLOW', subject, cause));
  }
}

interface DecisionSetup {
  readonly timers: Timers;
  /** For all answers together. */
  readonly timeoutMs: number;
  /** Called once, maybe before `start` returns; never after `cancel`. */
  onDecided(verdict: Verdict): void;
}

/** One request to all guards in order: every one must allow it. */
export class Decision implements Timed {
  private at = 0;
  private timer: Timer | undefined;
  private isClosed = false;

  constructor(
    private readonly guards: readonly Guard[],
    private readonly request: AllowRequest,
    private readonly setup: DecisionSetup,
  ) {}

  /** Returns false when it waits for a promise. */
  start(): boolean {
    this.next();
    return this.isClosed;
  }

  /** Gives up the wait for the answer. */
  cancel(): void {
    this.isClosed = true;
    if (this.timer !== undefined) this.setup.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.timer = undefined;
    this.setup.timers.afterInput(() => {
      if (!this.isClosed) this.settle(`the ${this.guards[this.at].whose} did not decide in time`);
    });
  }

  private next(): void {
    const { guards, request, setup } = this;
    for (; this.at < guards.length; this.at++) {
      const answer = guards[this.at].ask(request);
      if (this.isClosed) return;
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
    if (this.isClosed) return;
    try {
      const verdict = read();
      if (verdict !== true) this.settle(verdict);
      else {
        this.at++;
        this.next();
      }
    } catch (error) {
      // It comes from a listener of the user.
      throwLater(error);
    }
  }

  private settle(verdict: Verdict): void {
    this.cancel();
    this.setup.onDecided(verdict);
  }
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
