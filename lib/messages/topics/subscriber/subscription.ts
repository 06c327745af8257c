// A subscription as its user holds it: it runs the handler, or hands messages to an iteration, and keeps what has to wait, up to a bound.

import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { netError } from '../../../errors.js';
import { waitWithin } from '../../../util/deadline.js';
import { Fifo } from '../../../util/fifo.js';
import { throwLater } from '../../../util/runtime/throw-later.js';
import { sharedTimers } from '../../../util/timers.js';
import { failureOf } from '../../failure.js';
import { type MessageError, messageError, Refusal } from '../../outcome.js';
import { ReplyStatus } from '../codec/layout.js';
import type { TopicMessage } from '../message.js';
import { type FlushOptions, type ResolvedSubscribeOptions, resolveTimeout } from '../options.js';
import { SlowReports } from '../slow-reports.js';

/** Called with each message; what it returns, or its promise resolves with, is the reply to a request. Undefined is none. */
export type TopicHandler = (message: TopicMessage) => unknown;

/** Events of {@link Subscription}. */
export interface SubscriptionEvents {
  /** Messages were lost, here or at a publisher: ERR_STARLANE_SLOW_SUBSCRIBER with `topic` (the pattern) and `count`. At most once a second. */
  slow: [error: MessageError];
  /** A handler has failed for a message that is no request. Without a listener, the error is thrown, as by any emitter. */
  error: [error: unknown];
  /** The subscription has ended. */
  close: [];
}

/** What owns a subscription. */
export interface SubscriptionOwner {
  /** Called when messages have to wait at publishers, and when that is over. */
  onRoomChanged(): void;
  /** Called by close(). */
  onClosed(subscription: Subscription): void;
  /** Takes no more messages of publishers. Resolves when those that were sent have arrived. */
  withdraw(subscription: Subscription): Promise<void>;
}

export class Subscription extends EventEmitter<SubscriptionEvents> implements AsyncIterable<TopicMessage> {
  /** Messages that were lost: at publishers, and here. */
  lost = 0;
  /** Messages whose handlers have finished, or that an iteration has taken. */
  handled = 0;
  /** @internal Publishers have to wait. */
  isFull = false;
  private isEnded = false;
  /** The async context of the handlers: that of the code that has subscribed. */
  private readonly scope = new AsyncResource('STARLANESUBSCRIPTION');
  private running = 0;
  private readonly queue = new Fifo<TopicMessage>();
  private queuedBytes = 0;
  private readonly takers: Array<(result: IteratorResult<TopicMessage>) => void> = [];
  private readonly slow: SlowReports;
  private draining: Promise<void> | undefined;
  private onIdle: (() => void) | undefined;

  /** @internal */
  constructor(
    /** The pattern. */
    readonly pattern: string,
    private readonly handler: TopicHandler | undefined,
    /** @internal */
    readonly options: ResolvedSubscribeOptions,
    private readonly owner: SubscriptionOwner,
  ) {
    super();
    this.slow = new SlowReports(sharedTimers, (count) => this.reportSlow(count));
  }

  /** The queue group; undefined without one. */
  get group(): string | undefined {
    return this.options.queue;
  }

  /** Messages that wait for the handler, and those that it handles. */
  get pending(): number {
    return this.queue.size + this.running;
  }

  /** Whether it has ended. */
  get closed(): boolean {
    return this.isEnded;
  }

  /** @internal Takes a message, which is released later. */
  push(message: TopicMessage): void {
    message.holders++;
    const isEmpty = this.queue.size === 0;
    if (this.handler !== undefined) {
      if (isEmpty && this.running < this.options.concurrency) {
        this.run(this.handler, message);
        return;
      }
    } else if (this.takers.length > 0) {
      this.running++;
      (this.takers.shift() as (result: IteratorResult<TopicMessage>) => void)({ value: message, done: false });
      return;
    }
    const { maxPending, maxPendingBytes, whenFull } = this.options;
    const isTooMuch = !isEmpty && (this.queue.size >= maxPending || this.queuedBytes + message.bytes > maxPendingBytes);
    if (isTooMuch && whenFull === 'drop-newest') {
      this.drop(message);
      return;
    }
    if (isTooMuch && whenFull === 'drop-oldest') this.drop(this.shift() as TopicMessage);
    this.queue.push(message);
    this.queuedBytes += message.bytes;
    if (whenFull === 'pause') this.updateRoom();
  }

  /** @internal Counts messages that publishers could not send. */
  countLost(count: number): void {
    this.lost += count;
    this.slow.add(count);
  }

  /** Ends at once. What waits is dropped; handlers that run go on. */
  close(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.slow.close();
    this.queuedBytes = 0;
    this.isFull = false;
    // Before publishers know that the subscription is gone, as they could not tell then what has become of their requests.
    for (const message of this.queue.takeAll()) {
      message.answer(ReplyStatus.NO_HANDLER, undefined);
      message.release();
    }
    this.owner.onClosed(this);
    for (const taker of this.takers.splice(0)) taker({ value: undefined, done: true });
    this.onIdle?.();
    this.emitSafely('close');
  }

  /**
   * Takes no more messages, handles those that were sent, and then ends. Resolves then, or rejects after `timeoutMs` (default 10000), when it
   * has ended nevertheless.
   * @throws ETIMEDOUT, or the reason of the signal
   */
  drain(options?: FlushOptions): Promise<void> {
    const timeoutMs = resolveTimeout(options, 10_000);
    this.draining ??= this.drainWithin(timeoutMs, options?.signal);
    return this.draining;
  }

  /** Takes messages one by one. One is handled when the loop asks for the next. Leaving the loop closes the subscription. */
  [Symbol.asyncIterator](): AsyncIterator<TopicMessage, undefined> {
    let taken: TopicMessage[] = [];
    let isOver = false;
    const finishTaken = (): void => {
      const finished = taken;
      taken = [];
      for (const message of finished) this.finish(message);
    };
    return {
      next: async () => {
        finishTaken();
        const result = await this.take();
        if (!result.done) taken.push(result.value);
        // The loop was left while this waited.
        if (isOver) finishTaken();
        return result as IteratorResult<TopicMessage, undefined>;
      },
      return: async () => {
        isOver = true;
        finishTaken();
        this.close();
        return { value: undefined, done: true };
      },
    };
  }

  private take(): IteratorResult<TopicMessage> | Promise<IteratorResult<TopicMessage>> {
    const value = this.shift();
    if (value !== undefined) {
      this.running++;
      this.updateRoom();
      return { value, done: false };
    }
    if (this.isEnded) return { value: undefined, done: true };
    return new Promise((resolve) => this.takers.push(resolve));
  }

  private run(handler: TopicHandler, message: TopicMessage): void {
    this.running++;
    // Nobody else waits for it.
    if (message.isGivenUp) {
      this.finish(message);
      return;
    }
    let result: unknown;
    let isPromise: boolean;
    try {
      result = this.scope.runInAsyncScope(handler, undefined, message);
      isPromise = typeof (result as PromiseLike<unknown> | undefined)?.then === 'function';
    } catch (error) {
      this.fail(message, error);
      return;
    }
    if (!isPromise) this.answer(message, result);
    else {
      // What only looks like a promise may call back twice, or throw.
      Promise.resolve(result).then(
        (value) => {
          this.answer(message, value);
          this.pump();
        },
        (error) => {
          this.fail(message, error);
          this.pump();
        },
      );
    }
  }

  private answer(message: TopicMessage, value: unknown): void {
    if (message.expectsReply) {
      try {
        if (value !== undefined) message.answer(ReplyStatus.VALUE, value);
        else if (message.hasResponded) message.answer(ReplyStatus.END, undefined);
      } catch (error) {
        // The answer cannot be sent.
        this.fail(message, error);
        return;
      }
    }
    this.finish(message);
  }

  private fail(message: TopicMessage, error: unknown): void {
    if (error instanceof Refusal) message.answer(ReplyStatus.NO_HANDLER, undefined);
    else {
      try {
        message.answer(ReplyStatus.FAILED, failureOf(error).payload);
      } catch {
        message.answer(ReplyStatus.FAILED, failureOf('the error is longer than maxMessageBytes').payload);
      }
    }
    // Requesters get their errors.
    if (!message.expectsReply) {
      if (this.listenerCount('error') > 0) this.emitSafely('error', error);
      else throwLater(error);
    }
    this.finish(message);
  }

  private finish(message: TopicMessage): void {
    this.running--;
    this.handled++;
    message.release();
    if (this.onIdle !== undefined && this.pending === 0) this.onIdle();
  }

  private pump(): void {
    const { handler } = this;
    if (handler === undefined) return;
    while (this.running < this.options.concurrency) {
      const message = this.shift();
      if (message === undefined) return;
      this.updateRoom();
      this.run(handler, message);
    }
  }

  private shift(): TopicMessage | undefined {
    const message = this.queue.shift();
    if (message !== undefined) this.queuedBytes -= message.bytes;
    return message;
  }

  private updateRoom(): void {
    const { maxPending, maxPendingBytes } = this.options;
    const count = this.queue.size;
    const isFull = this.isFull
      ? count > maxPending >> 1 || this.queuedBytes > maxPendingBytes >> 1
      : count >= maxPending || this.queuedBytes >= maxPendingBytes;
    if (isFull === this.isFull) return;
    this.isFull = isFull;
    this.owner.onRoomChanged();
  }

  private drop(message: TopicMessage): void {
    this.countLost(1);
    message.answer(ReplyStatus.DROPPED, undefined);
    message.release();
  }

  private reportSlow(count: number): void {
    if (this.listenerCount('slow') === 0) return;
    const error = messageError('ERR_STARLANE_SLOW_SUBSCRIBER', 'not-handled', `${count} messages of ${this.pattern}`);
    this.emitSafely('slow', Object.assign(error, { topic: this.pattern, count }));
  }

  /** Emits an event. What a listener throws is raised later, so that it does not reach the circuits. */
  private emitSafely(event: keyof SubscriptionEvents, ...values: unknown[]): void {
    try {
      (this.emit as (name: string, ...values: unknown[]) => boolean).call(this, event, ...values);
    } catch (thrown) {
      throwLater(thrown);
    }
  }

  private async drainWithin(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    try {
      if (this.isEnded) return;
      await waitWithin<void>(
        sharedTimers,
        { timeoutMs, signal, late: () => netError('ETIMEDOUT', 'drain', { address: this.pattern }) },
        (resolve, reject) => {
          this.owner.withdraw(this).then(() => {
            if (this.pending === 0 || this.isEnded) resolve();
            else
              this.onIdle = () => {
                if (this.pending === 0 || this.isEnded) resolve();
              };
          }, reject);
          return undefined;
        },
      );
    } finally {
      this.close();
    }
  }
}
