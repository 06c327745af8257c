// The limits and timeouts of a node, with their defaults and reasons: everything that a peer controls has one here.

import { optionError } from '../errors.js';
import { MAX_TIMEOUT_MS } from '../util/timers.js';

/** Limits and timeouts of a node. All are integers. Each description has what happens when the limit is reached. */
export interface NodeLimits {
  /**
   * Milliseconds, 1 to 2147483647. Default 10000: a dial waits that long for the service to appear and to answer,
   * then fails with ENOTFOUND or ETIMEDOUT. Long enough for a peer to re-join, short enough for a person to wait.
   */
  dialTimeoutMs: number;
  /**
   * Milliseconds, 1 to 2147483647. Default 5000: a link whose peer has not finished the handshake is dropped with
   * ERR_STARLANE_HANDSHAKE_TIMEOUT. Some round trips around the world and a TLS handshake fit in a second.
   */
  handshakeTimeoutMs: number;
  /**
   * Milliseconds, 1 to 2147483647. Default 5000: a link on which nothing arrived for that long is pinged. Below the
   * shortest idle timeout of common NATs and load balancers, and 20 bytes a link each time.
   */
  keepAliveMs: number;
  /**
   * Milliseconds, 1 to 2147483647, more than keepAliveMs. Default 15000: a link on which nothing arrived for that
   * long is lost with ERR_STARLANE_KEEPALIVE. Three times keepAliveMs leaves a busy peer time to answer. On a path with a round
   * trip above 150 ms it is longer in proportion, four times at most: TCP takes that long to send again what is lost five times.
   */
  keepAliveTimeoutMs: number;
  /**
   * Milliseconds, 1 to 2147483647. Default 5000: how long a graceful close waits for the peer, for streams and for
   * links, before it becomes a reset.
   */
  closeTimeoutMs: number;
  /**
   * 1 to 16777216. Default 4194304 streams opened by the peer of one link; further ones are reset. At about 1 KiB a
   * stream that is 4 GiB, above what a process holds anyway, but one peer cannot fill the table without bound: a Map
   * of V8 ends at 16777216.
   */
  maxStreams: number;
  /** 1 to 65535. Default 1024 links at a time, made and accepted: further ones are refused. A file descriptor each. */
  maxLinks: number;
  /**
   * 1 to 65535. Default 128 connections that have not finished tls and the handshake. One more replaces the oldest of them when that
   * has taken a second; otherwise it is closed at once, with ERR_STARLANE_LINK_LIMIT. Their peers are unknown, and each may cost a TLS
   * handshake.
   */
  maxPendingHandshakes: number;
  /** 1 to 1000000. Default 32768 services that one node may announce; further ones are ignored with a 'warning'. */
  maxServicesPerPeer: number;
  /**
   * 1 to 1000000. Default 16384 nodes whose records are kept, about 1 KiB each; those that come when it is full are not
   * seen by this node. Above what one flat mesh is made for.
   */
  maxNodes: number;
  /**
   * 1 to 16777216. Default 65536 circuits that one neighbour may have through this node; further ones are refused, and
   * go another way if there is one. About 40 MB of a relay while they are idle.
   */
  maxCircuitsPerNeighbour: number;
  /** 1 to 16777216. Default 16384 circuits of one source through this node: one dialler cannot take all of a neighbour's. */
  maxCircuitsPerSource: number;
  /** 1 to 1000000. Default 5000 circuits a second that one neighbour may open through this node, twice that at once. */
  relayOpensPerSecond: number;
  /**
   * Bytes, 1048576 to 9007199254740991. Default 268435456 (256 MiB): what circuits through this node may together hold
   * that slow readers have not taken, a quarter of it for one link and for one source. From three quarters on, new
   * circuits are refused; at 95 %, those that hold most are reset.
   */
  relayPoolBytes: number;
  /**
   * 1 to 10000000. Default 100000 circuits a second that one link may open to services of this node, up to twice that at
   * once; the answers to further ones are held back until there is room, and those that would wait for more than two seconds
   * get ECONNREFUSED. About what one core can accept.
   */
  opensPerSecond: number;
  /**
   * 1 to 1000000. Default 1024 circuits of one link that wait for a promise of `allow`, or of `prepare`; further ones get ECONNREFUSED, those
   * that rules would decide as well. Of the services that one node offers, so many are asked about at a time; others wait.
   */
  maxPendingDecisions: number;
  /** 1 to 16777216. Default 500000 instances of services of other nodes, about 200 B each; further ones are not seen. */
  maxInstances: number;
  /**
   * 1 to 16777216. Default 4096 accepted sockets that a server's listeners have not seen yet; further dials get
   * ECONNREFUSED. The listen backlog of Linux has the same default.
   */
  acceptBacklog: number;
  /**
   * Bytes, 262144 to 9007199254740991. Default 268435456 (256 MiB): what the streams of one link may together hold
   * that readers have not consumed. Windows grow only inside it.
   */
  receiveBudgetBytes: number;
  /**
   * Bytes, 262144 to 1073741824. Default 16777216 (16 MiB): how far the window of one stream grows. That fills
   * 1 Gbit/s at a round trip of 130 ms.
   */
  maxWindowBytes: number;
  /**
   * Bytes, 16777216 to 9007199254740991. Default 67108864 (64 MiB): records of one peer that wait to be checked, and four
   * times that of all; beyond, its link ends with ERR_STARLANE_GOSSIP_FLOOD. A peer that knows a mesh of maxNodes may bring
   * that much at once.
   */
  recordQueueBytes: number;
  /** Milliseconds, 1 to 2147483647. Default 500: the wait before a lost link is joined again, doubled at each failure. */
  rejoinMinMs: number;
  /**
   * Milliseconds, 1 to 2147483647, at least rejoinMinMs. Default 60000: the longest wait between two attempts to join
   * again. They go on until close(), so this is how late a node that comes back after days is noticed.
   */
  rejoinMaxMs: number;
}

const MAX_MAP_ENTRIES = 0x100_0000;
/** The initial window of a yamux stream: less than that cannot be promised. */
const MIN_WINDOW_BYTES = 256 * 1024;

/** Default, least and greatest value of every limit. {@link NodeLimits} has the reasons. */
export const LIMITS: ReadonlyMap<keyof NodeLimits, readonly [normal: number, min: number, max: number]> = new Map([
  ['dialTimeoutMs', [10_000, 1, MAX_TIMEOUT_MS]],
  ['handshakeTimeoutMs', [5_000, 1, MAX_TIMEOUT_MS]],
  ['keepAliveMs', [5_000, 1, MAX_TIMEOUT_MS]],
  ['keepAliveTimeoutMs', [15_000, 1, MAX_TIMEOUT_MS]],
  ['closeTimeoutMs', [5_000, 1, MAX_TIMEOUT_MS]],
  ['maxStreams', [4_194_304, 1, MAX_MAP_ENTRIES]],
  ['maxLinks', [1024, 1, 65_535]],
  ['maxPendingHandshakes', [128, 1, 65_535]],
  ['maxServicesPerPeer', [32_768, 1, 1_000_000]],
  ['maxNodes', [16_384, 1, 1_000_000]],
  ['maxCircuitsPerNeighbour', [65_536, 1, MAX_MAP_ENTRIES]],
  ['maxCircuitsPerSource', [16_384, 1, MAX_MAP_ENTRIES]],
  ['relayOpensPerSecond', [5_000, 1, 1_000_000]],
  ['opensPerSecond', [100_000, 1, 10_000_000]],
  ['maxPendingDecisions', [1024, 1, 1_000_000]],
  ['relayPoolBytes', [256 * 1024 * 1024, 1024 * 1024, Number.MAX_SAFE_INTEGER]],
  ['maxInstances', [500_000, 1, MAX_MAP_ENTRIES]],
  ['acceptBacklog', [4096, 1, MAX_MAP_ENTRIES]],
  ['receiveBudgetBytes', [256 * 1024 * 1024, MIN_WINDOW_BYTES, Number.MAX_SAFE_INTEGER]],
  ['maxWindowBytes', [16 * 1024 * 1024, MIN_WINDOW_BYTES, 0x4000_0000]],
  ['recordQueueBytes', [64 * 1024 * 1024, 16 * 1024 * 1024, Number.MAX_SAFE_INTEGER]],
  ['rejoinMinMs', [500, 1, MAX_TIMEOUT_MS]],
  ['rejoinMaxMs', [60_000, 1, MAX_TIMEOUT_MS]],
] satisfies Array<[keyof NodeLimits, [number, number, number]]>);

/** The limits that a node may be given. Undefined counts as not given. */
export type LimitOptions = { [Limit in keyof NodeLimits]?: NodeLimits[Limit] | undefined };

/** The values of limits that are not given. Frozen. */
export const DEFAULT_LIMITS: Readonly<NodeLimits> = Object.freeze(
  Object.fromEntries([...LIMITS].map(([name, [normal]]) => [name, normal])) as unknown as NodeLimits,
);

/** Checks the limits that are given and fills in the others. @throws ERR_STARLANE_OPTION, with the name of the option */
export function resolveLimits(options: LimitOptions): NodeLimits {
  const limits = { ...DEFAULT_LIMITS };
  for (const [name, [, min, max]] of LIMITS) {
    const value = options[name];
    if (value === undefined) continue;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw optionError(name, `must be an integer from ${min} to ${max}`);
    }
    limits[name] = value;
  }
  if (limits.keepAliveTimeoutMs <= limits.keepAliveMs) {
    throw optionError('keepAliveTimeoutMs', `must be more than keepAliveMs (${limits.keepAliveMs})`);
  }
  if (limits.rejoinMaxMs < limits.rejoinMinMs) {
    throw optionError('rejoinMaxMs', `must not be less than rejoinMinMs (${limits.rejoinMinMs})`);
  }
  return limits;
}
