// An inbox: where messages and calls for a service, or for this node, arrive.

import { starlaneError } from '../errors.js';
import type { CommandHandler, Message, MessageHandler } from './message.js';
import { type CommandOptions, concurrencyOf } from './options.js';
import type { CallCircuitHandler, InboxCore, Taken } from './receive/inbox-core.js';

/** Command 0 is kept for the description of APIs. */
const MAX_COMMAND = 0xffff_ffff;

/** Returns whether a value is the number of a command. */
export function isCommandNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_COMMAND;
}

/** Where messages and calls for a service, or for this node, arrive. Made by {@link Messages.inbox}. */
export class Inbox implements AsyncIterable<Message> {
  // Not `private`: its insides must not show up when it is printed.
  readonly #core: InboxCore;
  readonly #closeTimeoutMs: number;

  /** @internal */
  constructor(core: InboxCore, closeTimeoutMs: number) {
    this.#core = core;
    this.#closeTimeoutMs = closeTimeoutMs;
  }

  /** The name of the service; empty for the inbox of the node. */
  get service(): string {
    return this.#core.service;
  }

  /**
   * Calls `handler` with each message: those of one sender in order and one at a time, those of different senders side by side. A message
   * is handled when the handler has returned, or its promise has resolved; an error that it throws travels to the sender, without its stack.
   * @throws ERR_STARLANE_ARGUMENT when there is a handler
   */
  onMessage<Data = unknown>(handler: MessageHandler<Data>): this {
    if (typeof handler !== 'function') throw starlaneError('ERR_STARLANE_ARGUMENT', 'the handler must be a function');
    this.#core.setHandler(handler as MessageHandler);
    return this;
  }

  /**
   * Calls `handler` with each call of the command, side by side, up to the limit of the command and that of the inbox. What it returns, or
   * its promise resolves with, is the answer.
   * @param number 0 to 4294967295; APIs use 0 for their description
   * @throws ERR_STARLANE_ARGUMENT, ERR_STARLANE_OPTION
   */
  onCommand<Input = unknown>(number: number, handler: CommandHandler<Input>, options: CommandOptions = {}): this {
    if (!isCommandNumber(number)) throw starlaneError('ERR_STARLANE_ARGUMENT', 'the number of a command has 32 bits');
    if (typeof handler !== 'function') throw starlaneError('ERR_STARLANE_ARGUMENT', 'the handler must be a function');
    this.#core.setCommand(
      number,
      handler as CommandHandler,
      concurrencyOf(options.concurrency, this.#core.maxConcurrency),
    );
    return this;
  }

  /**
   * @internal Calls `handler` with each circuit of kind CALL, paused: the first byte after the header is the next to be read. Without a
   * handler they are refused.
   */
  onCallCircuit(handler: CallCircuitHandler): this {
    this.#core.setCallCircuitHandler(handler);
    return this;
  }

  /**
   * Takes messages one by one. A message is handled when the loop asks for the next one, or ends. What the loop does not take stays, for
   * another loop or handler, until its time is over.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    const core = this.#core;
    let taken: Taken | undefined;
    let isOver = false;
    const done = (): void => {
      taken?.done();
      taken = undefined;
    };
    return {
      next: async () => {
        done();
        if (!isOver) taken = await core.next();
        if (taken !== undefined) return { done: false, value: taken.message };
        isOver = true;
        return { done: true, value: undefined };
      },
      return: async () => {
        isOver = true;
        done();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /**
   * Closes the inbox: the service is not offered any more, what has not begun goes back to its sender as not handled, and handlers have the
   * `closeTimeoutMs` of the node to finish. Resolves when they have, and their outcomes have left.
   */
  close(): Promise<void> {
    return this.#core.close(this.#closeTimeoutMs);
  }

  /** Does what `close()` does, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
