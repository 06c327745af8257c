// What handlers get: a message, and what is known of a call besides its input.

import type { NodeId } from '../address.js';
import type { Incoming } from './receive/incoming.js';

/** What is known of a message or call, besides its content. */
abstract class Envelope {
  // Not `private`: what the library needs must not show up when it is printed.
  readonly #incoming: Incoming;

  /** @internal */
  constructor(
    incoming: Incoming,
    /** The name of the inbox: a service, or empty for that of the node. */
    readonly service: string,
  ) {
    this.#incoming = incoming;
  }

  /** A text that no other message has. */
  get id(): string {
    return this.#incoming.id;
  }

  /** The id of the node that has sent it. */
  get from(): NodeId {
    return this.#incoming.sender.nodeId;
  }

  /** Whether that node has proved its id. */
  get verified(): boolean {
    return this.#incoming.sender.isVerified;
  }

  /** The name in the certificate of that node; undefined unless it is verified and has one. */
  get name(): string | undefined {
    return this.#incoming.sender.name;
  }

  /** The tags in the certificate of that node as a member. */
  get tags(): readonly string[] {
    return this.#incoming.sender.tags;
  }

  /** The key with which it was sent, if any. */
  get idempotencyKey(): string | undefined {
    return this.#incoming.key;
  }

  /** Milliseconds until its sender stops waiting; Infinity without a limit. */
  get remainingMs(): number {
    return this.#incoming.remainingMs;
  }

  /** Aborts when the sender has given up, the time is over, or the inbox closes. The handler should end then. */
  get signal(): AbortSignal {
    return this.#incoming.signal;
  }
}

/** A message, for `onMessage` and `for await`. */
export class Message<Data = unknown> extends Envelope {
  /** @internal */
  constructor(
    incoming: Incoming,
    service: string,
    /** What was sent. A stream arrives as a Readable; in an inbox with `streamed`, long messages do, too. */
    readonly data: Data,
  ) {
    super(incoming, service);
  }
}

/** A call, for `onCommand`. */
export class Call extends Envelope {
  /** @internal */
  constructor(
    incoming: Incoming,
    service: string,
    /** The number of the command. */
    readonly command: number,
  ) {
    super(incoming, service);
  }
}

/** Called with each message; it is handled when the function has returned and its promise has resolved. */
export type MessageHandler<Data = unknown> = (message: Message<Data>) => unknown;

/** Called with the input of each call; what it returns, or its promise resolves with, is the answer. */
export type CommandHandler<Input = unknown> = (input: Input, call: Call) => unknown;
