// The option `allow`: who may dial the services of a node, and whose services it sees. Its types, and the check of its form. Relay
// rules are rules of the same kind, without a direction.
//
// Rules are a list of what is allowed; what no rule matches is denied. A rule matches when everything that it names matches.
// access/rules.ts applies the rules; access/guard.ts calls the functions.

import { AsyncResource } from 'node:async_hooks';
import { isNodeId, isServiceName } from '../address.js';
import { optionError } from '../errors.js';

/** 'dial': the peer dials a service of this node. 'bind': the peer offers a service to this node. */
export type AllowDirection = 'dial' | 'bind';

/** The peer of a request. */
export interface AllowPeer {
  /** The id of the node. Unless it is `verified`, it is only a claim of the peer. */
  readonly id: string;
  /**
   * The name in its certificate; undefined unless it is `verified` and has one: as a member of a network with an authority, or on a link
   * that uses your own PKI.
   */
  readonly name: string | undefined;
  /** The tags in its certificate as a member; empty unless it is `verified` and has one. */
  readonly tags: readonly string[];
  /** Whether it has proved its id: always on a direct link; through relays when the circuit is secure. */
  readonly verified: boolean;
  /** The nodes in between, nearest first, without proof; empty on a direct link, and for 'bind'. */
  readonly via: readonly string[];
  /** The envs that it claims, as far as this node knows their names: from its own option `env`, or from rules. */
  readonly env: readonly string[];
}

export interface AllowRequest {
  readonly peer: AllowPeer;
  /** The name that is bound, even when only its port was dialled; empty for a bind to a bare port. */
  readonly service: string;
  /** The port that is dialled; for 'bind' that of the service, 0 when it answers for any. */
  readonly port: number;
  readonly direction: AllowDirection;
}

/** True allows, anything else denies. An answer that is neither true nor false is also a 'warning' ERR_STARLANE_ALLOW. */
export type AllowFunction = (request: AllowRequest) => boolean | Promise<boolean>;

/** Each field is a text, or a list of which one has to match. A field that is left out matches everything; it must not be undefined. */
export interface AllowRule {
  /** Node ids. Matches only peers that are verified, like `name`, `tag` and `env`. */
  readonly id?: string | readonly string[];
  /** Names in certificates; `*` matches any run of characters. With your own PKI, that of a node that offers a service is unknown. */
  readonly name?: string | readonly string[];
  /** Tags in certificates of members, of which the peer needs one; `*` matches any run of characters. */
  readonly tag?: string | readonly string[];
  readonly env?: string | readonly string[];
  /** Names of services; `*` matches any run of characters. Empty: a bind to a bare port. */
  readonly service?: string | readonly string[];
  readonly direction?: AllowDirection | readonly AllowDirection[];
}

export type Allow = AllowFunction | readonly AllowRule[];

/** Whose circuits to which services may pass through a node. Fields as those of {@link AllowRule}. */
export interface RelayRule {
  /** Node ids of sources. Matches only sources that are verified, like `name`, `tag` and `env`. */
  readonly id?: string | readonly string[];
  readonly name?: string | readonly string[];
  readonly tag?: string | readonly string[];
  readonly env?: string | readonly string[];
  /** Names of services as they are dialled; empty: a dial to a port of a node. */
  readonly service?: string | readonly string[];
}

type Key = keyof AllowRule;

/** The check of each field of a rule, and the text of its error. */
const VALUES: ReadonlyMap<string, readonly [isValid: (text: string) => boolean, wanted: string]> = new Map<
  Key,
  readonly [(text: string) => boolean, string]
>([
  ['id', [isNodeId, 'a node id']],
  ['name', [(text) => text !== '', 'a name']],
  ['tag', [(text) => text !== '', 'a tag']],
  ['env', [isServiceName, 'the name of an env']],
  ['service', [(text) => text === '' || isServiceName(text), 'the name of a service']],
  ['direction', [(text) => text === 'dial' || text === 'bind', "'dial' or 'bind'"]],
]);

const ALLOW_KEYS: readonly string[] = [...VALUES.keys()];
const RELAY_KEYS: readonly string[] = ALLOW_KEYS.filter((key) => key !== 'direction');
const QUERY_KEYS: readonly string[] = RELAY_KEYS.filter((key) => key !== 'service');

/**
 * Checks the option and returns a frozen copy, unless it is a function. Undefined: everything is allowed.
 * @throws ERR_STARLANE_OPTION, with the place of the fault
 */
export function resolveAllow(
  allow: unknown,
  directions: readonly AllowDirection[] = ['dial', 'bind'],
): Allow | undefined {
  if (allow === undefined) return undefined;
  // It is called when others dial, in the async context in which it was set.
  if (typeof allow === 'function') return AsyncResource.bind(allow as AllowFunction);
  if (!Array.isArray(allow)) throw optionError('allow', 'must be a function or a list of rules');
  return Object.freeze(
    Array.from(allow, (rule, index) => {
      const place = `allow[${index}]`;
      const resolved = resolveRule(rule, place, ALLOW_KEYS);
      const asked = resolved.direction === undefined ? directions : listOf(resolved.direction);
      if (!directions.some((direction) => asked.includes(direction))) {
        throw optionError(`${place}.direction`, 'a server can only have rules for dials');
      }
      return resolved;
    }),
  );
}

/** Checks relay rules and returns a frozen copy. @throws ERR_STARLANE_OPTION, with the place of the fault */
export function resolveRelayRules(rules: readonly unknown[]): readonly RelayRule[] {
  return Object.freeze(Array.from(rules, (rule, index) => resolveRule(rule, `relay[${index}]`, RELAY_KEYS)));
}

/** Checks rules of the option queries and returns a frozen copy. @throws ERR_STARLANE_OPTION, with the place of the fault */
export function resolveQueryRules(rules: readonly unknown[]): readonly AllowRule[] {
  return Object.freeze(Array.from(rules, (rule, index) => resolveRule(rule, `queries[${index}]`, QUERY_KEYS)));
}

function resolveRule(rule: unknown, place: string, keys: readonly string[]): AllowRule {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) {
    throw optionError(place, `must be a rule such as { ${keys.join(', ')} }`);
  }
  const resolved: Partial<Record<Key, string | readonly string[]>> = {};
  for (const [key, value] of Object.entries(rule)) {
    const known = keys.includes(key) ? VALUES.get(key) : undefined;
    if (known === undefined) throw optionError(`${place}.${key}`, 'unknown field of a rule');
    const [isValid, wanted] = known;
    // A value that is missing by mistake must not make a rule that matches everybody.
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (values.length === 0 || !Array.from(values).every((one) => typeof one === 'string' && isValid(one))) {
      throw optionError(`${place}.${key}`, `must be ${wanted}, or a list of them`);
    }
    resolved[key as Key] = Array.isArray(value) ? Object.freeze([...(value as string[])]) : (value as string);
  }
  return Object.freeze(resolved) as AllowRule;
}

/** Returns the value of a field as a list. */
export function listOf<T extends string>(value: T | readonly T[]): readonly T[] {
  return typeof value === 'string' ? [value] : value;
}
