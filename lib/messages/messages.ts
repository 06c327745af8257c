// Messages and calls of one node: what `messages(node)` returns.

import { EventEmitter } from 'node:events';
import { starlaneError } from '../errors.js';
import type { Node } from '../node/node.js';
import { sharedTimers } from '../util/timers.js';
import type { Inbox } from './inbox.js';
import type { MessageHandler } from './message.js';
import { checkNode } from './node-argument.js';
import {
  type InboxOptions,
  type MessagesOptions,
  type ResolvedMessagesOptions,
  resolveMessagesOptions,
  type SendOptions,
} from './options.js';
import { type MessagesStats, Post, type Receipt } from './post.js';

/** Events of {@link Messages}. */
export interface MessagesEvents {
  /** A peer has broken the protocol of messages (ERR_STARLANE_MESSAGE_PROTOCOL), and its circuit has ended. */
  warning: [error: Error];
  /** All is closed, and nothing is pending. */
  close: [];
}

const instances = new WeakMap<Node, Messages>();

/**
 * Returns the messages of a node: one object for each node.
 * @param options with the first call only
 * @throws ERR_STARLANE_ARGUMENT for what is no node; ERR_STARLANE_OPTION, also for options with a later call
 */
export function messages(node: Node, options?: MessagesOptions): Messages {
  checkNode(node, 'messages(node)');
  const existing = instances.get(node);
  if (existing !== undefined) {
    if (options !== undefined) throw starlaneError('ERR_STARLANE_OPTION', 'messages: options come with the first call');
    return existing;
  }
  const made = new Messages(node, resolveMessagesOptions(options));
  instances.set(node, made);
  return made;
}

/** Messages and calls of a node. Made by {@link messages}. */
export class Messages extends EventEmitter<MessagesEvents> {
  readonly #post: Post;

  /** @internal */
  constructor(node: Node, options: ResolvedMessagesOptions) {
    super();
    const warn = (error: Error): void => {
      if (this.listenerCount('warning') > 0) this.emit('warning', error);
    };
    this.#post = new Post(node, options, sharedTimers, warn, () => this.emit('close'));
  }

  /**
   * Sends a message to `@nodeId`, a service, or a member by name. Resolves when its handler has finished. Messages to one target arrive in
   * the order of the calls.
   * @param data bytes, a text, any value that JSON has words for, or a stream of bytes
   * @throws MessageError with the property `outcome`; ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT, ERR_STARLANE_ADDRESS. All of them reject the
   * promise; nothing is thrown at once.
   */
  send(target: string, data?: unknown, options?: SendOptions): Promise<Receipt> {
    return this.#post.send(target, data, undefined, options) as Promise<Receipt>;
  }

  /**
   * Calls a command of `@nodeId`, a service, or a member by name. Resolves with its answer. The calls to a service are spread over its
   * instances.
   * @param command 0 to 4294967295
   * @throws as {@link send}
   */
  call<Output = unknown>(target: string, command: number, input?: unknown, options?: SendOptions): Promise<Output> {
    return this.#post.send(target, input, command, options) as Promise<Output>;
  }

  /**
   * Offers a service, or, without a name, takes what arrives for this node itself. Each name needs an inbox of its own.
   * @throws ERR_STARLANE_OPTION, ERR_STARLANE_ADDRESS; EADDRINUSE when there is an inbox of that name; ERR_STARLANE_CLOSED
   */
  inbox(service?: string, options?: InboxOptions): Inbox {
    return this.#post.inbox(service ?? '', options);
  }

  /** Calls `handler` with each message for the service, or for this node: {@link inbox} and its `onMessage` in one call. */
  onMessage<Data = unknown>(handler: MessageHandler<Data>): Inbox;
  onMessage<Data = unknown>(service: string, handler: MessageHandler<Data>, options?: InboxOptions): Inbox;
  onMessage(service: string | MessageHandler<never>, handler?: MessageHandler<never>, options?: InboxOptions): Inbox {
    if (typeof service === 'function') return this.inbox().onMessage(service);
    return this.inbox(service, options).onMessage(handler as MessageHandler<never>);
  }

  /** Returns everything that is counted. */
  stats(): MessagesStats {
    return this.#post.stats();
  }

  /**
   * Closes all inboxes, and gives up what has not left. What has left has the `closeTimeoutMs` of the node to get its outcome. The end of the
   * node does the same. Resolves when nothing is pending. There is no way back.
   */
  close(): Promise<void> {
    return this.#post.close();
  }

  /** Does what `close()` does, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
