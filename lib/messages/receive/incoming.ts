// A message or call that has arrived, from its frame until the sender has confirmed its outcome.

import type { NodeId } from '../../address.js';
import { netError, starlaneError } from '../../errors.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { ByteSource } from '../content.js';
import { type MessageFields, NO_LIMIT_MS, OutcomeCode, type Payload } from '../wire/frames.js';
import type { IncomingList } from './incoming-list.js';

export const IncomingState = {
  /** Its turn has not come. */
  WAITING: 0,
  RUNNING: 1,
  /** It has an outcome. */
  SETTLED: 2,
} as const;

/** The sender, as the circuit has shown it. */
export interface Sender {
  readonly nodeId: NodeId;
  readonly isVerified: boolean;
  readonly name: string | undefined;
  readonly tags: readonly string[];
  /** What limits and keys count for. */
  readonly key: string;
}

/** What an incoming message belongs to. */
export interface IncomingOwner {
  readonly timers: Timers;
  readonly run: string;
  readonly epoch: number;
  /** Called with the outcome. */
  onSettled(incoming: Incoming): void;
}

/** An outcome with its answer. */
export interface Answer {
  readonly code: number;
  readonly kind: number;
  readonly payload: Payload;
  readonly bytes: number;
  readonly source: ByteSource | undefined;
}

export class Incoming implements Timed {
  state: number = IncomingState.WAITING;
  readonly number: number;
  /** Undefined for a message. */
  readonly command: number | undefined;
  readonly key: string | undefined;
  readonly kind: number;
  readonly isApart: boolean;
  readonly apartBytes: number;
  /** Undefined when the content travels apart, until it is there. */
  payload: Payload;
  /** When its time is over, by the clock of the timers; Infinity: never. */
  readonly deadlineMs: number;
  /** What it takes of the credit of its sender. */
  readonly cost: number;
  answer: Answer | undefined;
  /** The list in which it waits, and its neighbours there. */
  list: IncomingList | undefined;
  previous: Incoming | undefined;
  next: Incoming | undefined;
  /** Called with the outcome: gives back what the content took. */
  release: (() => void) | undefined;
  /** Called when nobody waits for the outcome any more. */
  onAborted: ((reason: Error) => void) | undefined;
  /** The sender was asked for its content. */
  isWanted = false;
  private aborter: AbortController | undefined;
  private timer: Timer | undefined;
  private abortReason: Error | undefined;

  constructor(
    readonly owner: IncomingOwner,
    readonly sender: Sender,
    fields: MessageFields,
    payload: Payload,
    now: number,
  ) {
    this.number = fields.number;
    this.command = fields.command;
    this.key = fields.key;
    this.kind = fields.kind;
    this.isApart = fields.isApart;
    this.apartBytes = fields.apartBytes;
    this.payload = payload;
    this.cost = fields.isApart ? 0 : fields.to - fields.from;
    this.deadlineMs = fields.remainingMs === NO_LIMIT_MS ? Number.POSITIVE_INFINITY : now + fields.remainingMs;
  }

  /** A text that no other message has. */
  get id(): string {
    const { run, epoch } = this.owner;
    return `${Buffer.from(run, 'latin1').toString('base64url')}.${epoch}.${this.number}`;
  }

  get remainingMs(): number {
    return Math.max(0, this.deadlineMs - this.owner.timers.now());
  }

  /** Aborts when the sender takes the message back, its time is over, or the receiver gives it up. Made when it is first asked for. */
  get signal(): AbortSignal {
    if (this.aborter === undefined) {
      this.aborter = new AbortController();
      const { abortReason, deadlineMs } = this;
      if (abortReason !== undefined) this.aborter.abort(abortReason);
      else if (this.state !== IncomingState.SETTLED && deadlineMs !== Number.POSITIVE_INFINITY) {
        this.timer = this.owner.timers.schedule(this.remainingMs, this);
      }
    }
    return this.aborter.signal;
  }

  onDeadline(): void {
    this.timer = undefined;
    this.abort(netError('ETIMEDOUT', 'message'));
  }

  /** Called when the sender takes it back after it has begun. */
  cancel(): void {
    this.abort(starlaneError('ERR_STARLANE_CLOSED', 'the sender has taken the message back'));
  }

  /** Lets the handler know that nobody waits for the outcome. */
  abort(reason: Error): void {
    if (this.state === IncomingState.SETTLED) return;
    this.abortReason = reason;
    this.aborter?.abort(reason);
    this.onAborted?.(reason);
  }

  settle(answer: Answer): void {
    if (this.state === IncomingState.SETTLED) return;
    this.state = IncomingState.SETTLED;
    this.payload = undefined;
    this.answer = answer;
    if (this.timer !== undefined) this.owner.timers.cancel(this.timer);
    this.timer = undefined;
    const { release } = this;
    this.release = undefined;
    release?.();
    this.owner.onSettled(this);
  }

  /** Settles without a handler. */
  refuse(code: number): void {
    this.settle(refusal(code));
  }
}

const REFUSALS = new Map<number, Answer>(
  Object.values(OutcomeCode).map((code) => [
    code,
    Object.freeze({ code, kind: 0, payload: undefined, bytes: 0, source: undefined }),
  ]),
);

/** Returns an outcome without an answer. */
export function refusal(code: number): Answer {
  return REFUSALS.get(code) as Answer;
}
