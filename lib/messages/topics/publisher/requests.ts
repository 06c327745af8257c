// Requests that wait for replies.

import { netError } from '../../../errors.js';
import { sharedTimers, type Timed, type Timer } from '../../../util/timers.js';
import { errorOfOutcome } from '../../failure.js';
import { NumberRing } from '../../number-ring.js';
import { messageError, notHandled, outcomeUnknown } from '../../outcome.js';
import { OutcomeCode } from '../../wire/frames.js';
import { Flag, Kind, ReplyStatus } from '../codec/layout.js';
import { type Reply, readData } from '../message.js';
import type { Target } from './target.js';

/** What a request waits for, and where it went. */
export interface Waiter {
  /** Called with each value. Returns whether more are wanted. */
  onValue(value: unknown): boolean;
  /** Called when no more values come. */
  onDone(error: Error | undefined): void;
  /** Called when the subscriber is gone and certainly has not got it. Returns whether it went to another one. */
  onUnsent(target: Target): boolean;
}

export class PendingRequest implements Timed {
  target: Target | undefined;
  sequence = 0;
  isOver = false;
  private readonly timer: Timer;
  private onAbort: (() => void) | undefined;

  constructor(
    readonly number: number,
    readonly topic: string,
    readonly timeoutMs: number,
    private readonly signal: AbortSignal | undefined,
    private readonly waiter: Waiter,
    private readonly requests: Requests,
  ) {
    this.timer = sharedTimers.schedule(timeoutMs, this);
    if (signal === undefined) return;
    this.onAbort = () => {
      this.target?.cancel(this.number);
      this.end(signal.reason as Error);
    };
    signal.addEventListener('abort', this.onAbort, { once: true });
  }

  /** Called by the timers. What has arrived meanwhile is read first. */
  onDeadline(): void {
    sharedTimers.afterInput(() => {
      if (this.isOver) return;
      const { wasSent } = this;
      this.target?.cancel(this.number);
      this.end(timedOut(this.topic, wasSent));
    });
  }

  /** Whether the request may have left this process. */
  private get wasSent(): boolean {
    return this.target?.wasSent(this.sequence) === true;
  }

  onReply({ status, buffer, start, end }: Reply): void {
    switch (status) {
      case ReplyStatus.VALUE:
      case ReplyStatus.MORE: {
        let value: unknown;
        try {
          value = readData(buffer, start, end);
        } catch (error) {
          this.end(error as Error);
          return;
        }
        if (!this.waiter.onValue(value)) this.end(undefined);
        else if (status === ReplyStatus.VALUE) this.end(undefined);
        break;
      }
      case ReplyStatus.END:
        this.end(undefined);
        break;
      case ReplyStatus.FAILED: {
        const text = (buffer[start] & Flag.KIND) === Kind.STRING ? (readData(buffer, start, end) as string) : '';
        this.end(errorOfOutcome(OutcomeCode.FAILED, text, this.topic, undefined));
        break;
      }
      case ReplyStatus.DROPPED:
        this.end(messageError('ERR_STARLANE_QUEUE_FULL', 'not-handled', `a subscription of ${this.topic} is full`));
        break;
      case ReplyStatus.NO_HANDLER:
        this.onUnsent();
        break;
      default:
        // Of a later version.
        this.end(outcomeUnknown(`a reply of an unknown kind from a subscriber of ${this.topic}`));
    }
  }

  /** Called when the subscriber is gone. */
  onLost(wasSent: boolean): void {
    if (wasSent) this.end(outcomeUnknown(`the subscriber of ${this.topic} is gone`));
    else this.onUnsent();
  }

  /** Called when the topics of the node are closed. */
  close(): void {
    const outcome = this.wasSent ? 'unknown' : 'not-handled';
    this.end(messageError('ERR_STARLANE_CLOSED', outcome, `a request to ${this.topic}`));
  }

  end(error: Error | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    sharedTimers.cancel(this.timer);
    if (this.onAbort !== undefined) this.signal?.removeEventListener('abort', this.onAbort);
    this.requests.delete(this);
    this.waiter.onDone(error);
  }

  private onUnsent(): void {
    const { target } = this;
    this.requests.leave(this);
    if (target !== undefined && this.waiter.onUnsent(target)) return;
    this.end(notHandled(`no subscriber of ${this.topic} has taken the request`));
  }
}

export class Requests {
  private readonly waiting = new NumberRing<PendingRequest>();
  private lastNumber = 0;

  get size(): number {
    return this.waiting.size;
  }

  nextNumber(): number {
    do this.lastNumber = (this.lastNumber + 1) >>> 0;
    while (this.waiting.has(this.lastNumber));
    return this.lastNumber;
  }

  /** Adds a request that has gone to a target. */
  add(request: PendingRequest, target: Target, sequence: number): void {
    // It may go to a second one.
    if (!this.waiting.has(request.number)) this.waiting.add(request);
    request.target = target;
    request.sequence = sequence;
    target.requests++;
  }

  leave(request: PendingRequest): void {
    const { target } = request;
    if (target === undefined) return;
    request.target = undefined;
    target.requests--;
  }

  delete(request: PendingRequest): void {
    this.leave(request);
    this.waiting.delete(request.number);
  }

  onReply(target: Target, reply: Reply): void {
    const request = this.waiting.get(reply.request);
    // Anybody could answer for others otherwise.
    if (request?.target === target) request.onReply(reply);
  }

  /** Called when a target is gone. `unsent`: the numbers of messages that it certainly has not got. */
  onLost(target: Target, unsent: ReadonlySet<number>): void {
    if (target.requests === 0) return;
    for (const request of this.all()) {
      if (request.target !== target) continue;
      const wasSent = !unsent.has(request.sequence);
      if (!wasSent || !target.isLocal) request.onLost(wasSent);
    }
  }

  close(): void {
    for (const request of this.all()) request.close();
  }

  /** Returns those that wait, oldest first. */
  private all(): PendingRequest[] {
    return this.waiting.inOrder(this.lastNumber + 1);
  }
}

function timedOut(topic: string, wasSent: boolean): Error {
  const error = netError('ETIMEDOUT', 'request', { address: topic });
  return Object.assign(error, { outcome: wasSent ? 'unknown' : 'not-handled' });
}
