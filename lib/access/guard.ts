// Authorizes requests by the option `allow`. Rules decide at once; a function decides at once or by a promise, which has a deadline.
// Anything but true in time denies the request.

import { type StarlaneError, starlaneError } from '../errors.js';
import type { Allow, AllowFunction, AllowRequest } from '../options/allow.js';
import { throwLater } from '../util/runtime/throw-later.js';
import type { Timed, Timer, Timers } from '../util/timers.js';
import { AllowRules } from './rules.js';

/** True: allowed. A string: denied, with the reason that the other end receives. */
export type Verdict = true | string;

/** Warns of a fault in a function of the user. `subject` names the fault, as a peer can cause it any number of times. */
export type Warn = (subject: string, error: StarlaneError) => void;

/** The option `allow` of the node or of one server. */
export class Guard {
  private readonly rules: AllowRules | undefined;
  private readonly decide: AllowFunction | undefined;

  constructor(
    allow: Allow,
    readonly owner: 'node' | 'server',
    private readonly warn: Warn,
  ) {
    if (typeof allow === 'function') this.decide = allow;
    else this.rules = new AllowRules(allow);
  }

  /** Returns the decision about a request, or the promise of a function that decides later (see {@link read}). */
  ask(request: AllowRequest): Verdict | Promise<unknown> {
    if (this.decide === undefined) {
      return this.rules?.allows(request) === true ? true : `no rule of the ${this.owner} allows it`;
    }
    try {
      const answer: unknown = this.decide(request);
      // Read once only, as it may be anything.
      return isThenable(answer) ? Promise.resolve(answer) : this.read(answer);
    } catch (error) {
      return this.failed(error);
    }
  }

  /** Whether rules allow a request, ahead of it; false where a function decides. */
  allowsByRules(request: AllowRequest): boolean {
    return this.rules?.allows(request) === true;
  }

  /** Returns the decision that the result of a function means. */
  read(answer: unknown): Verdict {
    if (answer === true) return true;
    if (answer !== false) this.report('it returned neither true nor false', undefined);
    return `the ${this.owner} does not allow it`;
  }

  /** Returns the decision when a function has thrown, or its promise was rejected. */
  failed(error: unknown): Verdict {
    this.report(error instanceof Error ? error.message : 'it threw something that is not an Error', error);
    return `the ${this.owner} could not decide`;
  }

  private report(what: string, cause: unknown): void {
    const subject = `allow of the ${this.owner}: ${what}`;
    this.warn(subject, starlaneError('ERR_STARLANE_ALLOW', subject, cause));
  }
}

interface DecisionSetup {
  readonly timers: Timers;
  /** In milliseconds, for all guards together. */
  readonly timeoutMs: number;
  /** Called once, possibly before `start` returns; never after `cancel`. */
  onDecided(verdict: Verdict): void;
}

/** Decides about one request: asks all guards in order, and every one must allow it. */
export class Decision implements Timed {
  private at = 0;
  private timer: Timer | undefined;
  private isClosed = false;

  constructor(
    private readonly guards: readonly Guard[],
    private readonly request: AllowRequest,
    private readonly setup: DecisionSetup,
  ) {}

  /** Asks the guards. Returns false when it waits for a promise. */
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
      if (!this.isClosed) this.settle(`the ${this.guards[this.at].owner} did not decide in time`);
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
      // Thrown by a listener of the user.
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
