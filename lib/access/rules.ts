// The rules of the options `allow` and `relay` at work: which requests they allow, and the names of the envs that they speak of. Pure.

import { type Allow, type AllowPeer, type AllowRequest, type AllowRule, listOf } from '../options/allow.js';
import { Pattern } from '../util/pattern.js';
import { envDigests } from '../wire/messages.js';

/** What rules look at. */
export interface RuleSubject extends Pick<AllowRequest, 'service' | 'direction'> {
  readonly peer: Omit<AllowPeer, 'via'>;
}

/** Rules that have been checked, ready to be asked. Relay rules are asked as those without a direction. */
export class AllowRules {
  private readonly rules: readonly Rule[];

  constructor(rules: readonly AllowRule[]) {
    this.rules = rules.map((rule) => new Rule(rule));
  }

  allows(subject: RuleSubject): boolean {
    return this.rules.some((rule) => rule.fits(subject));
  }
}

class Rule {
  private readonly ids: readonly string[] | undefined;
  private readonly names: readonly Pattern[] | undefined;
  private readonly tags: readonly Pattern[] | undefined;
  private readonly envs: readonly string[] | undefined;
  private readonly services: readonly Pattern[] | undefined;
  private readonly directions: readonly string[] | undefined;

  constructor({ id, name, tag, env, service, direction }: AllowRule) {
    this.ids = id === undefined ? undefined : listOf(id);
    this.names = patternsOf(name);
    this.tags = patternsOf(tag);
    this.envs = env === undefined ? undefined : listOf(env);
    this.services = patternsOf(service);
    this.directions = direction === undefined ? undefined : listOf(direction);
  }

  fits({ peer, service, direction }: RuleSubject): boolean {
    const { ids, names, tags, envs, services, directions } = this;
    if (directions !== undefined && !directions.includes(direction)) return false;
    if (services?.some((pattern) => pattern.fits(service)) === false) return false;
    if ((ids ?? names ?? tags ?? envs) === undefined) return true;
    // Without proof, what a peer claims about itself does not count.
    if (!peer.verified) return false;
    if (ids?.includes(peer.id) === false) return false;
    if (envs?.some((env) => peer.env.includes(env)) === false) return false;
    if (tags?.some((pattern) => peer.tags.some((tag) => pattern.fits(tag))) === false) return false;
    const { name } = peer;
    return names === undefined || (name !== undefined && names.some((pattern) => pattern.fits(name)));
  }
}

function patternsOf(value: string | readonly string[] | undefined): readonly Pattern[] | undefined {
  return value === undefined ? undefined : listOf(value).map((text) => new Pattern(text));
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
