// Options of topics, subscriptions and requests, and their limits.

import { optionError } from '../../errors.js';
import type { Allow } from '../../options/allow.js';
import { MAX_TIMEOUT_MS } from '../../util/timers.js';
import { checkNames, integer } from '../option-checks.js';
import { isGroupName } from './codec/interest.js';
import type { FullPolicy } from './outlet.js';

/** Options of `topics(node, options)`. */
export interface TopicsOptions {
  /** The longest message with its topic and headers, in bytes, 1024 to 67108864. Default 1 MiB. */
  maxMessageBytes?: number | undefined;
  /** Unconfirmed bytes for one subscriber above which `publish` returns false, 1024 to 1073741824. Default 4 MiB. */
  highWaterMark?: number | undefined;
  /** Unconfirmed bytes for one subscriber at most, 1024 to 1073741824. Default 16 MiB. */
  maxBufferedBytes?: number | undefined;
  /** What is dropped beyond `maxBufferedBytes`: the new message, or the oldest that were not sent. Default 'drop-newest'. */
  whenFull?: FullPolicy | undefined;
  /** How long a subscriber that is out of reach is looked for, in ms, 0 to 3600000. Default 10000. */
  resumeMs?: number | undefined;
}

/** Options of `subscribe`. */
export interface SubscribeOptions {
  /** The name of a queue group: one of its members gets each message. Default: none, this subscription gets all of them. */
  queue?: string | undefined;
  /** Whether another member of the queue group gets what this one had not confirmed when its process ended. Default false. */
  redeliver?: boolean | undefined;
  /** How many handlers run at the same time, 1 to 65536. Default 1, in order. */
  concurrency?: number | undefined;
  /** Messages that may wait for the handler, 1 to 16777216. Default 8192. */
  maxPending?: number | undefined;
  /** Their bytes, 1024 to 1073741824. Default 8 MiB. */
  maxPendingBytes?: number | undefined;
  /** What happens beyond that: publishers wait, or a message is dropped. Default 'pause'. */
  whenFull?: 'pause' | FullPolicy | undefined;
  /** Who may publish to it: the `allow` of the node must allow it too. The first subscription of a pattern at a node decides. Default: all. */
  allow?: Allow | undefined;
}

/** Options of `publish`. */
export interface PublishOptions {
  /** Texts by name, up to 65535 bytes as JSON. */
  headers?: Readonly<Record<string, string>> | undefined;
}

/** Options of `flush` and `drain`. */
export interface FlushOptions {
  /** How long to wait, in ms, 1 to 2147483647. Default 10000; 1000 for `requestMany`. */
  timeoutMs?: number | undefined;
  /** Ends the wait at once, with its reason as error. */
  signal?: AbortSignal | undefined;
}

/** Options of `request`. */
export interface RequestOptions extends PublishOptions, FlushOptions {}

/** Options of `requestMany`. */
export interface RequestManyOptions extends RequestOptions {
  /** How many replies are enough, 1 or more. Default: all that come in time. */
  limit?: number | undefined;
}

export type ResolvedTopicsOptions = { readonly [Key in keyof TopicsOptions]-?: NonNullable<TopicsOptions[Key]> };
export type ResolvedSubscribeOptions = {
  readonly [Key in Exclude<keyof SubscribeOptions, 'queue' | 'allow'>]-?: NonNullable<SubscribeOptions[Key]>;
} & { readonly queue: string | undefined; readonly allow: Allow | undefined };

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const TOPICS_OPTIONS = ['maxMessageBytes', 'highWaterMark', 'maxBufferedBytes', 'whenFull', 'resumeMs'];
const SUBSCRIBE_OPTIONS = ['queue', 'redeliver', 'concurrency', 'maxPending', 'maxPendingBytes', 'whenFull', 'allow'];
const POLICIES: readonly unknown[] = ['drop-oldest', 'drop-newest'];

/** @throws ERR_STARLANE_OPTION */
export function resolveTopicsOptions(options: TopicsOptions = {}): ResolvedTopicsOptions {
  checkNames('topics', options, TOPICS_OPTIONS);
  const { whenFull = 'drop-newest' } = options;
  if (!POLICIES.includes(whenFull)) throw optionError('whenFull', "must be 'drop-oldest' or 'drop-newest'");
  return {
    maxMessageBytes: integer('maxMessageBytes', options.maxMessageBytes, 1_024, 64 * MIB, MIB),
    highWaterMark: integer('highWaterMark', options.highWaterMark, 1_024, GIB, 4 * MIB),
    maxBufferedBytes: integer('maxBufferedBytes', options.maxBufferedBytes, 1_024, GIB, 16 * MIB),
    whenFull,
    resumeMs: integer('resumeMs', options.resumeMs, 0, 3_600_000, 10_000),
  };
}

/** @throws ERR_STARLANE_OPTION */
export function resolveSubscribeOptions(options: SubscribeOptions = {}): ResolvedSubscribeOptions {
  checkNames('subscribe', options, SUBSCRIBE_OPTIONS);
  const { queue, redeliver = false, whenFull = 'pause' } = options;
  if (queue !== undefined && !isGroupName(queue))
    throw optionError('queue', 'must have 1 to 64 characters, and no dot, colon, wildcard or white space');
  if (typeof redeliver !== 'boolean') throw optionError('redeliver', 'must be true or false');
  if (redeliver && queue === undefined) throw optionError('redeliver', 'is for queue groups');
  if (whenFull !== 'pause' && !POLICIES.includes(whenFull))
    throw optionError('whenFull', "must be 'pause', 'drop-oldest' or 'drop-newest'");
  return {
    queue,
    redeliver,
    concurrency: integer('concurrency', options.concurrency, 1, 65_536, 1),
    maxPending: integer('maxPending', options.maxPending, 1, 2 ** 24, 8_192),
    maxPendingBytes: integer('maxPendingBytes', options.maxPendingBytes, 1_024, GIB, 8 * MIB),
    whenFull,
    allow: options.allow,
  };
}

/** @throws ERR_STARLANE_OPTION */
export function resolveTimeout(options: FlushOptions | undefined, byDefault: number): number {
  const { timeoutMs = byDefault, signal } = options ?? {};
  if (!(typeof timeoutMs === 'number' && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS))
    throw optionError('timeoutMs', 'must be a number from 1 to 2147483647');
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw optionError('signal', 'must be an AbortSignal');
  return timeoutMs;
}
