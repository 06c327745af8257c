// A message or call of this node, from the call of `send` or `call` until its outcome is known here.

import type { NodeId } from '../../address.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Content } from '../content.js';
import { MessageError, outcomeUnknown } from '../outcome.js';
import { NO_LIMIT_MS } from '../wire/frames.js';

export const OutgoingState = {
  /** It has not left this process. */
  WAITING: 0,
  /** A receiver may have it. */
  WRITTEN: 1,
  /** Its caller has the outcome. */
  SETTLED: 2,
} as const;

/** What may come in between. */
export interface OutgoingOwner {
  readonly timers: Timers;
  /** Called when its time is over. */
  onLate(out: Outgoing): void;
  onAborted(out: Outgoing, reason: unknown): void;
  /** Called once, when its caller has the outcome. */
  onSettled(out: Outgoing, error: Error | undefined): void;
}

/** Where it waits. */
export interface OutgoingPlace {
  /** Called when it was settled meanwhile: it must not be sent any more, or be cancelled. */
  onGivenUp(out: Outgoing): void;
}

export interface OutgoingTerms {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly key: string | undefined;
  readonly isIdempotent: boolean;
}

export class Outgoing implements Timed {
  state: number = OutgoingState.WAITING;
  /** In its session, once it is written. */
  number = 0;
  /** What it takes of the credit, once it is written. */
  cost = 0;
  place: OutgoingPlace | undefined;
  /** The content has begun to be read, so that it cannot be sent again. */
  isSourceUsed = false;
  /** Its handler has finished, and its answer is on its way. */
  isHandled = false;
  /** Ends what its content, or that of its answer, does at the moment. */
  giveUpContent: (() => void) | undefined;
  /** The outcome of an attempt is unknown: whatever comes of the next one, it may have run. */
  isDoubtful = false;
  /** Instances that are of no use for it. */
  avoided: NodeId[] | undefined;
  /** Why the last attempt came to nothing. */
  failure: Error | undefined;
  readonly key: string | undefined;
  readonly isIdempotent: boolean;
  private readonly deadlineMs: number;
  private timer: Timer | undefined;
  private readonly signal: AbortSignal | undefined;
  private onAbort: (() => void) | undefined;

  /** @param order grows with each message of this node */
  constructor(
    readonly order: number,
    private readonly owner: OutgoingOwner,
    /** Of the user. */
    readonly target: string,
    /** Undefined for a message. */
    readonly command: number | undefined,
    public content: Content,
    terms: OutgoingTerms,
    private readonly resolve: (value: unknown) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    const { timeoutMs, signal, key, isIdempotent } = terms;
    this.key = key;
    this.isIdempotent = isIdempotent;
    this.signal = signal;
    this.deadlineMs = owner.timers.now() + timeoutMs;
    if (timeoutMs !== Number.POSITIVE_INFINITY) this.timer = owner.timers.schedule(timeoutMs, this);
    if (signal !== undefined) {
      this.onAbort = () => owner.onAborted(this, signal.reason);
      signal.addEventListener('abort', this.onAbort, { once: true });
    }
  }

  get isSettled(): boolean {
    return this.state === OutgoingState.SETTLED;
  }

  /** Milliseconds that are left, for the receiver. */
  remainingMs(now: number): number {
    if (this.deadlineMs === Number.POSITIVE_INFINITY) return NO_LIMIT_MS;
    return Math.min(NO_LIMIT_MS - 1, Math.max(0, Math.ceil(this.deadlineMs - now)));
  }

  onDeadline(): void {
    this.timer = undefined;
    // The outcome may be among what has arrived meanwhile.
    this.owner.timers.afterInput(() => {
      if (!this.isSettled) this.owner.onLate(this);
    });
  }

  succeed(value: unknown): void {
    if (this.isSettled) return;
    this.settle(undefined);
    this.resolve(value);
  }

  fail(error: MessageError): void {
    if (this.isSettled) return;
    const known = this.isDoubtful && error.outcome === 'not-handled' ? inDoubt(error) : error;
    this.settle(known);
    this.reject(known);
  }

  private settle(error: Error | undefined): void {
    this.state = OutgoingState.SETTLED;
    if (this.timer !== undefined) this.owner.timers.cancel(this.timer);
    if (this.onAbort !== undefined) this.signal?.removeEventListener('abort', this.onAbort);
    const { giveUpContent } = this;
    this.giveUpContent = undefined;
    giveUpContent?.();
    this.owner.onSettled(this, error);
  }
}

function inDoubt(error: MessageError): MessageError {
  if (error.code === 'ETIMEDOUT') return new MessageError(error.code, 'unknown', error.message, { cause: error.cause });
  return outcomeUnknown('an attempt before this one may have reached a handler', error);
}
