// Options of messages, calls and inboxes, with their checks.

import type { BindOptions } from '../circuit/options.js';
import { optionError } from '../errors.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';
import type { OutgoingTerms } from './send/outgoing.js';
import { MAX_KEY_BYTES } from './wire/frames.js';

export interface MessagesOptions {
  /** Messages and calls of this node without an outcome, at most. Beyond that they fail with ERR_STARLANE_QUEUE_FULL. Default 100000. */
  maxPending?: number | undefined;
  /** Their bytes, without streams. Default 67108864. */
  maxPendingBytes?: number | undefined;
  /** The longest answer of a call that is not a stream, in bytes. Default 67108864. */
  maxAnswerBytes?: number | undefined;
  /** How long a lost receiver is searched, in ms, before outcomes are unknown. Default 5000. */
  resumeMs?: number | undefined;
  /** How long a circuit stays open that nobody uses, in ms. Default 30000. */
  idleMs?: number | undefined;
}

export interface SendOptions {
  /** Bounds the whole, in ms, 1 to 2147483647, or Infinity. Default 10000. */
  timeoutMs?: number | undefined;
  /** Ends the wait. What has left is cancelled at the receiver. */
  signal?: AbortSignal | undefined;
  /** Of two messages with one key to one receiver, one runs. 1 to 255 bytes. */
  idempotencyKey?: string | undefined;
  /** The message does no harm twice: it is sent again when its outcome is unknown. Default false. */
  idempotent?: boolean | undefined;
}

export interface InboxOptions extends BindOptions {
  /**
   * Calls that run at a time, and messages of different senders. One sender has up to 64 places for its calls, or half of them if that is
   * more. Default 1000.
   */
  concurrency?: number | undefined;
  /** The longest message and input, in bytes. Streams have no limit. Default 16777216. */
  maxMessageBytes?: number | undefined;
  /** Whether messages and inputs of more than 64 KiB arrive as a Readable, and not when they are complete. Default false. */
  streamed?: boolean | undefined;
}

export interface CommandOptions {
  /** Calls of this command that run at a time. Default that of the inbox. */
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
  known('messages', options, ['maxPending', 'maxPendingBytes', 'maxAnswerBytes', 'resumeMs', 'idleMs']);
  return {
    maxPending: integer('maxPending', options.maxPending, 1, Number.MAX_SAFE_INTEGER, 100_000),
    maxPendingBytes: integer('maxPendingBytes', options.maxPendingBytes, 1, Number.MAX_SAFE_INTEGER, 64 * 1024 * 1024),
    maxAnswerBytes: integer('maxAnswerBytes', options.maxAnswerBytes, 1, 2 ** 31, 64 * 1024 * 1024),
    resumeMs: integer('resumeMs', options.resumeMs, 1, 60_000, 5_000),
    idleMs: integer('idleMs', options.idleMs, 1, MAX_TIMEOUT_MS, 30_000),
  };
}

const DEFAULT_TERMS: OutgoingTerms = Object.freeze({
  command: undefined,
  timeoutMs: DEFAULT_TIMEOUT_MS,
  signal: undefined,
  key: undefined,
  isIdempotent: false,
});

/** @throws ERR_STARLANE_OPTION, ERR_STARLANE_ARGUMENT */
export function termsOf(command: number | undefined, options: SendOptions | undefined): OutgoingTerms {
  if (options === undefined) return command === undefined ? DEFAULT_TERMS : { ...DEFAULT_TERMS, command };
  known('send', options, ['timeoutMs', 'signal', 'idempotencyKey', 'idempotent']);
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal, idempotencyKey: key, idempotent = false } = options;
  const isTime = timeoutMs === Number.POSITIVE_INFINITY || (timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS);
  if (typeof timeoutMs !== 'number' || !isTime)
    throw optionError('timeoutMs', 'a number from 1 to 2147483647 is needed, or Infinity');
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'an AbortSignal is needed');
  if (key !== undefined && !(typeof key === 'string' && key !== '' && Buffer.byteLength(key) <= MAX_KEY_BYTES)) {
    throw optionError('idempotencyKey', `a text of 1 to ${MAX_KEY_BYTES} bytes is needed`);
  }
  if (typeof idempotent !== 'boolean') throw optionError('idempotent', 'true or false is needed');
  return { command, timeoutMs, signal, key, isIdempotent: idempotent };
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

function integer(name: string, value: number | undefined, min: number, max: number, initial: number): number {
  if (value === undefined) return initial;
  if (!(Number.isInteger(value) && value >= min && value <= max)) {
    throw optionError(name, `must be an integer from ${min} to ${max}`);
  }
  return value;
}

function known(what: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null) throw optionError(what, 'must be an object of options');
  for (const name of Object.keys(options))
    if (!names.includes(name)) throw optionError(name, `unknown option of ${what}`);
}
