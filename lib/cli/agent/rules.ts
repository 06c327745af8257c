// Who may do what at this host. Rules are a list of what is allowed; what no rule names is refused. Pure, but for the texts of its errors.

import { isNodeId } from '../../address.js';
import { Pattern } from '../../util/pattern.js';
import { inWords } from '../flags.js';

/**
 * 'deploy': send bundles, start and stop apps; it includes 'status'. 'jobs': start jobs, and see and end one's own. 'all-jobs': see and end
 * those of others.
 */
export const RIGHTS = ['deploy', 'jobs', 'all-jobs', 'status', 'logs'] as const;
export type Right = (typeof RIGHTS)[number];

/** The fields of a rule, as the configuration file has them. */
export const RULE_FIELDS = ['members', 'tags', 'nodes', 'rights', 'apps'] as const;
type RuleField = (typeof RULE_FIELDS)[number];

/** The one at the other end of a circuit. */
export interface Caller {
  /** The id of the node. */
  readonly id: string;
  /** The name in its certificate as a member. */
  readonly name: string | undefined;
  /** The tags in its certificate as a member. */
  readonly tags: readonly string[];
  /** Whether it has proved its id. Without that it may do nothing. */
  readonly verified: boolean;
}

/** What rules say of a caller. */
export interface CallerRights {
  /** Whether any rule names the caller. */
  readonly isNamed: boolean;
  /** Whether the caller has the right for the app or job of that name; without a name, for any. */
  may(right: Right, name?: string): boolean;
}

interface Rule {
  readonly members: readonly Pattern[];
  readonly tags: readonly Pattern[];
  readonly nodes: readonly string[];
  readonly rights: ReadonlySet<string>;
  /** Undefined: all of them. */
  readonly apps: readonly Pattern[] | undefined;
}

const NOTHING: CallerRights = { isNamed: false, may: () => false };

export class HostRules {
  private readonly rules: readonly Rule[];

  /** @param texts such as `members=ops-* rights=deploy,logs apps=web` @throws Error that says what is wrong with one */
  constructor(texts: readonly string[]) {
    this.rules = texts.map(parseRule);
  }

  /** Whether some rule gives the right to somebody. */
  give(right: Right): boolean {
    return this.rules.some(({ rights }) => rights.has(right));
  }

  of(caller: Caller): CallerRights {
    if (!caller.verified) return NOTHING;
    const rules = this.rules.filter((rule) => names(rule, caller));
    if (rules.length === 0) return NOTHING;
    return {
      isNamed: true,
      may: (right, name) =>
        rules.some(
          ({ rights, apps }) =>
            (rights.has(right) || (right === 'status' && rights.has('deploy'))) &&
            (name === undefined || apps === undefined || apps.some((pattern) => pattern.fits(name))),
        ),
    };
  }
}

/** A rule fits a caller when one of its names, tags or ids does. */
function names({ members, tags, nodes }: Rule, caller: Caller): boolean {
  const { name } = caller;
  return (
    nodes.includes(caller.id) ||
    (name !== undefined && members.some((pattern) => pattern.fits(name))) ||
    tags.some((pattern) => caller.tags.some((tag) => pattern.fits(tag)))
  );
}

function parseRule(text: string): Rule {
  const fault = (what: string) => new Error(`${what}, in ${JSON.stringify(text)}`);
  const fields = new Map<string, readonly string[]>();
  for (const word of text.trim().split(/\s+/)) {
    const at = word.indexOf('=');
    const field = word.slice(0, at);
    if (at < 1 || !RULE_FIELDS.includes(field as RuleField))
      throw fault(`must consist of ${inWords(RULE_FIELDS.map((name) => `${name}=…`))}`);
    if (fields.has(field)) throw fault(`has ${field} twice`);
    const values = word
      .slice(at + 1)
      .split(',')
      .map((value) => decoded(value) ?? '');
    if (values.includes('')) throw fault(`${field} has an empty value`);
    fields.set(field, values);
  }
  const of = (field: RuleField): readonly string[] => fields.get(field) ?? [];
  const patterns = (field: RuleField) => of(field).map((value) => new Pattern(value));
  const rights = of('rights');
  const unknown = rights.find((right) => !RIGHTS.includes(right as Right));
  if (unknown !== undefined) throw fault(`rights must be ${inWords(RIGHTS)}, not ${unknown}`);
  if (rights.length === 0) throw fault('gives no rights');
  if (of('nodes').some((id) => !isNodeId(id))) throw fault('nodes must be ids of nodes');
  if (of('members').length + of('tags').length + of('nodes').length === 0)
    throw fault('names nobody: it needs members, tags or nodes');
  return {
    members: patterns('members'),
    tags: patterns('tags'),
    nodes: of('nodes'),
    rights: new Set(rights),
    apps: fields.has('apps') ? patterns('apps') : undefined,
  };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
