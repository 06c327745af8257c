// Options of messages, calls and inboxes, with their checks.

import type { BindOptions } from '../circuit/options.js';
import { optionError } from '../errors.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';
import { checkNames, integer } from './option-checks.js';
import type { OutgoingTerms } from './send/outgoing.js';
import { MAX_KEY_BYTES } from './wire/frames.js';

/** Options of `messages(node, options)`. */
export interface MessagesOptions {
  /**
   * How many messages and calls of this node may wait for their outcomes, 1 or more. Further ones fail with ERR_STARLANE_QUEUE_FULL.
   * Default 100000.
   */
  maxPending?: number | undefined;
  /** Their bytes, without streams, 1 or more. One message may be longer if it is alone. Default 67108864. */
  maxPendingBytes?: number | undefined;
  /** The longest answer of a call that is not a stream, in bytes, 1 to 2147483648. Default 67108864. */
  maxAnswerBytes?: number | undefined;
  /** How long a lost receiver is looked for before outcomes are unknown, in ms, 1 to 60000. Default 5000. */
  resumeMs?: number | undefined;
  /** How long a circuit that nobody uses stays open, in ms, 1 to 2147483647. Default 30000. */
  idleMs?: number | undefined;
}

/** Options of `send` and `call`. */
export interface SendOptions {
  /** How long the whole may take, in ms, 1 to 2147483647, or Infinity. Default 10000. */
  timeoutMs?: number | undefined;
  /** Ends the wait. What has left is cancelled at the receiver. */
  signal?: AbortSignal | undefined;
  /** Two messages with one key to one receiver run one handler. 1 to 255 bytes. */
  idempotencyKey?: string | undefined;
  /** Whether the message does no harm twice: then it is sent again when its outcome is unknown. Default false. */
  idempotent?: boolean | undefined;
}

/** Options of `inbox`, besides those of `bind`. */
export interface InboxOptions extends BindOptions {
  /**
   * Calls that run at a time, and messages of different senders, 1 to 1000000. One sender has up to 64 places for its calls, or half of them
   * if that is more. Default 1000.
   */
  concurrency?: number | undefined;
  /** The longest message and input, in bytes, 1 to 2147483648. Streams have no limit. Default 16777216. */
  maxMessageBytes?: number | undefined;
  /** Whether messages and inputs of more than 64 KiB arrive as a Readable, before they are complete. Default false. */
  streamed?: boolean | undefined;
}

/** Options of `onCommand`. */
export interface CommandOptions {
  /** Calls of this command that run at a time, 1 to 1000000. Default: that of the inbox. */
  concurrency?: number | undefined;
}

export const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_CONCURRENCY = 1_000;
const DEFAULT_MESSAGE_BYTES = 16 * 1024 * 1024;

export interface ResolvedMessagesOptions {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly maxAnswerBytes: number;
  readonly resumeMs: number;
  readonly idleMs: number;
}

/** @throws ERR_STARLANE_OPTION */
export function resolveMessagesOptions(options: MessagesOptions = {}): ResolvedMessagesOptions {
  checkNames('messages', options, ['maxPending', 'maxPendingBytes', 'maxAnswerBytes', 'resumeMs', 'idleMs']);
  return {
    maxPending: integer('maxPending', options.maxPending, 1, Number.MAX_SAFE_INTEGER, 100_000),
    maxPendingBytes: integer('maxPendingBytes', options.maxPendingBytes, 1, Number.MAX_SAFE_INTEGER, 64 * 1024 * 1024),
    maxAnswerBytes: integer('maxAnswerBytes', options.maxAnswerBytes, 1, 2 ** 31, 64 * 1024 * 1024),
    resumeMs: integer('resumeMs', options.resumeMs, 1, 60_000, 5_000),
    idleMs: integer('idleMs', options.idleMs, 1, MAX_TIMEOUT_MS, 30_000),
  };
}

const DEFAULT_TERMS: OutgoingTerms = Object.freeze({
  timeoutMs: DEFAULT_TIMEOUT_MS,
  signal: undefined,
  key: undefined,
  isIdempotent: false,
});

/** @throws ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT */
export function termsOf(options: SendOptions | undefined): OutgoingTerms {
  if (options === undefined) return DEFAULT_TERMS;
  checkNames('send', options, ['timeoutMs', 'signal', 'idempotencyKey', 'idempotent']);
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal, idempotencyKey: key, idempotent = false } = options;
  const isTime = timeoutMs === Number.POSITIVE_INFINITY || (timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS);
  if (typeof timeoutMs !== 'number' || !isTime)
    throw optionError('timeoutMs', 'a number from 1 to 2147483647 is needed, or Infinity');
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'an AbortSignal is needed');
  if (
    key !== undefined &&
    !(typeof key === 'string' && key !== '' && isWellFormed(key) && Buffer.byteLength(key) <= MAX_KEY_BYTES)
  ) {
    throw optionError('idempotencyKey', `a text of 1 to ${MAX_KEY_BYTES} bytes is needed`);
  }
  if (typeof idempotent !== 'boolean') throw optionError('idempotent', 'true or false is needed');
  return { timeoutMs, signal, key, isIdempotent: idempotent };
}

/** Whether it arrives as it is: halves of surrogates would all arrive as one character, and two keys as one. */
function isWellFormed(text: string): boolean {
  return Buffer.from(text).toString() === text;
}

export interface ResolvedInboxOptions {
  readonly concurrency: number;
  readonly maxMessageBytes: number;
  readonly isStreamed: boolean;
  /** What is left for the server. */
  readonly bind: BindOptions;
}

/** @throws ERR_STARLANE_OPTION */
export function resolveInboxOptions(options: InboxOptions = {}): ResolvedInboxOptions {
  const { concurrency, maxMessageBytes, streamed = false, ...bind } = options;
  if (typeof streamed !== 'boolean') throw optionError('streamed', 'true or false is needed');
  return {
    concurrency: concurrencyOf(concurrency),
    maxMessageBytes: integer('maxMessageBytes', maxMessageBytes, 1, 2 ** 31, DEFAULT_MESSAGE_BYTES),
    isStreamed: streamed,
    bind,
  };
}

/** @throws ERR_STARLANE_OPTION */
export function concurrencyOf(value: number | undefined, initial = DEFAULT_CONCURRENCY): number {
  return integer('concurrency', value, 1, 1_000_000, initial);
}
