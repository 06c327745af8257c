// Nodes and services by what they are, page after page, as another node sees them.

import { starlaneError } from '../../../errors.js';
import type { NodeRole } from '../../../options/options.js';
import type { Node } from '../../node.js';
import type { NodeAnswer, ServiceAnswer } from '../answers.js';
import type { QueryOptions } from '../request.js';

/** One text or several, of which one has to fit. In patterns, `*` matches any run of characters. */
type Texts = string | readonly string[];
/** Values in meta by their key, or path: `{ region: 'eu', 'owner.team': 'db*' }`. */
type MetaQuery = Readonly<Record<string, string | number | boolean | readonly (string | number | boolean)[]>>;

/** Which services. All that is given has to fit. */
export interface ServiceQuery {
  /** The exact name. */
  name?: string | undefined;
  /** Patterns of names. */
  service?: Texts | undefined;
  /** The virtual port; 0: those that answer at any port. */
  port?: number | undefined;
  /** Patterns of names of instances. */
  instance?: Texts | undefined;
  /** Ids of nodes, or patterns of names of members. */
  node?: Texts | undefined;
  /** Patterns of tags of members. */
  tag?: Texts | undefined;
  /** Whether the node that is asked offers it. */
  local?: boolean | undefined;
  meta?: MetaQuery | undefined;
}

/** Which nodes. All that is given has to fit. */
export interface NodeQuery {
  /** Ids of nodes, or patterns of names of members. */
  name?: Texts | undefined;
  /** Patterns of tags of members. */
  tag?: Texts | undefined;
  /** Roles; known of the node that is asked and of its neighbours. */
  role?: NodeRole | readonly NodeRole[] | undefined;
  relay?: boolean | undefined;
  reachable?: boolean | undefined;
  draining?: boolean | undefined;
  /** Whether it is the node that is asked. */
  self?: boolean | undefined;
  /** Patterns of names of services that it offers. */
  service?: Texts | undefined;
  /** Of a service that it offers. */
  meta?: MetaQuery | undefined;
}

/** Entries of one answer: some hundred KB. */
const PAGE = 1_000;

/**
 * Asks a node for the services that it sees, in the order of their names, and iterates over them page by page. A caller that may not ask
 * for everything gets those that it may dial, as far as the node that is asked knows.
 * @param target as for {@link Node.query}; `@` and the id of the own node asks that
 * @throws as {@link Node.query}, when the iteration begins or goes on
 */
export async function* findServices(
  node: Node,
  target: string,
  query: ServiceQuery = {},
  options?: QueryOptions,
): AsyncGenerator<ServiceAnswer, void, undefined> {
  const search = searchOf(query);
  for (let after: string | undefined; ; ) {
    const { services, next } = (await node.query(target, pathOf('/v1/services', search, after), options)) as Services;
    yield* listOf(target, services);
    if (next === undefined) return;
    after = cursorOf(target, next, after);
  }
}

/** As {@link findServices}, for nodes: the one that is asked first, then in the order of their ids. */
export async function* findNodes(
  node: Node,
  target: string,
  query: NodeQuery = {},
  options?: QueryOptions,
): AsyncGenerator<NodeAnswer, void, undefined> {
  const search = searchOf(query);
  for (let after: string | undefined; ; ) {
    const { nodes, next } = (await node.query(target, pathOf('/v1/nodes', search, after), options)) as Nodes;
    yield* listOf(target, nodes);
    if (next === undefined) return;
    after = cursorOf(target, next, after);
  }
}

interface Services {
  readonly services: readonly ServiceAnswer[];
  readonly next?: string | undefined;
}

interface Nodes {
  readonly nodes: readonly NodeAnswer[];
  readonly next?: string | undefined;
}

/** The node that is asked may answer anything. */
function listOf<Entry>(target: string, entries: readonly Entry[]): readonly Entry[] {
  if (Array.isArray(entries)) return entries;
  throw starlaneError('ERR_STARLANE_QUERY', `${target} has answered no list`);
}

/** Returns where the list goes on. Keys grow, so that no node keeps its caller for good by the same pages again and again. */
function cursorOf(target: string, next: unknown, before: string | undefined): string {
  const isFurther = typeof next === 'string' && (before === undefined || keyOf(next) > keyOf(before));
  if (isFurther) return next;
  throw starlaneError('ERR_STARLANE_QUERY', `${target} has answered a list that does not go on`);
}

function keyOf(cursor: string): string {
  return Buffer.from(cursor, 'base64url').toString();
}

function searchOf(query: ServiceQuery | NodeQuery): URLSearchParams {
  if (typeof query !== 'object' || query === null)
    throw starlaneError('ERR_STARLANE_ARGUMENT', 'query must be an object');
  const { meta = {}, ...rest } = query;
  const search = new URLSearchParams();
  const put = (name: string, value: unknown) => {
    if (value === undefined) return;
    for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one));
  };
  for (const [name, value] of Object.entries(rest)) put(name, value);
  for (const [key, value] of Object.entries(meta)) put(`meta.${key}`, value);
  return search;
}

function pathOf(resource: string, search: URLSearchParams, after: string | undefined): string {
  const page = new URLSearchParams(search);
  page.set('limit', String(PAGE));
  if (after !== undefined) page.set('after', after);
  return `${resource}?${page}`;
}
