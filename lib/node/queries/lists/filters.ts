// Which nodes and services a query is about: by name, tag, role, meta and the like. Where several values are given, one has to fit; where
// several parameters are, all have to.

import type { NodeId } from '../../../address.js';
import type { NodeRole } from '../../../options/options.js';
import { Pattern } from '../../../util/pattern.js';
import { type Parameters, wrong } from '../parameters.js';

const META = 'meta.';
/** Keys of meta that one query may name, and how deep. */
const MAX_META = 16;
const MAX_DEPTH = 8;
const ROLES: ReadonlySet<string> = new Set(['peer', 'client', 'server', 'router'] satisfies NodeRole[]);

const SERVICE_NAMES: ReadonlySet<string> = new Set([
  'name',
  'service',
  'port',
  'instance',
  'node',
  'tag',
  'local',
  'limit',
  'after',
]);
const NODE_NAMES: ReadonlySet<string> = new Set([
  'name',
  'tag',
  'role',
  'relay',
  'reachable',
  'draining',
  'self',
  'service',
  'limit',
  'after',
]);

type Test = (text: string | undefined) => boolean;

/** What filters look at of an instance. */
export interface ServiceSubject {
  readonly service: string;
  readonly port: number;
  readonly nodeId: NodeId;
  readonly local: boolean;
  readonly meta: unknown;
  readonly instance?: string | undefined;
}

/** What filters look at of the node of an instance. */
export interface NodeNames {
  readonly name: string | undefined;
  readonly tags: readonly string[];
}

export class ServiceFilter {
  /** The exact name: found without a look at all services. */
  readonly name: string | undefined;
  private readonly services: Test | undefined;
  private readonly instances: Test | undefined;
  private readonly nodes: Test | undefined;
  private readonly tags: Test | undefined;
  private readonly port: number | undefined;
  private readonly local: boolean | undefined;
  private readonly meta: MetaFilter | undefined;

  /** @throws Refusal */
  constructor(parameters: Parameters) {
    parameters.checkNames(SERVICE_NAMES, [META]);
    this.name = parameters.text('name');
    this.services = patterns(parameters, 'service');
    this.instances = patterns(parameters, 'instance');
    this.nodes = patterns(parameters, 'node');
    this.tags = patterns(parameters, 'tag');
    this.port = parameters.text('port') === undefined ? undefined : parameters.integer('port', 0, 0, 0xffff_ffff);
    this.local = parameters.flag('local');
    this.meta = MetaFilter.of(parameters);
  }

  /** @param namesOf asked only where a parameter is about the node */
  fits(subject: ServiceSubject, namesOf: (nodeId: NodeId) => NodeNames): boolean {
    const { services, instances, nodes, tags, port, local, meta } = this;
    if (services?.(subject.service) === false) return false;
    if (port !== undefined && subject.port !== port) return false;
    if (local !== undefined && subject.local !== local) return false;
    if (instances?.(subject.instance) === false) return false;
    if (meta?.fits(subject.meta) === false) return false;
    if (nodes === undefined && tags === undefined) return true;
    const names = namesOf(subject.nodeId);
    if (nodes !== undefined && !nodes(subject.nodeId) && !nodes(names.name)) return false;
    return tags === undefined || names.tags.some(tags);
  }
}

/** What filters look at of a node. */
export interface NodeSubject extends NodeNames {
  readonly id: NodeId;
  readonly self: boolean;
  readonly role?: NodeRole | undefined;
  readonly relay: boolean;
  readonly draining: boolean;
  readonly reachable: boolean;
}

export class NodeFilter {
  private readonly names: Test | undefined;
  private readonly tags: Test | undefined;
  private readonly roles: readonly string[] | undefined;
  private readonly services: Test | undefined;
  private readonly meta: MetaFilter | undefined;
  private readonly flags: ReadonlyArray<readonly ['relay' | 'reachable' | 'draining' | 'self', boolean]>;

  /** @throws Refusal */
  constructor(parameters: Parameters) {
    parameters.checkNames(NODE_NAMES, [META]);
    this.names = patterns(parameters, 'name');
    this.tags = patterns(parameters, 'tag');
    this.roles = parameters.texts('role');
    if (this.roles?.some((role) => !ROLES.has(role))) throw wrong(`role must be one of ${[...ROLES].join(', ')}`);
    this.services = patterns(parameters, 'service');
    this.meta = MetaFilter.of(parameters);
    this.flags = (['relay', 'reachable', 'draining', 'self'] as const).flatMap((name) => {
      const value = parameters.flag(name);
      return value === undefined ? [] : [[name, value] as const];
    });
  }

  /** Whether only nodes are meant that offer certain services. */
  get isAboutServices(): boolean {
    return this.services !== undefined || this.meta !== undefined;
  }

  /** Whether the node of this instance is meant, as far as its services decide. */
  fitsService({ service, meta }: Pick<ServiceSubject, 'service' | 'meta'>): boolean {
    return this.services?.(service) !== false && this.meta?.fits(meta) !== false;
  }

  fits(subject: NodeSubject): boolean {
    const { names, tags, roles, flags } = this;
    if (names !== undefined && !names(subject.id) && !names(subject.name)) return false;
    if (tags !== undefined && !subject.tags.some(tags)) return false;
    if (roles !== undefined && (subject.role === undefined || !roles.includes(subject.role))) return false;
    return flags.every(([name, value]) => subject[name] === value);
  }
}

/** `meta.region=eu`, `meta.owner.team=db*`. */
class MetaFilter {
  private constructor(private readonly tests: ReadonlyArray<readonly [path: readonly string[], test: Test]>) {}

  static of(parameters: Parameters): MetaFilter | undefined {
    const keys = parameters.namesBehind(META);
    if (keys.length > MAX_META) throw wrong(`meta must be named ${MAX_META} times at most`);
    const tests = keys.map((key) => {
      const path = key.split('.');
      if (path.length > MAX_DEPTH) throw wrong(`${META}${key.slice(0, 64)} must have ${MAX_DEPTH} parts at most`);
      return [path, patterns(parameters, META + key) as Test] as const;
    });
    return tests.length === 0 ? undefined : new MetaFilter(tests);
  }

  fits(meta: unknown): boolean {
    return this.tests.every(([path, test]) => fitsAt(meta, path, test));
  }
}

/** A list fits when one of its elements does. */
function fitsAt(value: unknown, path: readonly string[], test: Test): boolean {
  if (Array.isArray(value)) return value.some((element) => fitsAt(element, path, test));
  const [key, ...rest] = path;
  if (key !== undefined) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return false;
    return fitsAt((value as Record<string, unknown>)[key], rest, test);
  }
  return typeof value === 'object' && value !== null ? false : test(String(value));
}

function patterns(parameters: Parameters, name: string): Test | undefined {
  const all = parameters.texts(name)?.map((text) => new Pattern(text));
  return all === undefined ? undefined : (text) => text !== undefined && all.some((one) => one.fits(text));
}
