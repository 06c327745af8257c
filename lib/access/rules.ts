// The rules of the option `allow` at work: which requests they allow, and the names of the envs that they speak of. Pure.

import { type Allow, type AllowRequest, type AllowRule, listOf } from '../options/allow.js';
import { envDigests } from '../wire/messages.js';

/** Rules that have been checked, ready to be asked. */
export class AllowRules {
  private readonly rules: readonly Rule[];

  constructor(rules: readonly AllowRule[]) {
    this.rules = rules.map((rule) => new Rule(rule));
  }

  allows(request: AllowRequest): boolean {
    return this.rules.some((rule) => rule.fits(request));
  }
}

class Rule {
  private readonly ids: readonly string[] | undefined;
  private readonly names: readonly Pattern[] | undefined;
  private readonly envs: readonly string[] | undefined;
  private readonly services: readonly Pattern[] | undefined;
  private readonly directions: readonly string[] | undefined;

  constructor({ id, name, env, service, direction }: AllowRule) {
    this.ids = id === undefined ? undefined : listOf(id);
    this.names = name === undefined ? undefined : listOf(name).map((text) => new Pattern(text));
    this.envs = env === undefined ? undefined : listOf(env);
    this.services = service === undefined ? undefined : listOf(service).map((text) => new Pattern(text));
    this.directions = direction === undefined ? undefined : listOf(direction);
  }

  fits({ peer, service, direction }: AllowRequest): boolean {
    const { ids, names, envs, services, directions } = this;
    if (directions !== undefined && !directions.includes(direction)) return false;
    if (services?.some((pattern) => pattern.fits(service)) === false) return false;
    if (ids === undefined && names === undefined && envs === undefined) return true;
    // Without proof, what a peer claims about itself does not count.
    if (!peer.verified) return false;
    if (ids?.includes(peer.id) === false) return false;
    if (envs?.some((env) => peer.env.includes(env)) === false) return false;
    const { name } = peer;
    return names === undefined || (name !== undefined && names.some((pattern) => pattern.fits(name)));
  }
}

/** A text in which `*` matches any run of characters, also an empty one. No other character is special; case matters. */
export class Pattern {
  private readonly first: string;
  private readonly middle: readonly string[];
  /** Undefined without a `*`. */
  private readonly last: string | undefined;

  constructor(text: string) {
    const parts = text.split('*');
    this.first = parts[0];
    this.last = parts.length === 1 ? undefined : parts[parts.length - 1];
    this.middle = parts.slice(1, -1).filter((part) => part !== '');
  }

  /** Returns whether the text matches. The leftmost match of each part leaves the most for the next ones, so there is no backtracking. */
  fits(text: string): boolean {
    const { first, middle, last } = this;
    if (last === undefined) return text === first;
    if (!text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at + last.length <= text.length;
  }
}

/** Returns the envs that rules name. */
export function envsOf(allow: Allow | undefined): string[] {
  if (allow === undefined || typeof allow === 'function') return [];
  return allow.flatMap(({ env }) => (env === undefined ? [] : listOf(env)));
}

/** Names of envs by their digests: nodes announce digests only, and this node can name those that it knows. */
export class EnvNames {
  private readonly names = new Map<string, string>();

  constructor(names: readonly string[]) {
    this.learn(names);
  }

  learn(names: readonly string[]): void {
    // An empty list would mean the env without a name.
    if (names.length === 0) return;
    for (const [index, digest] of envDigests(names).entries()) this.names.set(digest, names[index]);
  }

  /** Returns the names of those digests that are known. */
  of(digests: readonly string[]): string[] {
    const known: string[] = [];
    for (const digest of digests) {
      const name = this.names.get(digest);
      if (name !== undefined && !known.includes(name)) known.push(name);
    }
    return known;
  }
}
