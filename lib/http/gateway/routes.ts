// Which service a request is for: rules for hosts, suffixes of hosts, and paths.

import { isServiceName, parseServiceAddress } from '../../address.js';
import { optionError } from '../../errors.js';
import { chance, hashText, mix } from '../../util/choice.js';
import { Pattern } from '../../util/pattern.js';
import { MAX_TIMEOUT_MS } from '../../util/timers.js';
import type { GatewayOptions, GatewayRule, GatewayTarget } from './options.js';

/** What a sticky rule takes its key from. */
export type StickySource = { readonly from: 'cookie' | 'header'; readonly name: string } | { readonly from: 'ip' };

/** A service with its share of the requests. */
export interface WeightedService {
  readonly address: string;
  readonly weight: number;
}

export interface Route {
  readonly services: readonly WeightedService[];
  /** Whether the weights count, and not the order. */
  readonly isWeighted: boolean;
  readonly sticky: StickySource | undefined;
  readonly node: string | undefined;
  /** What to take off the path; empty for nothing. */
  readonly strip: string;
  readonly protocol: 'auto' | 'http1' | 'h2c';
  readonly answerTimeoutMs: number | undefined;
}

interface PathRoute {
  readonly prefix: string;
  readonly route: Route;
}

interface HostRoute {
  readonly paths: readonly PathRoute[];
  readonly route: Route | undefined;
}

const RULE_OPTIONS = ['services', 'sticky', 'node', 'strip', 'protocol', 'answerTimeoutMs', 'paths'];

const MAX_RULES = 10_000;
/** Routes for hosts with a suffix, kept to be found again. */
const MAX_KEPT = 1_000;

export class Routes {
  private readonly hosts = new Map<string, HostRoute>();
  /** By their suffix, with its dot; the longest first. */
  private readonly wildcards: Array<{ suffix: string; host: HostRoute }> = [];
  private readonly suffixes: readonly string[];
  private readonly exposed: readonly Pattern[] | undefined;
  private readonly paths: readonly PathRoute[];
  private readonly fallback: Route | undefined;
  private readonly bySuffix = new Map<string, Route>();

  /** @throws ERR_STARLANE_OPTION */
  constructor(options: GatewayOptions) {
    const { hosts = {}, suffix, expose, paths } = options;
    checkRecord('hosts', hosts);
    for (const [name, target] of Object.entries(hosts)) this.addHost(name, target);
    this.wildcards.sort((a, b) => b.suffix.length - a.suffix.length);
    this.suffixes = texts('suffix', suffix).map(checkSuffix);
    this.exposed = expose === undefined ? undefined : texts('expose', expose).map((text) => new Pattern(text));
    this.paths = pathRoutes('paths', paths);
    this.fallback = options.default === undefined ? undefined : routeOf('default', options.default, '');
  }

  /**
   * Returns the route for a host, without its port, and a path as {@link rulePath} has it; undefined where no rule matches, and null for a
   * path that leads elsewhere where rules for paths would have to decide about it.
   */
  find(host: string, path: string | undefined): Route | undefined | null {
    const name = host.endsWith('.') ? host.slice(0, -1) : host;
    const found = this.hosts.get(name) ?? this.wildcards.find(({ suffix }) => name.endsWith(suffix))?.host;
    const bySuffix = found === undefined ? this.forSuffix(name) : undefined;
    if (bySuffix !== undefined) return bySuffix;
    const paths = found?.paths ?? this.paths;
    if (path === undefined && paths.length > 0) return null;
    return byPath(paths, path ?? '') ?? found?.route ?? this.fallback;
  }

  private forSuffix(host: string): Route | undefined {
    for (const suffix of this.suffixes) {
      if (!host.endsWith(suffix)) continue;
      const service = host.slice(0, -suffix.length);
      if (service === '' || service.includes('.') || service.includes(':') || !isServiceName(service)) continue;
      if (this.exposed?.some((pattern) => pattern.fits(service)) === false) continue;
      let route = this.bySuffix.get(service);
      if (route === undefined) {
        route = routeOf('suffix', service, '');
        if (this.bySuffix.size >= MAX_KEPT) this.bySuffix.clear();
        this.bySuffix.set(service, route);
      }
      return route;
    }
    return undefined;
  }

  private addHost(name: string, target: GatewayTarget): void {
    const lower = name.toLowerCase();
    if (!/^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])$/.test(lower))
      throw optionError('hosts', `'${name}' is no host; a wildcard is '*.example.test'`);
    const host = hostRoute(`hosts['${name}']`, target);
    if (lower.startsWith('*.')) this.wildcards.push({ suffix: lower.slice(1), host });
    else this.hosts.set(lower, host);
  }
}

/** Returns the services of a route in the order in which to try them. `has`: whether a service has an instance. */
export function inOrder(
  route: Route,
  key: string | undefined,
  has: (address: string) => boolean,
  random: () => number = chance,
): readonly string[] {
  const { services, isWeighted } = route;
  if (services.length === 1) return [services[0].address];
  const present = services.filter(({ address }) => has(address));
  const absent = services.filter(({ address }) => !has(address));
  if (isWeighted && present.length > 1) {
    const point = key === undefined ? random() : mix(hashText(key)) / 0x1_0000_0000;
    // By all of them, so that a key keeps its service when another one comes or goes.
    const first = picked(services, point);
    const at = present.includes(first) ? present.indexOf(first) : present.indexOf(picked(present, point));
    present.unshift(...present.splice(at, 1));
  }
  return [...present, ...absent].map(({ address }) => address);
}

function picked(services: readonly WeightedService[], point: number): WeightedService {
  let left = services.reduce((sum, { weight }) => sum + weight, 0) * point;
  for (const service of services) {
    left -= service.weight;
    if (left < 0) return service;
  }
  return services[0];
}

function byPath(paths: readonly PathRoute[], path: string): Route | undefined {
  for (const { prefix, route } of paths) {
    if (!path.startsWith(prefix)) continue;
    const next = path.charCodeAt(prefix.length);
    // The end, '/', ';' or '?'; a prefix that ends with '/' needs none.
    if (Number.isNaN(next) || next === 0x2f || next === 0x3b || next === 0x3f || prefix.endsWith('/')) return route;
  }
  return undefined;
}

function hostRoute(where: string, target: GatewayTarget): HostRoute {
  const rule = ruleOf(where, target);
  const paths = pathRoutes(`${where}.paths`, rule.paths);
  if (rule.services === undefined && paths.length === 0) throw optionError(where, 'needs services or paths');
  return { paths, route: rule.services === undefined ? undefined : routeOf(where, { ...rule, paths: undefined }, '') };
}

function pathRoutes(where: string, paths: Readonly<Record<string, GatewayTarget>> | undefined): PathRoute[] {
  if (paths === undefined) return [];
  checkRecord(where, paths);
  const routes = Object.entries(paths).map(([prefix, target]) => {
    if (!/^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/.test(prefix)) throw optionError(where, `'${prefix}' is no path`);
    return { prefix, route: routeOf(`${where}['${prefix}']`, target, prefix) };
  });
  return routes.sort((a, b) => b.prefix.length - a.prefix.length);
}

function routeOf(where: string, target: GatewayTarget, prefix: string): Route {
  const rule = ruleOf(where, target);
  if (rule.paths !== undefined) throw optionError(where, 'paths are for rules of hosts');
  const { services, isWeighted } = servicesOf(where, rule);
  const { node, strip, protocol = 'auto', answerTimeoutMs } = rule;
  if (node !== undefined && (typeof node !== 'string' || node === ''))
    throw optionError(`${where}.node`, 'must be a text');
  if (strip !== undefined && typeof strip !== 'boolean') throw optionError(`${where}.strip`, 'must be true or false');
  if (protocol !== 'auto' && protocol !== 'http1' && protocol !== 'h2c')
    throw optionError(`${where}.protocol`, "must be 'auto', 'http1' or 'h2c'");
  if (answerTimeoutMs !== undefined && !(answerTimeoutMs >= 10 && answerTimeoutMs <= MAX_TIMEOUT_MS))
    throw optionError(`${where}.answerTimeoutMs`, `must be 10 to ${MAX_TIMEOUT_MS}`);
  return {
    services,
    isWeighted,
    sticky: stickyOf(where, rule.sticky),
    node,
    strip: strip === true ? prefix.replace(/\/$/, '') : '',
    protocol,
    answerTimeoutMs,
  };
}

function ruleOf(where: string, target: GatewayTarget): GatewayRule {
  if (typeof target === 'string' || Array.isArray(target)) return { services: target as string | readonly string[] };
  if (typeof target !== 'object' || target === null) throw optionError(where, 'must be a service, a list or a rule');
  for (const name of Object.keys(target)) {
    if (!RULE_OPTIONS.includes(name)) throw optionError(`${where}.${name}`, 'unknown option of a rule');
  }
  return target as GatewayRule;
}

function servicesOf(where: string, { services }: GatewayRule): { services: WeightedService[]; isWeighted: boolean } {
  if (typeof services === 'string')
    return { services: [{ address: checked(where, services), weight: 1 }], isWeighted: false };
  if (typeof services !== 'object' || services === null) throw optionError(where, 'needs services');
  if (Array.isArray(services)) {
    if (services.length === 0 || services.length > 64) throw optionError(where, 'needs 1 to 64 services');
    return {
      services: services.map((address) => ({ address: checked(where, address), weight: 1 })),
      isWeighted: false,
    };
  }
  const entries = Object.entries(services as Readonly<Record<string, number>>);
  const isWeight = (weight: unknown): boolean => typeof weight === 'number' && weight >= 0 && weight <= 1e6;
  if (entries.length === 0 || entries.length > 64 || !entries.every(([, weight]) => isWeight(weight)))
    throw optionError(`${where}.services`, 'needs 1 to 64 services with weights from 0 to 1000000');
  return {
    services: entries.map(([address, weight]) => ({ address: checked(where, address), weight })),
    isWeighted: true,
  };
}

function checked(where: string, address: string): string {
  try {
    const { kind } = parseServiceAddress(address);
    if (kind !== 'port') return address;
  } catch (error) {
    throw optionError(where, `'${address}' is no address of a service`, error);
  }
  throw optionError(where, 'a port of this node is no service');
}

function stickyOf(where: string, sticky: GatewayRule['sticky']): StickySource | undefined {
  if (sticky === undefined) return undefined;
  if (sticky === 'ip') return { from: 'ip' };
  const match = /^(cookie|header):([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256})$/.exec(String(sticky));
  if (match === null) throw optionError(`${where}.sticky`, "must be 'cookie:NAME', 'header:NAME' or 'ip'");
  const from = match[1] as 'cookie' | 'header';
  return { from, name: from === 'header' ? match[2].toLowerCase() : match[2] };
}

function checkSuffix(suffix: string): string {
  const lower = suffix.toLowerCase();
  if (!/^\.[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(lower))
    throw optionError('suffix', `'${suffix}' must begin with a dot and be a domain`);
  return lower;
}

function texts(name: string, value: string | readonly string[] | undefined): readonly string[] {
  const list = value === undefined ? [] : typeof value === 'string' ? [value] : value;
  if (!Array.isArray(list) || !list.every((text) => typeof text === 'string' && text !== ''))
    throw optionError(name, 'must be a text or a list of texts');
  return list;
}

function checkRecord(where: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw optionError(where, 'must be an object');
  if (Object.keys(value).length > MAX_RULES) throw optionError(where, `at most ${MAX_RULES} rules`);
}
