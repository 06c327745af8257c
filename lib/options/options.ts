// The options of a node, with their defaults and reasons.

import { KeyObject } from 'node:crypto';
import { isServiceName, parseLinkAddress } from '../address.js';
import { optionError, starlaneError } from '../errors.js';
import { type Allow, type RelayRule, resolveAllow, resolveRelayRules } from './allow.js';
import { LIMITS, type LimitOptions, type NodeLimits, resolveLimits } from './limits.js';
import { type Resilience, type ResilienceOptions, resolveResilience } from './resilience.js';
import { resolveTls, secretList, type TlsFiles } from './security.js';

export { DEFAULT_LIMITS, type NodeLimits } from './limits.js';
export type { TlsFiles } from './security.js';

/** What part a node takes in the network. */
export type NodeRole = 'peer' | 'client' | 'server' | 'router';

/** What sockets and servers give as addresses. */
export type SocketAddressKind = 'id' | 'ipv4';

export interface NodeOptions extends LimitOptions {
  /**
   * Service namespace: names only meet inside the same env. Up to 16, each spelled like a service name.
   * Default: STARLANE_ENV from the environment, or else none, which is a namespace of its own.
   */
  env?: string | readonly string[] | undefined;
  /**
   * Default: STARLANE_ROLE from the environment, or else 'peer'. 'client' announces and relays nothing; 'server' announces and never dials peers by itself;
   * 'router' is another name for 'peer', kept from astranet.
   */
  role?: NodeRole | undefined;
  /**
   * May circuits of others pass through: all, none, or those that a rule matches. Rules are checked against the source of the circuit
   * and the service that it dials; others are refused, and the dialler fails with EACCES unless another path lets it through. An empty
   * list is as false. Default: STARLANE_RELAY, or else true, but false for clients.
   */
  relay?: boolean | readonly RelayRule[] | undefined;
  /** May it dial its own services. Default true. */
  loopback?: boolean | undefined;
  /**
   * The private key (Ed25519) that the id of the node follows from, or the path of its file in PEM, which is made with mode
   * 0600 if it is missing and refused if others may read it; the group may where root owns the file, as with mounted secrets.
   * Default: STARLANE_IDENTITY, a path, for one node of the process at a time, or else a fresh one for every node.
   */
  identity?: string | KeyObject | undefined;
  /**
   * The folder of credentials that `enrol` or `createNetwork` of `starlane/members` has made: the key and the certificate of a member, and
   * its seeds. Members prove themselves to each other by certificates; with a `secret` besides, nodes that have only that are members as
   * well, as long as a network changes over. Excludes `identity` and `tls`. One node of the process at a time. Default:
   * STARLANE_CREDENTIALS, or else none.
   */
  credentials?: string | undefined;
  /**
   * The file with the key of the authority, of mode 0600: a node with it issues certificates. Needs `credentials`. Default:
   * `authority.key` in the folder of credentials, if it is there.
   */
  authority?: string | undefined;
  /**
   * The secret of a network, 1 to 1024 bytes, a string as UTF-8. Nodes with it are members; links to other nodes are refused
   * (ERR_STARLANE_SECRET at both ends). Makes tls the default scheme, with certificates that follow from the identities unless
   * there is `tls` as well. Take 16 random bytes or more: a shorter one is a 'warning' ERR_STARLANE_WEAK_SECRET, as one recorded
   * handshake is enough to try guesses on. Use a list of 2 to 4 while one secret replaces another: this node proves all of them, and
   * a peer that proves one of them is a member. Default: STARLANE_SECRET, or the file of STARLANE_SECRET_FILE, together with
   * STARLANE_OLD_SECRET or the file of STARLANE_OLD_SECRET_FILE, or else none.
   */
  secret?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined;
  /**
   * A certificate and key of your own PKI, instead of certificates that follow from the identities; makes tls the default
   * scheme. The common name in the certificate of a peer is the `peerName` of the link. `setTls` can change it, but not set it first. Default: the files of STARLANE_TLS_CERT, STARLANE_TLS_KEY and STARLANE_TLS_CA, or else none.
   */
  tls?: TlsFiles | undefined;
  /**
   * Must be true to listen on plain tcp beyond loopback. Anybody on the path can read such a link, and without a secret anybody who can
   * connect is a member. With `secret` or `tls` it must be true to dial such an address, too. Default: STARLANE_INSECURE, or else false.
   */
  insecure?: boolean | undefined;
  /**
   * Who may dial services of this node, and whose services this node sees: a function, or a list of rules, where everything that no
   * rule matches is denied. Default: everybody. Checked for each circuit that comes in (direction 'dial'; denied: EACCES at the dialler),
   * and of each service that another node begins to offer (direction 'bind'; denied: it is not in `services()` and not dialled
   * by name). Rules count for both directions, so that `{ direction: 'bind' }` is needed for a node to see any services at
   * all. What this node dials and binds itself is not checked. A promise has `handshakeTimeoutMs`, and over relays no more than
   * the 1.5 s that they wait; late, rejected and thrown answers deny. A server may have its own `allow` as well, and then both must
   * allow.
   */
  allow?: Allow | undefined;
  /**
   * Link addresses, up to 8, that other nodes use to reach this one, instead of those at which it listens: a mapped port, a DNS
   * name or a load balancer. They count while the node listens. Default: STARLANE_ADVERTISE from the environment, or else where
   * the node listens, and every interface of the machine where it listens at all of them.
   */
  advertise?: string | readonly string[] | undefined;
  /**
   * What sockets and servers give as addresses. 'id': `@nodeId`, of the family 'Starlane'. 'ipv4': an address of 198.19.0.0/16 that
   * represents the node in this process, of the family 'IPv4', for programs that accept no other address; a dial to it
   * goes to that node. `socket.peer` has the id in any case. Default: STARLANE_SOCKET_ADDRESSES from the environment, or else 'id'.
   */
  socketAddresses?: SocketAddressKind | undefined;
  /** What dials do about instances that fail or are slow: see the parts. Each is off by default. A dial may have its own. */
  resilience?: ResilienceOptions | undefined;
  /** Link addresses joined at start, and retried until close(). Default none. */
  seeds?: readonly string[] | undefined;
}

/** Every option with its value, checked, but for the secret. Frozen. */
export interface ResolvedNodeOptions extends Readonly<NodeLimits> {
  /** Sorted, without repetitions. */
  readonly env: readonly string[];
  readonly role: NodeRole;
  /** Rules: one or more. */
  readonly relay: boolean | readonly RelayRule[];
  readonly loopback: boolean;
  readonly identity: string | KeyObject | undefined;
  readonly tls: Readonly<TlsFiles> | undefined;
  readonly credentials: string | undefined;
  readonly authority: string | undefined;
  readonly insecure: boolean;
  readonly allow: Allow | undefined;
  /** Empty: where the node listens. */
  readonly advertise: readonly string[];
  readonly socketAddresses: SocketAddressKind;
  /** Undefined: all of it is off. */
  readonly resilience: Resilience | undefined;
  readonly seeds: readonly string[];
}

/** As many as fit the handshake. */
const MAX_ENVS = 16;

/** As many as fit the handshake and the record of a node. */
const MAX_ADVERTISED = 8;

const ROLES: readonly NodeRole[] = ['peer', 'client', 'server', 'router'];
const OTHER_OPTIONS: ReadonlySet<string> = new Set([
  'env',
  'role',
  'relay',
  'loopback',
  'identity',
  'credentials',
  'authority',
  'secret',
  'tls',
  'insecure',
  'allow',
  'advertise',
  'socketAddresses',
  'resilience',
  'seeds',
]);

/**
 * Checks the options and fills in the defaults. An option that is `undefined` counts as not given.
 * @throws StarlaneError ERR_STARLANE_OPTION, with the name of the option
 */
export function resolveNodeOptions(options: NodeOptions = {}): ResolvedNodeOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw starlaneError('ERR_STARLANE_OPTION', 'options is not an object');
  }
  for (const name of Object.keys(options)) {
    if (!OTHER_OPTIONS.has(name) && !LIMITS.has(name as keyof NodeLimits)) throw optionError(name, 'unknown option');
  }
  // Checked, but not kept, as options are seen when a node is printed: see network-key.ts.
  secretList(options.secret);
  const limits = resolveLimits(options);
  const role = resolveRole(options.role);
  const relay = resolveRelay(options.relay, role !== 'client');
  if (relay !== false && role === 'client') throw optionError('relay', 'must be false for a client');
  const credentials = resolvePath('credentials', options.credentials);
  const authority = resolvePath('authority', options.authority);
  if (authority !== undefined && credentials === undefined)
    throw optionError('authority', 'needs the option credentials');
  for (const name of credentials === undefined ? [] : (['identity', 'tls'] as const)) {
    if (options[name] !== undefined)
      throw optionError(name, 'comes from the credentials, and must not be given besides');
  }
  return Object.freeze({
    ...limits,
    env: resolveEnv(options.env),
    role,
    relay,
    identity: resolveIdentity(options.identity),
    loopback: resolveFlag('loopback', options.loopback, true),
    tls: resolveTls(options.tls),
    credentials,
    authority,
    insecure: resolveFlag('insecure', options.insecure, false),
    allow: resolveAllow(options.allow),
    advertise: resolveAdvertise(options.advertise),
    socketAddresses: resolveSocketAddresses(options.socketAddresses),
    resilience: resolveResilience(options.resilience),
    seeds: resolveAddresses('seeds', options.seeds),
  });
}

function resolveEnv(env: unknown): readonly string[] {
  if (env === undefined) return Object.freeze([]);
  const names: readonly unknown[] = Array.isArray(env) ? env : [env];
  const unique = new Set<string>();
  for (const name of names) {
    if (typeof name !== 'string' || !isServiceName(name)) {
      throw optionError('env', 'a name has 1 to 255 bytes, and no colon, white space or control character');
    }
    unique.add(name);
  }
  if (unique.size > MAX_ENVS) throw optionError('env', `at most ${MAX_ENVS} names`);
  return Object.freeze([...unique].sort());
}

function resolveRole(role: unknown): NodeRole {
  if (role === undefined) return 'peer';
  const known = ROLES.find((name) => name === role);
  if (known === undefined) throw optionError('role', `must be one of ${ROLES.join(', ')}`);
  return known;
}

function resolveSocketAddresses(kind: unknown): SocketAddressKind {
  if (kind === undefined) return 'id';
  if (kind !== 'id' && kind !== 'ipv4') throw optionError('socketAddresses', "must be 'id' or 'ipv4'");
  return kind;
}

function resolveFlag(name: string, value: unknown, normal: boolean): boolean {
  if (value === undefined) return normal;
  if (typeof value !== 'boolean') throw optionError(name, 'must be true or false');
  return value;
}

function resolveRelay(value: unknown, normal: boolean): boolean | readonly RelayRule[] {
  if (value === undefined) return normal;
  if (Array.isArray(value)) return value.length > 0 && resolveRelayRules(value);
  if (typeof value !== 'boolean') throw optionError('relay', 'must be true, false, or a list of rules');
  return value;
}

function resolvePath(name: string, path: unknown): string | undefined {
  if (path === undefined) return undefined;
  if (typeof path !== 'string' || path === '') throw optionError(name, 'must be a path');
  return path;
}

function resolveIdentity(identity: unknown): string | KeyObject | undefined {
  if (identity === undefined || identity instanceof KeyObject) return identity;
  if (typeof identity === 'string' && identity !== '') return identity;
  throw optionError('identity', 'must be a private key as KeyObject, or the path of its file');
}

function resolveAddresses(option: string, addresses: unknown): readonly string[] {
  if (addresses === undefined) return Object.freeze([]);
  if (!Array.isArray(addresses)) throw optionError(option, 'must be a list of link addresses');
  for (const [index, address] of addresses.entries()) {
    try {
      parseLinkAddress(address);
    } catch (error) {
      throw optionError(`${option}[${index}]`, 'must be a link address', error);
    }
  }
  return Object.freeze([...new Set<string>(addresses)]);
}

function resolveAdvertise(advertise: unknown): readonly string[] {
  const addresses = resolveAddresses('advertise', typeof advertise === 'string' ? [advertise] : advertise);
  if (addresses.length > MAX_ADVERTISED) throw optionError('advertise', `at most ${MAX_ADVERTISED} addresses`);
  for (const address of addresses) {
    const where = parseLinkAddress(address);
    if (where.scheme === 'unix') continue;
    if (where.port === 0) throw optionError('advertise', `${address}: the port must be from 1 to 65535`);
    if (where.host === undefined || where.host === '0.0.0.0' || /^[0:]+$/.test(where.host)) {
      throw optionError('advertise', `${address}: must have a host that others can reach`);
    }
  }
  return addresses;
}
