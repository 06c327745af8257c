// The options of a broadcast.

import { optionError } from '../../errors.js';
import { type Allow, resolveAllow } from '../../options/allow.js';
import { checkNames, integer } from '../option-checks.js';
import { MAX_MESSAGE_BYTES } from './frames.js';

/** Options of `broadcast`. */
export interface BroadcastOptions {
  /**
   * The env whose participants take part, one of those of the node. Needed for a node in several envs: otherwise it would carry messages
   * from one to the other. Default: the env of the node.
   */
  env?: string | undefined;
  /** Who may be a neighbour, as for `bind`. Default: whom the `allow` of the node lets in. */
  allow?: Allow | undefined;
  /** The longest message that `send` takes, in bytes, 1 to 1048576. Default 262144. */
  maxMessageBytes?: number | undefined;
  /** Messages that may wait for the handler, 1 to 1000000. Default 4096. */
  maxPending?: number | undefined;
  /** Their bytes, 1024 to 1073741824. Default 16 MiB. */
  maxPendingBytes?: number | undefined;
  /** What is dropped when more arrive, with the event 'slow': the oldest that wait, or the new one. Default 'drop-oldest'. */
  whenFull?: 'drop-oldest' | 'drop-newest' | undefined;
  /** Messages that are kept for participants that missed them, 1 to 1000000. Default 4096. */
  cacheMessages?: number | undefined;
  /** Their bytes, 1024 to 1073741824. Default 16 MiB. */
  cacheBytes?: number | undefined;
  /** Bytes that may wait for one neighbour before it gets announcements instead of messages, 16384 to 1073741824. Default 1 MiB. */
  outboxBytes?: number | undefined;
  /** How long the messages of an origin wait for an earlier one that is missing, in ms, 100 to 600000. Default 4000. */
  repairMs?: number | undefined;
  /** Origins that are remembered, 16 to 65536. Default 1024. */
  maxOrigins?: number | undefined;
}

export interface ResolvedBroadcastOptions {
  readonly env: string | undefined;
  readonly allow: Allow | undefined;
  readonly maxMessageBytes: number;
  readonly maxPending: number;
  readonly maxPendingBytes: number;
  readonly whenFull: 'drop-oldest' | 'drop-newest';
  readonly cacheMessages: number;
  readonly cacheBytes: number;
  readonly outboxBytes: number;
  readonly repairMs: number;
  readonly maxOrigins: number;
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** Default, least and most. */
const NUMBERS = {
  maxMessageBytes: [262_144, 1, MAX_MESSAGE_BYTES],
  maxPending: [4_096, 1, 1_000_000],
  maxPendingBytes: [16 * MIB, 1_024, GIB],
  cacheMessages: [4_096, 1, 1_000_000],
  cacheBytes: [16 * MIB, 1_024, GIB],
  outboxBytes: [MIB, 16_384, GIB],
  repairMs: [4_000, 100, 600_000],
  maxOrigins: [1_024, 16, 65_536],
} as const;

/** @throws ERR_STARLANE_OPTION */
export function resolveBroadcastOptions(options: BroadcastOptions): ResolvedBroadcastOptions {
  checkNames('broadcast', options, ['env', 'allow', 'whenFull', ...Object.keys(NUMBERS)]);
  const { env, allow, whenFull = 'drop-oldest', ...numbers } = options;
  if (env !== undefined && typeof env !== 'string') throw optionError('env', 'must be the name of an env');
  if (whenFull !== 'drop-oldest' && whenFull !== 'drop-newest') {
    throw optionError('whenFull', "must be 'drop-oldest' or 'drop-newest'");
  }
  const resolved: Record<string, number> = {};
  for (const [name, [byDefault, least, most]] of Object.entries(NUMBERS)) {
    resolved[name] = integer(name, numbers[name as keyof typeof numbers], least, most, byDefault);
  }
  resolveAllow(allow, ['dial']);
  return { env, allow, whenFull, ...(resolved as Record<keyof typeof NUMBERS, number>) };
}
