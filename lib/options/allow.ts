// The option `allow`: who may dial the services of a node, and whose services it sees. Its types, and the check of its form.
//
// Rules are a list of what is allowed; what no rule matches is denied. A rule matches when everything that it names matches.
// See access/rules.ts for the rules at work, and access/guard.ts for who is asked when.

import { AsyncResource } from 'node:async_hooks';
import { isNodeId, isServiceName } from '../address.js';
import { optionError } from '../errors.js';

/** 'dial': the peer dials a service of this node. 'bind': the peer offers a service to this node. */
export type AllowDirection = 'dial' | 'bind';

/** Who asks. */
export interface AllowPeer {
  /** The id of the node. As long as it is not `verified`, it is what the peer says. */
  readonly id: string;
  /** The common name of its certificate; undefined unless the link to it is one of an own PKI. */
  readonly name: string | undefined;
  /** It has proved that the id is its own: always on a direct link; through relays when the circuit is secure. */
  readonly verified: boolean;
  /** The nodes in between, nearest first, as they say; empty on a direct link, and for 'bind'. */
  readonly via: readonly string[];
  /** The envs it says it is in, as far as this node knows their names: from its own option `env`, or from rules. */
  readonly env: readonly string[];
}

export interface AllowRequest {
  readonly peer: AllowPeer;
  /** The name that is bound, also when it was dialled by its port alone; empty for what is bound to a bare port. */
  readonly service: string;
  /** The port that is dialled; for 'bind' that of the service, 0 when it answers for any. */
  readonly port: number;
  readonly direction: AllowDirection;
}

/** True allows. All else denies; what is neither true nor false is a 'warning' ERR_STARLANE_ALLOW besides. */
export type AllowFunction = (request: AllowRequest) => boolean | Promise<boolean>;

/** Each a text, or a list of which one has to fit. What is not named fits in any case; what is named must not be undefined. */
export interface AllowRule {
  /** Node ids. Only of peers that are verified, as `name` and `env`. */
  readonly id?: string | readonly string[];
  /** Names in certificates; `*` stands for any run of characters. Not known of a node that offers a service. */
  readonly name?: string | readonly string[];
  readonly env?: string | readonly string[];
  /** Names of services; `*` stands for any run of characters. Empty: what is bound to a bare port. */
  readonly service?: string | readonly string[];
  readonly direction?: AllowDirection | readonly AllowDirection[];
}

export type Allow = AllowFunction | readonly AllowRule[];

type Key = keyof AllowRule;

/** What each value of a rule must be, and how that is said. */
const VALUES: ReadonlyMap<string, readonly [isValid: (text: string) => boolean, wanted: string]> = new Map<
  Key,
  readonly [(text: string) => boolean, string]
>([
  ['id', [isNodeId, 'a node id']],
  ['name', [(text) => text !== '', 'a name']],
  ['env', [isServiceName, 'the name of an env']],
  ['service', [(text) => text === '' || isServiceName(text), 'the name of a service']],
  ['direction', [(text) => text === 'dial' || text === 'bind', "'dial' or 'bind'"]],
]);

/**
 * Checks the option and makes it this node's own: a frozen copy, unless it is a function. Undefined: nothing is said, and all
 * is allowed.
 * @throws ERR_STARLANE_OPTION, naming the place
 */
export function resolveAllow(
  allow: unknown,
  directions: readonly AllowDirection[] = ['dial', 'bind'],
): Allow | undefined {
  if (allow === undefined) return undefined;
  // It is asked when others dial, in the context of whoever has set it.
  if (typeof allow === 'function') return AsyncResource.bind(allow as AllowFunction);
  if (!Array.isArray(allow)) throw optionError('allow', 'must be a function or a list of rules');
  return Object.freeze(Array.from(allow, (rule, index) => resolveRule(rule, `allow[${index}]`, directions)));
}

function resolveRule(rule: unknown, place: string, directions: readonly AllowDirection[]): AllowRule {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) {
    throw optionError(place, 'must be a rule such as { id, name, env, service, direction }');
  }
  const resolved: Partial<Record<Key, string | readonly string[]>> = {};
  for (const [key, value] of Object.entries(rule)) {
    const known = VALUES.get(key);
    if (known === undefined) throw optionError(`${place}.${key}`, 'unknown field of a rule');
    const [isValid, wanted] = known;
    // A value that is missing by mistake must not make a rule that fits everybody.
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (values.length === 0 || !Array.from(values).every((one) => typeof one === 'string' && isValid(one))) {
      throw optionError(`${place}.${key}`, `must be ${wanted}, or a list of them`);
    }
    resolved[key as Key] = Array.isArray(value) ? Object.freeze([...(value as string[])]) : (value as string);
  }
  const asked = resolved.direction === undefined ? directions : listOf(resolved.direction);
  if (!directions.some((direction) => asked.includes(direction))) {
    throw optionError(`${place}.direction`, 'a server can only have rules for dials');
  }
  if (resolved.name !== undefined && !asked.includes('dial')) {
    throw optionError(`${place}.name`, 'the name of a node that binds is unknown');
  }
  return Object.freeze(resolved) as AllowRule;
}

/** Returns the list that a value of a rule stands for. */
export function listOf<T extends string>(value: T | readonly T[]): readonly T[] {
  return typeof value === 'string' ? [value] : value;
}
