// Messages and calls of one node: what `messages(node)` returns.

import { EventEmitter } from 'node:events';
import { starlaneError } from '../errors.js';
import type { Node } from '../node/node.js';
import type { Socket } from '../socket/socket.js';
import { sharedTimers } from '../util/timers.js';
import type { Inbox } from './inbox.js';
import type { MessageHandler } from './message.js';
import {
  type InboxOptions,
  type MessagesOptions,
  type ResolvedMessagesOptions,
  resolveMessagesOptions,
  type SendOptions,
} from './options.js';
import { type MessagesStats, Post, type Receipt } from './post.js';

export interface MessagesEvents {
  /** A peer has broken the protocol of messages, or something else goes on with less than it should. */
  warning: [error: Error];
  close: [];
}

const instances = new WeakMap<Node, Messages>();

/**
 * Returns the messages of a node: one object for each node.
 * @param options only with the first call
 * @throws ERR_STARLANE_OPTION
 */
export function messages(node: Node, options?: MessagesOptions): Messages {
  const existing = instances.get(node);
  if (existing !== undefined) {
    if (options !== undefined) throw starlaneError('ERR_STARLANE_OPTION', 'messages: options come with the first call');
    return existing;
  }
  const made = new Messages(node, resolveMessagesOptions(options));
  instances.set(node, made);
  return made;
}

/** Made by {@link messages}. */
export class Messages extends EventEmitter<MessagesEvents> {
  readonly #post: Post;

  /** @internal */
  constructor(node: Node, options: ResolvedMessagesOptions) {
    super();
    this.#post = new Post(node, options, sharedTimers, (error) => {
      if (this.listenerCount('warning') > 0) this.emit('warning', error);
    });
  }

  /**
   * Sends a message to `@nodeId`, a service, or a member by name. Resolves when its handler has finished. Messages to one target arrive in
   * the order of the calls.
   * @param data bytes, a text, any value that JSON has words for, or a stream of bytes
   * @throws MessageError with the property `outcome`; ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT, ERR_STARLANE_ADDRESS
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
   * Offers a service, or, without a name, what arrives for this node itself. Further names need further inboxes.
   * @throws ERR_STARLANE_OPTION, ERR_STARLANE_ADDRESS; EADDRINUSE when there is an inbox of that name
   */
  inbox(service?: string, options?: InboxOptions): Inbox {
    return this.#post.inbox(service ?? '', options);
  }

  /** Calls `handler` with each message for the service, or for this node: {@link inbox} and its `onMessage` in one. */
  onMessage<Data = unknown>(handler: MessageHandler<Data>): Inbox;
  onMessage<Data = unknown>(service: string, handler: MessageHandler<Data>, options?: InboxOptions): Inbox;
  onMessage(service: string | MessageHandler<never>, handler?: MessageHandler<never>, options?: InboxOptions): Inbox {
    if (typeof service === 'function') return this.inbox().onMessage(service);
    return this.inbox(service, options).onMessage(handler as MessageHandler<never>);
  }

  /** @internal Opens a circuit of kind CALL. Resolves when it is connected. @throws MessageError that is not handled */
  openCall(target: string, header: Buffer, options?: SendOptions): Promise<Socket> {
    return this.#post.openCall(target, header, options);
  }

  /** Returns everything that is counted. */
  stats(): MessagesStats {
    return this.#post.stats();
  }

  /**
   * Closes all inboxes, and gives up what has not left. What has left has the `closeTimeoutMs` of the node to get its outcome. Called when
   * the node closes, too.
   */
  close(): Promise<void> {
    return this.#post.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
