// Topics of one network, published in another network by a node in each, in one direction. Several programs that export the same topics are
// members of one queue group, so that each message crosses once.

import { EventEmitter } from 'node:events';
import { networkIdOf } from '../../identity/member-certificate.js';
import type { Node } from '../../node/node.js';
import { sharedTimers } from '../../util/timers.js';
import { wordsOf } from '../failure.js';
import { checkNames } from '../option-checks.js';
import { type MessageError, Refusal } from '../outcome.js';
import type { TopicData } from '../topics/codec/message-writer.js';
import type { TopicMessage } from '../topics/message.js';
import type { FlushOptions, PublishOptions, SubscribeOptions } from '../topics/options.js';
import type { Subscription } from '../topics/subscriber/subscription.js';
import { type Topics, topics } from '../topics/topics.js';
import { checkNodes } from './export-service.js';
import { EXPORTED } from './offered.js';

/** Messages that wait for the other network at a time; beyond that, publishers wait. */
const CONCURRENCY = 64;

const OPTIONS = ['from', 'to', 'topic', 'group', 'redeliver', 'allow'];

/** Options of `exportTopic`. */
export interface ExportTopicOptions {
  /** The node in the network whose messages are exported. */
  from: Node;
  /** The node in the network that gets them. */
  to: Node;
  /** A topic or a pattern. */
  topic: string;
  /**
   * The queue group of the exports of which one takes each message. Default: a name that follows from the network of the node `to` if it has
   * members, else 'export'. Exports to several networks without members need a name for each.
   */
  group?: string | undefined;
  /** Whether another export takes over what one had not passed on when its process ended; then some messages may come twice. Default false. */
  redeliver?: boolean | undefined;
  /** Who may publish to it, as for subscriptions. Default: everyone whom the `allow` of the node `from` lets publish. */
  allow?: SubscribeOptions['allow'];
}

/** Events of {@link TopicExport}. */
export interface TopicExportEvents {
  /** A message was not passed on, or messages were dropped. Nothing is thrown without a listener. */
  warning: [error: Error];
}

/** What exported topics have counted. */
export interface TopicExportStats {
  /** Messages and requests that were passed on, and those that are being passed on. */
  readonly passed: number;
  /** Those that an export had published: they are not exported again. */
  readonly returned: number;
  /** Those that could not be passed on. */
  readonly failed: number;
}

/** Exported topics. Made by {@link exportTopic}. */
export class TopicExport extends EventEmitter<TopicExportEvents> {
  private readonly subscription: Subscription;
  private readonly target: Topics;
  private passed = 0;
  private returned = 0;
  private failed = 0;

  /** @internal */
  constructor(from: Node, to: Node, topic: string, options: SubscribeOptions) {
    super();
    this.target = topics(to);
    this.subscription = topics(from).subscribe(topic, (message) => this.pass(message), {
      ...options,
      concurrency: CONCURRENCY,
    });
    this.subscription.on('error', (error) => this.warn(error as Error));
    this.subscription.on('slow', (error) => this.warn(error));
    const unfollow = to.queries.beforeClose(() => this.end());
    this.subscription.once('close', unfollow);
  }

  /** Returns the counters. */
  stats(): TopicExportStats {
    const { passed, returned, failed } = this;
    return { passed, returned, failed };
  }

  /** Takes no more messages, and resolves when those that have come are passed on. @throws ETIMEDOUT after `timeoutMs` (default 10000) */
  async close(options?: FlushOptions): Promise<void> {
    await this.subscription.drain(options);
  }

  /** Does what `close()` does, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  end(): void {
    this.subscription.close();
  }

  /** Publishes in the turn in which it is called, so that messages keep their order. */
  private pass(message: TopicMessage): unknown {
    const { topic, headers } = message;
    if (Object.hasOwn(headers, EXPORTED)) {
      this.returned++;
      return undefined;
    }
    const data = message.data as TopicData;
    const marked = { headers: { ...headers, [EXPORTED]: '1' } };
    this.passed++;
    if (message.expectsReply) return this.passRequest(message, data, marked);
    try {
      return this.target.publish(topic, data, marked) ? undefined : this.target.drained();
    } catch (error) {
      this.countFailed();
      throw error;
    }
  }

  /** The requester gets the outcome in the other network, not that of this handler. */
  private async passRequest(message: TopicMessage, data: TopicData, marked: PublishOptions): Promise<unknown> {
    const { topic, signal, deadlineMs } = message;
    const timeoutMs = Math.max(1, deadlineMs - sharedTimers.now());
    try {
      return await this.target.request(topic, data, { ...marked, signal, timeoutMs });
    } catch (error) {
      this.countFailed();
      const { outcome, code, cause } = error as Partial<MessageError>;
      if (outcome === 'handled') throw code === 'ERR_STARLANE_HANDLER_FAILED' ? (cause ?? error) : error;
      // No answer: the requester finds out when its time is over that the outcome is not known.
      if (outcome === 'unknown') return undefined;
      throw new Refusal('ERR_STARLANE_NOT_HANDLED', wordsOf(error).text);
    }
  }

  private countFailed(): void {
    this.passed--;
    this.failed++;
  }

  private warn(error: Error): void {
    if (this.listenerCount('warning') > 0) this.emit('warning', error);
  }
}

/**
 * Publishes in one network what is published in another one to a topic or a pattern, under the same topics: subscribers there get it if
 * their rules let the node `to` publish. Requests are passed on as well, and the replies come back. What an export has published is not
 * exported again, so that exports in both directions make no circles.
 * @throws ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT
 */
export function exportTopic(options: ExportTopicOptions): TopicExport {
  checkNames('exportTopic', options, OPTIONS);
  const { from, to, topic, group, redeliver, allow } = options;
  checkNodes(from, to);
  return new TopicExport(from, to, topic, { queue: group ?? groupFor(to), redeliver, allow });
}

function groupFor(to: Node): string {
  const [authority] = to.queries.sources.members?.authorities() ?? [];
  return authority === undefined ? 'export' : `export-${networkIdOf(authority)}`;
}
