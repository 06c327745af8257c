// Topics of a network, published in another one by a node of each, one way: what subscribers there get, and nothing else. Several programs that
// export the same topics are members of one queue group, so that each message crosses once.

import { EventEmitter } from 'node:events';
import { optionError } from '../../errors.js';
import { networkIdOf } from '../../identity/member-certificate.js';
import type { Node } from '../../node/node.js';
import type { TopicData } from '../topics/codec/message-writer.js';
import type { TopicMessage } from '../topics/message.js';
import type { FlushOptions, SubscribeOptions } from '../topics/options.js';
import type { Subscription } from '../topics/subscriber/subscription.js';
import { type Topics, topics } from '../topics/topics.js';
import { checkNodes } from './export-service.js';
import { EXPORTED } from './offered.js';

/** Messages that wait for the other network at a time; beyond that, publishers wait. */
const CONCURRENCY = 64;

const OPTIONS: ReadonlySet<string> = new Set(['from', 'to', 'topic', 'group', 'redeliver', 'allow']);

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
  /** Messages and requests that were passed on. */
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
  }

  /** Returns everything that is counted. */
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
    if (message.expectsReply) return this.target.request(topic, data, { ...marked, signal: message.signal });
    try {
      return this.target.publish(topic, data, marked) ? undefined : this.target.drained();
    } catch (error) {
      this.passed--;
      this.failed++;
      throw error;
    }
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
  for (const option of Object.keys(options)) {
    if (!OPTIONS.has(option)) throw optionError(option, 'unknown option of exportTopic');
  }
  const { from, to, topic, group, redeliver, allow } = options;
  checkNodes(from, to);
  const made = new TopicExport(from, to, topic, { queue: group ?? groupFor(to), redeliver, allow });
  for (const node of [from, to]) node.once('close', () => made.end());
  return made;
}

function groupFor(to: Node): string {
  const [authority] = to.queries.sources.members?.authorities() ?? [];
  return authority === undefined ? 'export' : `export-${networkIdOf(authority)}`;
}
