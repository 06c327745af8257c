// Requests of a node: who answers, and what happens when that one does not.

import { Deadline } from '../../../util/deadline.js';
import { sharedTimers } from '../../../util/timers.js';
import { integer } from '../../option-checks.js';
import { messageError } from '../../outcome.js';
import { Mask } from '../codec/layout.js';
import type { TopicData } from '../codec/message-writer.js';
import { type RequestManyOptions, type RequestOptions, resolveTimeout } from '../options.js';
import type { Place, Publisher } from './publisher.js';
import { PendingRequest, type Requests, type Waiter } from './requests.js';
import type { Target } from './target.js';

const REQUEST_MS = 10_000;
const REQUEST_MANY_MS = 1_000;
/** How long a node that has just started waits for the directory before it says that nobody subscribes. */
export const FRESH_MS = 2_000;

export class Requester {
  private readonly startedMs = sharedTimers.now();
  /** Requests that wait for the directory. */
  private readonly fresh = new Set<Call>();
  private readonly freshDue: Deadline;

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
      const waiter = {
        onValue: (value: unknown) => {
          result = value as T;
          return false;
        },
        onDone: (error: Error | undefined) => {
          if (error === undefined) resolve(result);
          else reject(error);
        },
      };
      const places = (tried?: ReadonlySet<Target>): readonly Place[] => this.publisher.responders(topic, tried);
      const call = new Call(this.publisher, this.requests, topic, data, options, timeoutMs, waiter, places);
      if (call.start()) return;
      if (this.isFresh) this.fresh.add(call);
      else call.fail();
    });
  }

  async *requestMany<T>(
    topic: string,
    data: TopicData,
    options: RequestManyOptions | undefined,
  ): AsyncGenerator<T, void, undefined> {
    const timeoutMs = resolveTimeout(options, REQUEST_MANY_MS);
    const limit = integer('limit', options?.limit, 1, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    options?.signal?.throwIfAborted();
    const replies = new Replies();
    const calls: Call[] = [];
    const { plain, groups } = this.publisher.routeOf(topic);
    let open = plain.length + groups.length;
    if (open === 0) throw noHandler(topic);
    const waiter = {
      onValue: (value: unknown) => {
        replies.push(value);
        return true;
      },
      onDone: () => {
        open--;
        if (open === 0) replies.end();
      },
    };
    const start = (places: Places): void => {
      const call = new Call(this.publisher, this.requests, topic, data, options, timeoutMs, waiter, places);
      calls.push(call);
      call.start();
      if (call.fault !== undefined) throw call.fault;
    };
    let count = 0;
    try {
      for (const target of plain) {
        const places = [{ target, mask: Mask.ALL, redeliver: false }];
        // The others get a request of their own.
        start((tried) => (tried === undefined ? places : []));
      }
      for (const { name } of groups) {
        start((tried) => this.publisher.members(topic, name).filter(({ target }) => tried?.has(target) !== true));
      }
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
    for (const call of [...this.fresh]) {
      if (!call.isOver && !call.start()) {
        if (this.isFresh) continue;
        call.fail();
      }
      this.fresh.delete(call);
    }
  }

  close(): void {
    this.freshDue.clear();
    for (const call of this.fresh) call.close();
    this.fresh.clear();
    this.requests.close();
  }

  /** Whether the directory of a node that has just started may still be incomplete. */
  private get isFresh(): boolean {
    return sharedTimers.now() - this.startedMs < FRESH_MS;
  }
}

/** Returns where a request can go. `tried`: the targets that have not taken it; undefined before the first attempt. */
type Places = (tried?: ReadonlySet<Target>) => readonly Place[];

/** One request to one subscriber, or to another one as long as none has got it. */
class Call implements Waiter {
  /** Why the request cannot be encoded. */
  fault: Error | undefined;
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
    private readonly places: Places,
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
    const { publisher, pending } = this;
    const place = publisher.pick(this.places(this.tried));
    if (place === undefined) return false;
    const { target, mask } = place;
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
        return true;
      }
      this.requests.add(pending, target, sequence);
      publisher.onRequestAdded();
    } catch (error) {
      this.fault = error as Error;
      pending.end(this.fault);
    }
    return true;
  }

  close(): void {
    this.pending.close();
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
