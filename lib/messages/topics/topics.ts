// Topics of a node: publish, subscribe, request. docs/topics.md says what is certain.

import { EventEmitter } from 'node:events';
import { netError, starlaneError } from '../../errors.js';
import type { ServiceInfo } from '../../mesh/directory/service.js';
import type { Node } from '../../node/node.js';
import { waitWithin } from '../../util/deadline.js';
import { RecentMap } from '../../util/recent-map.js';
import { throwLater } from '../../util/runtime/throw-later.js';
import { sharedTimers } from '../../util/timers.js';
import { checkNode } from '../node-argument.js';
import { type MessageError, messageError } from '../outcome.js';
import { TOPIC_PORT } from '../ports.js';
import type { TopicData } from './codec/message-writer.js';
import { checkPattern, SERVICE_PREFIX } from './codec/pattern.js';
import {
  type FlushOptions,
  type PublishOptions,
  type RequestManyOptions,
  type RequestOptions,
  type ResolvedTopicsOptions,
  resolveSubscribeOptions,
  resolveTimeout,
  resolveTopicsOptions,
  type SubscribeOptions,
  type TopicsOptions,
} from './options.js';
import { LocalSubscriber } from './publisher/local-subscriber.js';
import { Publisher } from './publisher/publisher.js';
import { Requester } from './publisher/requester.js';
import { Requests } from './publisher/requests.js';
import type { Target } from './publisher/target.js';
import { PatternPort } from './subscriber/pattern-port.js';
import { Subscription, type TopicHandler } from './subscriber/subscription.js';

const FLUSH_MS = 10_000;
/** Patterns whose binds are counted. */
const MAX_BIND_COUNTS = 4_096;

/** What {@link TopicsEvents.slow} has besides its code. */
export interface SlowSubscriber extends MessageError {
  /** The id of the node of the subscriber. */
  readonly subscriber: string;
  /** The pattern of the subscription. */
  readonly topic: string;
  /** How many messages were dropped since the last event. */
  readonly count: number;
}

/** Events of {@link Topics}. */
export interface TopicsEvents {
  /** Messages for a subscriber were dropped: ERR_STARLANE_SLOW_SUBSCRIBER. At most once a second for each. */
  slow: [error: SlowSubscriber];
  /** A subscriber cannot be reached, does not allow this node, or has broken the protocol. Messages for it may be lost. */
  warning: [error: Error];
}

// It is a PortOwner and a PublisherOwner. It does not say so, as users do not see the members for that in its declaration.
/** Publish, subscribe and request by topic. Made by {@link topics}. */
export class Topics extends EventEmitter<TopicsEvents> {
  /** @internal */
  readonly options: ResolvedTopicsOptions;
  /** @internal */
  readonly requests = new Requests();
  private readonly publisher: Publisher;
  private readonly requester: Requester;
  private readonly ports = new Map<string, PatternPort>();
  private readonly locals = new Map<PatternPort, LocalSubscriber>();
  private readonly subscriptions = new Set<Subscription>();
  private readonly binds = new RecentMap<string, number[]>(MAX_BIND_COUNTS);
  private readonly hasLoopback: boolean;
  private readonly unfollow: () => void;
  private readonly unfollowClose: () => void;
  private isClosed = false;

  /** @internal */
  constructor(
    /** @internal */
    readonly node: Node,
    options: TopicsOptions | undefined,
  ) {
    super();
    this.options = resolveTopicsOptions(options);
    this.hasLoopback = node.queries.sources.options.loopback;
    this.publisher = new Publisher(node, this.options, this);
    this.requester = new Requester(this.publisher, this.requests);
    const services = node.serviceMap();
    services.on('add', this.onAdd);
    services.on('remove', this.onRemove);
    for (const [, instances] of services) for (const instance of instances) this.onAdd(instance);
    this.unfollow = node.queries.follow(({ name }) => {
      if (name === 'drain') for (const subscription of this.subscriptions) subscription.drain().catch(() => {});
    });
    this.unfollowClose = node.queries.beforeClose(() => this.close());
  }

  /**
   * Publishes to all subscribers that this node knows. Returns false when one of them has more than `highWaterMark` bytes unconfirmed: then
   * wait for {@link drained}, or messages may be dropped. Without subscribers nothing happens.
   * @throws ERR_STARLANE_ARGUMENT for what is no topic, or for data that JSON cannot hold; ERR_STARLANE_MESSAGE_SIZE; ERR_STARLANE_CLOSED
   */
  publish(topic: string, data?: TopicData, options?: PublishOptions): boolean {
    if (this.isClosed) throw starlaneError('ERR_STARLANE_CLOSED');
    return this.publisher.publish(topic, data, options?.headers === undefined ? undefined : options);
  }

  /**
   * Subscribes to a topic or pattern. The handler is called with each message, one at a time unless the option `concurrency` says otherwise; what it
   * returns answers requests. Without one, iterate over the subscription.
   * @throws ERR_STARLANE_ARGUMENT, ERR_STARLANE_OPTION, ERR_STARLANE_CLOSED
   */
  subscribe(pattern: string, handler?: TopicHandler, options?: SubscribeOptions): Subscription;
  subscribe(pattern: string, options: SubscribeOptions | undefined, handler?: TopicHandler): Subscription;
  subscribe(
    pattern: string,
    first?: TopicHandler | SubscribeOptions,
    second?: TopicHandler | SubscribeOptions,
  ): Subscription {
    if (this.isClosed) throw starlaneError('ERR_STARLANE_CLOSED');
    checkPattern(pattern);
    const [handler, options] = typeof first === 'function' ? [first, second] : [second, first];
    if (handler !== undefined && typeof handler !== 'function')
      throw starlaneError('ERR_STARLANE_ARGUMENT', 'a handler must be a function');
    const resolved = resolveSubscribeOptions(options as SubscribeOptions | undefined);
    const port = this.portOf(pattern, resolved.allow);
    const subscription = new Subscription(pattern, handler as TopicHandler | undefined, resolved, port);
    port.add(subscription);
    this.subscriptions.add(subscription);
    subscription.once('close', () => this.subscriptions.delete(subscription));
    return subscription;
  }

  /**
   * Sends a request to one subscriber, and resolves with its answer.
   * @throws ERR_STARLANE_NO_HANDLER, ERR_STARLANE_HANDLER_FAILED, ERR_STARLANE_QUEUE_FULL, ERR_STARLANE_NOT_HANDLED, ERR_STARLANE_OUTCOME_UNKNOWN,
   * ETIMEDOUT after `timeoutMs` (default 10000), each with `outcome`; the reason of the signal; as {@link publish}
   */
  request<T = unknown>(topic: string, data?: TopicData, options?: RequestOptions): Promise<T> {
    if (this.isClosed)
      return Promise.reject(messageError('ERR_STARLANE_CLOSED', 'not-handled', `a request to ${topic}`));
    return this.requester.request(topic, data, options);
  }

  /**
   * Sends a request to all subscribers, one of each queue group, and iterates over their answers: `limit` at most, until `timeoutMs` (default
   * 1000) is over or each has given its last.
   * @throws ERR_STARLANE_NO_HANDLER; the reason of the signal; as {@link publish}
   */
  requestMany<T = unknown>(
    topic: string,
    data?: TopicData,
    options?: RequestManyOptions,
  ): AsyncGenerator<T, void, undefined> {
    if (this.isClosed) throw starlaneError('ERR_STARLANE_CLOSED');
    return this.requester.requestMany(topic, data, options);
  }

  /** Resolves when no subscriber has more than `highWaterMark` bytes unconfirmed. */
  drained(): Promise<void> {
    return this.publisher.drained();
  }

  /**
   * Resolves when all current subscribers have handled what was published before.
   * @throws ETIMEDOUT after `timeoutMs` (default 10000), or the reason of the signal
   */
  async flush(options?: FlushOptions): Promise<void> {
    const timeoutMs = resolveTimeout(options, FLUSH_MS);
    await waitWithin<void>(
      sharedTimers,
      { timeoutMs, signal: options?.signal, late: () => netError('ETIMEDOUT', 'flush') },
      (resolve, reject) => {
        this.publisher.confirmed().then(resolve, reject);
        return undefined;
      },
    );
  }

  /** Ends all subscriptions, drops what is not sent, and fails all requests with ERR_STARLANE_CLOSED. {@link flush} goes first where that matters. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const services = this.node.serviceMap();
    services.off('add', this.onAdd);
    services.off('remove', this.onRemove);
    this.unfollow();
    this.unfollowClose();
    for (const subscription of [...this.subscriptions]) subscription.close();
    for (const port of [...this.ports.values()]) this.onUnused(port);
    this.requester.close();
    this.publisher.close();
    opened.delete(this.node);
  }

  // --- of ports ---

  /** @internal */
  onRoom(port: PatternPort): void {
    this.locals.get(port)?.deliver();
  }

  /** @internal */
  onInterest(): void {
    this.publisher.onRoutesChanged();
  }

  /** @internal */
  onUnused(port: PatternPort): void {
    if (this.ports.get(port.pattern) !== port) return;
    this.ports.delete(port.pattern);
    const local = this.locals.get(port);
    this.locals.delete(port);
    if (local !== undefined) this.publisher.removeLocal(local);
    port.close();
  }

  /** @internal */
  warn(error: Error): void {
    this.onWarning(error);
  }

  // --- of the publisher ---

  /** @internal */
  onSlow({ nodeId, pattern }: Target, count: number): void {
    if (this.listenerCount('slow') === 0) return;
    const error = messageError(
      'ERR_STARLANE_SLOW_SUBSCRIBER',
      'not-handled',
      `${count} messages of ${pattern} for ${nodeId}`,
    );
    this.emitSafely('slow', Object.assign(error, { subscriber: nodeId, topic: pattern, count }));
  }

  /** @internal */
  onWarning(error: Error): void {
    if (this.listenerCount('warning') > 0) this.emitSafely('warning', error);
  }

  /** @internal */
  onRoutes(): void {
    // The first routes are found while this object is made.
    this.requester?.onRoutes();
  }

  private readonly onAdd = ({ service, nodeId, port, local, meta }: ServiceInfo): void => {
    if (port !== TOPIC_PORT || local || !service.startsWith(SERVICE_PREFIX)) return;
    this.publisher.onListed(nodeId, service.slice(SERVICE_PREFIX.length), meta);
  };

  private readonly onRemove = ({ service, nodeId, port, local }: ServiceInfo): void => {
    if (port !== TOPIC_PORT || local || !service.startsWith(SERVICE_PREFIX)) return;
    this.publisher.onUnlisted(nodeId, service.slice(SERVICE_PREFIX.length));
  };

  private portOf(pattern: string, allow: SubscribeOptions['allow']): PatternPort {
    const known = this.ports.get(pattern);
    if (known !== undefined) return known;
    let binds = this.binds.get(pattern);
    if (binds === undefined) {
      binds = [];
      this.binds.set(pattern, binds);
    }
    const port = new PatternPort(pattern, this, allow, binds);
    this.ports.set(pattern, port);
    if (this.hasLoopback) {
      const local = new LocalSubscriber(this.node.id, port, this.options, this.publisher);
      this.locals.set(port, local);
      this.publisher.addLocal(local);
    }
    return port;
  }

  private emitSafely(event: 'slow' | 'warning', error: unknown): void {
    try {
      this.emit(event, error as never);
    } catch (thrown) {
      throwLater(thrown);
    }
  }
}

const opened = new WeakMap<Node, Topics>();

/**
 * Returns the topics of a node: the same object for each call. Only the first call uses the options.
 * @throws ERR_STARLANE_ARGUMENT for what is no node; ERR_STARLANE_OPTION
 */
export function topics(node: Node, options?: TopicsOptions): Topics {
  checkNode(node, 'topics(node)');
  let known = opened.get(node);
  if (known === undefined) {
    known = new Topics(node, options);
    opened.set(node, known);
  }
  return known;
}
