// Requests of a node: who answers, and what happens when that one does not.

import { starlaneError } from '../../../errors.js';
import { Deadline } from '../../../util/deadline.js';
import { sharedTimers } from '../../../util/timers.js';
import { messageError } from '../../outcome.js';
import { Mask } from '../codec/layout.js';
import type { TopicData } from '../codec/message-writer.js';
import { integer, type RequestManyOptions, type RequestOptions, resolveTimeout } from '../options.js';
import type { Place, Publisher } from './publisher.js';
import { PendingRequest, type Requests, type Waiter } from './requests.js';
import type { Target } from './target.js';

const REQUEST_MS = 10_000;
const REQUEST_MANY_MS = 1_000;
/** How long a node that has just started waits for the directory before it says that nobody subscribes. */
export const FRESH_MS = 2_000;

export class Requester {
  private readonly startedMs = sharedTimers.now();
  private readonly fresh = new Set<() => void>();
  private readonly freshDue: Deadline;
  private isClosed = false;

  constructor(
    private readonly publisher: Publisher,
    private readonly requests: Requests,
  ) {
    this.freshDue = new Deadline(sharedTimers, () => this.onRoutes());
    this.freshDue.set(FRESH_MS);
  }

  request<T>(topic: string, data: TopicData, options: RequestOptions | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const timeoutMs = resolveTimeout(options, REQUEST_MS);
      options?.signal?.throwIfAborted();
      let result: T;
      const call = new Call(this.publisher, this.requests, topic, data, options, timeoutMs, {
        onValue: (value) => {
          result = value as T;
          return false;
        },
        onDone: (error) => {
          if (error === undefined) resolve(result);
          else reject(error);
        },
      });
      if (call.start()) return;
      if (this.isFresh) this.waitFor(call);
      else call.fail();
    });
  }

  async *requestMany<T>(
    topic: string,
    data: TopicData,
    options: RequestManyOptions | undefined,
  ): AsyncGenerator<T, void, undefined> {
    const timeoutMs = resolveTimeout(options, REQUEST_MANY_MS);
    const limit = integer('limit', options?.limit, Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER);
    options?.signal?.throwIfAborted();
    const replies = new Replies();
    const calls: Call[] = [];
    const { plain, groups } = this.publisher.routeOf(topic);
    const places: Place[] = plain.map((target) => ({ target, mask: Mask.ALL, redeliver: false }));
    for (const { members } of groups) {
      const place = this.publisher.pick(members);
      if (place !== undefined) places.push(place);
    }
    let open = places.length;
    for (const place of places) {
      const call = new Call(this.publisher, this.requests, topic, data, options, timeoutMs, {
        onValue: (value) => {
          replies.push(value);
          return true;
        },
        onDone: () => {
          open--;
          if (open === 0) replies.end();
        },
      });
      calls.push(call);
      call.startAt(place);
    }
    if (places.length === 0) throw noHandler(topic);
    let count = 0;
    try {
      for (;;) {
        const values = await replies.take();
        if (values === undefined) break;
        for (const value of values) {
          yield value as T;
          if (++count >= limit) return;
        }
      }
      options?.signal?.throwIfAborted();
    } finally {
      for (const call of calls) call.cancel();
    }
  }

  /** Called when subscribers have come or gone. */
  onRoutes(): void {
    for (const retry of [...this.fresh]) retry();
  }

  close(): void {
    this.isClosed = true;
    this.freshDue.clear();
    this.onRoutes();
    this.requests.close(starlaneError('ERR_STARLANE_CLOSED'));
  }

  private get isFresh(): boolean {
    return !this.isClosed && sharedTimers.now() - this.startedMs < FRESH_MS;
  }

  /** Waits for the directory of a node that has just started. */
  private waitFor(call: Call): void {
    const retry = (): void => {
      if (!call.isOver && !call.start()) {
        if (this.isFresh) return;
        call.fail();
      }
      this.fresh.delete(retry);
    };
    this.fresh.add(retry);
  }
}

/** One request to one subscriber, or to another one as long as none has got it. */
class Call implements Waiter {
  private readonly pending: PendingRequest;
  /** Those that have not taken it; undefined before the second attempt. */
  private tried: Set<Target> | undefined;
  private readonly untilMs: number;

  constructor(
    private readonly publisher: Publisher,
    private readonly requests: Requests,
    private readonly topic: string,
    private readonly data: TopicData,
    private readonly options: RequestOptions | undefined,
    timeoutMs: number,
    private readonly waiter: Omit<Waiter, 'onUnsent'>,
  ) {
    this.untilMs = sharedTimers.now() + timeoutMs;
    // Before anything else, so that a wrong topic is an error of the call.
    publisher.routeOf(topic);
    this.pending = new PendingRequest(requests.nextNumber(), topic, timeoutMs, options?.signal, this, requests);
  }

  get isOver(): boolean {
    return this.pending.isOver;
  }

  /** Sends it to the best subscriber. Returns false when there is none. */
  start(): boolean {
    const place = this.publisher.pick(this.publisher.responders(this.topic, this.tried));
    if (place === undefined) return false;
    this.startAt(place);
    return true;
  }

  startAt({ target, mask }: Place): void {
    const { publisher, pending } = this;
    try {
      const remainingMs = Math.max(1, this.untilMs - sharedTimers.now());
      const { headers } = this.options ?? {};
      publisher.writer.encode(publisher.routeOf(this.topic).topicBytes, this.data, {
        headers,
        request: pending.number,
        remainingMs,
      });
      const { buffer, start, end } = publisher.writer;
      const sequence = target.append(this.topic, buffer, start, end, mask);
      if (sequence === 0) {
        pending.end(messageError('ERR_STARLANE_QUEUE_FULL', 'not-handled', `too much waits for ${target.pattern}`));
        return;
      }
      this.requests.add(pending, target, sequence);
      publisher.onRequestAdded();
    } catch (error) {
      pending.end(error as Error);
    }
  }

  fail(): void {
    this.pending.end(noHandler(this.topic));
  }

  cancel(): void {
    if (this.pending.isOver) return;
    this.pending.target?.cancel(this.pending.number);
    this.pending.end(undefined);
  }

  onValue(value: unknown): boolean {
    return this.waiter.onValue(value);
  }

  onDone(error: Error | undefined): void {
    this.waiter.onDone(error);
  }

  onUnsent(target: Target): boolean {
    this.tried ??= new Set();
    this.tried.add(target);
    return this.start();
  }
}

function noHandler(topic: string): Error {
  return messageError('ERR_STARLANE_NO_HANDLER', 'not-handled', `nobody subscribes to ${topic}`);
}

/** Values that came and were not taken. */
class Replies {
  private values: unknown[] = [];
  private isEnded = false;
  private wake: (() => void) | undefined;

  push(value: unknown): void {
    this.values.push(value);
    this.wake?.();
  }

  end(): void {
    this.isEnded = true;
    this.wake?.();
  }

  /** Resolves with some values, or undefined at the end. */
  async take(): Promise<unknown[] | undefined> {
    if (this.values.length === 0 && !this.isEnded) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const { values } = this;
    this.values = [];
    return values.length === 0 ? undefined : values;
  }
}
