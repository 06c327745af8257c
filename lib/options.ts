// What a node can be told, with defaults and the reasons for them. Everything here does something.

import { KeyObject } from 'node:crypto';
import { isServiceName, parseLinkAddress } from './address.js';
import { type StarlaneError, starlaneError } from './errors.js';

/** What part a node takes in the network. */
export type NodeRole = 'peer' | 'client' | 'server' | 'router';

/** A certificate and key of an own PKI, in PEM, as node:tls takes them. */
export interface TlsFiles {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  /** Who may sign the certificates of peers. Default: the authorities that Node trusts. */
  readonly ca?: string | Buffer | ReadonlyArray<string | Buffer>;
}

/** Limits and timeouts of a node. All are integers; each says what happens when it is reached. */
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
   * long is lost with ERR_STARLANE_KEEPALIVE. Three times keepAliveMs leaves a busy peer time to answer.
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
   * 1 to 65535. Default 128 accepted links before the end of their handshake; further ones are closed at once. These
   * are strangers still, and each may cost a TLS handshake.
   */
  maxPendingHandshakes: number;
  /** 1 to 1000000. Default 10000 services that one node may announce; further ones are ignored with a 'warning'. */
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
  /** Milliseconds, 1 to 2147483647. Default 500: the wait before a lost link is joined again, doubled at each failure. */
  rejoinMinMs: number;
  /**
   * Milliseconds, 1 to 2147483647, at least rejoinMinMs. Default 60000: the longest wait between two attempts to join
   * again. They go on until close(), so this is how late a node that comes back after days is noticed.
   */
  rejoinMaxMs: number;
}

export interface NodeOptions extends Partial<NodeLimits> {
  /**
   * Service namespace: names only meet inside the same env. Up to 16, each spelled like a service name.
   * Default: STARLANE_ENV from the environment, or else none, which is a namespace of its own.
   */
  env?: string | readonly string[];
  /**
   * Default 'peer'. 'client' announces and relays nothing; 'server' announces and never dials peers by itself;
   * 'router' relays by trade.
   */
  role?: NodeRole;
  /** May circuits of others pass through. Default true, but false for clients. */
  relay?: boolean;
  /** May it dial its own services. Default true. */
  loopback?: boolean;
  /**
   * The private key (Ed25519) that the id of the node follows from, or the path of its file in PEM, which is made with mode
   * 0600 if it is missing and refused if others may read it. Default: a fresh one for every node.
   */
  identity?: string | KeyObject;
  /** A certificate and key of an own PKI; makes tls the default scheme. Default: none, links are plain. */
  tls?: TlsFiles;
  /** Must be true to listen beyond loopback without tls: whoever reaches the port is then a peer. Default false. */
  insecure?: boolean;
  /** Link addresses joined at start and tried again for ever. Default none. */
  seeds?: readonly string[];
}

/** Every option with its value, checked. Frozen. */
export interface ResolvedNodeOptions extends Readonly<NodeLimits> {
  /** Sorted, without repetitions. */
  readonly env: readonly string[];
  readonly role: NodeRole;
  readonly relay: boolean;
  readonly loopback: boolean;
  readonly identity: string | KeyObject | undefined;
  readonly tls: Readonly<TlsFiles> | undefined;
  readonly insecure: boolean;
  readonly seeds: readonly string[];
}

/** As many as fit the handshake. */
export const MAX_ENVS = 16;

const ROLES: readonly NodeRole[] = ['peer', 'client', 'server', 'router'];
const MAX_TIMEOUT_MS = 0x7fff_ffff;
const MAX_MAP_ENTRIES = 0x100_0000;
/** The initial window of a yamux stream: less than that cannot be promised. */
const MIN_WINDOW_BYTES = 256 * 1024;

/** Default, least and greatest value of every limit. The reasons stand in {@link NodeLimits}. */
const LIMITS: ReadonlyMap<keyof NodeLimits, readonly [normal: number, min: number, max: number]> = new Map([
  ['dialTimeoutMs', [10_000, 1, MAX_TIMEOUT_MS]],
  ['handshakeTimeoutMs', [5_000, 1, MAX_TIMEOUT_MS]],
  ['keepAliveMs', [5_000, 1, MAX_TIMEOUT_MS]],
  ['keepAliveTimeoutMs', [15_000, 1, MAX_TIMEOUT_MS]],
  ['closeTimeoutMs', [5_000, 1, MAX_TIMEOUT_MS]],
  ['maxStreams', [4_194_304, 1, MAX_MAP_ENTRIES]],
  ['maxLinks', [1024, 1, 65_535]],
  ['maxPendingHandshakes', [128, 1, 65_535]],
  ['maxServicesPerPeer', [10_000, 1, 1_000_000]],
  ['maxNodes', [16_384, 1, 1_000_000]],
  ['maxCircuitsPerNeighbour', [65_536, 1, MAX_MAP_ENTRIES]],
  ['maxCircuitsPerSource', [16_384, 1, MAX_MAP_ENTRIES]],
  ['relayOpensPerSecond', [5_000, 1, 1_000_000]],
  ['relayPoolBytes', [256 * 1024 * 1024, 1024 * 1024, Number.MAX_SAFE_INTEGER]],
  ['maxInstances', [500_000, 1, MAX_MAP_ENTRIES]],
  ['acceptBacklog', [4096, 1, MAX_MAP_ENTRIES]],
  ['receiveBudgetBytes', [256 * 1024 * 1024, MIN_WINDOW_BYTES, Number.MAX_SAFE_INTEGER]],
  ['maxWindowBytes', [16 * 1024 * 1024, MIN_WINDOW_BYTES, 0x4000_0000]],
  ['rejoinMinMs', [500, 1, MAX_TIMEOUT_MS]],
  ['rejoinMaxMs', [60_000, 1, MAX_TIMEOUT_MS]],
] satisfies Array<[keyof NodeLimits, [number, number, number]]>);

/** The value of every limit that is not given. Frozen. */
export const DEFAULT_LIMITS: Readonly<NodeLimits> = Object.freeze(
  Object.fromEntries([...LIMITS].map(([name, [normal]]) => [name, normal])) as unknown as NodeLimits,
);

const OTHER_OPTIONS: ReadonlySet<string> = new Set([
  'env',
  'role',
  'relay',
  'loopback',
  'identity',
  'tls',
  'insecure',
  'seeds',
]);

/**
 * Checks the options and fills in the defaults. An option that is `undefined` counts as not given.
 * @throws StarlaneError ERR_STARLANE_OPTION, naming the option
 */
export function resolveNodeOptions(options: NodeOptions = {}): ResolvedNodeOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw starlaneError('ERR_STARLANE_OPTION', 'options is not an object');
  }
  for (const name of Object.keys(options)) {
    if (!OTHER_OPTIONS.has(name) && !LIMITS.has(name as keyof NodeLimits))
      throw optionError(name, 'there is no such option');
  }
  const limits = resolveLimits(options);
  const role = resolveRole(options.role);
  const relay = resolveFlag('relay', options.relay, role !== 'client');
  if (relay && role === 'client') throw optionError('relay', 'a client relays nothing');
  return Object.freeze({
    ...limits,
    env: resolveEnv(options.env),
    role,
    relay,
    identity: resolveIdentity(options.identity),
    loopback: resolveFlag('loopback', options.loopback, true),
    tls: resolveTls(options.tls),
    insecure: resolveFlag('insecure', options.insecure, false),
    seeds: resolveSeeds(options.seeds),
  });
}

function resolveLimits(options: NodeOptions): NodeLimits {
  const limits = { ...DEFAULT_LIMITS };
  for (const [name, [, min, max]] of LIMITS) {
    const value = options[name];
    if (value === undefined) continue;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw optionError(name, `an integer from ${min} to ${max} is needed`);
    }
    limits[name] = value;
  }
  if (limits.keepAliveTimeoutMs <= limits.keepAliveMs) {
    throw optionError('keepAliveTimeoutMs', `it must be more than keepAliveMs (${limits.keepAliveMs})`);
  }
  if (limits.rejoinMaxMs < limits.rejoinMinMs) {
    throw optionError('rejoinMaxMs', `it must not be less than rejoinMinMs (${limits.rejoinMinMs})`);
  }
  return limits;
}

function resolveEnv(env: unknown): readonly string[] {
  if (env === undefined) return Object.freeze([]);
  const names: readonly unknown[] = Array.isArray(env) ? env : [env];
  const unique = new Set<string>();
  for (const name of names) {
    if (typeof name !== 'string' || !isServiceName(name)) {
      throw optionError('env', 'a name has 1 to 255 bytes, no colon, white space or control character');
    }
    unique.add(name);
  }
  if (unique.size > MAX_ENVS) throw optionError('env', `at most ${MAX_ENVS} names`);
  return Object.freeze([...unique].sort());
}

function resolveRole(role: unknown): NodeRole {
  if (role === undefined) return 'peer';
  const known = ROLES.find((name) => name === role);
  if (known === undefined) throw optionError('role', `one of ${ROLES.join(', ')} is needed`);
  return known;
}

function resolveFlag(name: string, value: unknown, normal: boolean): boolean {
  if (value === undefined) return normal;
  if (typeof value !== 'boolean') throw optionError(name, 'true or false is needed');
  return value;
}

function resolveIdentity(identity: unknown): string | KeyObject | undefined {
  if (identity === undefined || identity instanceof KeyObject) return identity;
  if (typeof identity === 'string' && identity !== '') return identity;
  throw optionError('identity', 'a private key as KeyObject, or the path of its file, is needed');
}

function resolveTls(tls: unknown): Readonly<TlsFiles> | undefined {
  if (tls === undefined) return undefined;
  if (typeof tls !== 'object' || tls === null || Array.isArray(tls))
    throw optionError('tls', '{ cert, key, ca } is needed');
  for (const name of Object.keys(tls)) {
    if (name !== 'cert' && name !== 'key' && name !== 'ca') throw optionError(`tls.${name}`, 'there is no such option');
  }
  const { cert, key, ca } = tls as Partial<TlsFiles>;
  if (!isPem(cert)) throw optionError('tls.cert', 'a string or Buffer of PEM is needed');
  if (!isPem(key)) throw optionError('tls.key', 'a string or Buffer of PEM is needed');
  if (ca !== undefined && !(Array.isArray(ca) ? ca.length > 0 && ca.every(isPem) : isPem(ca))) {
    throw optionError('tls.ca', 'a string or Buffer of PEM, or a list of them, is needed');
  }
  return Object.freeze({ cert, key, ca });
}

function isPem(value: unknown): value is string | Buffer {
  return (typeof value === 'string' || Buffer.isBuffer(value)) && value.length > 0;
}

function resolveSeeds(seeds: unknown): readonly string[] {
  if (seeds === undefined) return Object.freeze([]);
  if (!Array.isArray(seeds)) throw optionError('seeds', 'a list of link addresses is needed');
  for (const [index, seed] of seeds.entries()) {
    try {
      parseLinkAddress(seed);
    } catch (error) {
      throw optionError(`seeds[${index}]`, 'a link address is needed', error);
    }
  }
  return Object.freeze([...new Set<string>(seeds)]);
}

function optionError(name: string, reason: string, cause?: unknown): StarlaneError {
  return starlaneError('ERR_STARLANE_OPTION', `${name}: ${reason}`, cause);
}
