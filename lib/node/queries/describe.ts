// The answers that are read from the state of the node as it is: links, services, routes, nodes, topology, members, relay. Each is for a
// caller, who sees services and addresses of its own envs only.

import type { NodeId } from '../../address.js';
import type { Link, LinkInfo } from '../../link/link.js';
import type { ServiceInfo, ServiceInstance } from '../../mesh/directory/service.js';
import type { NodeRole } from '../../options/options.js';
import { VERSION } from '../../util/version.js';
import { PROTOCOL_VERSION } from '../../wire/messages.js';
import { byteToCostMs, COST_UNUSABLE, NodeFlag, type NodeRecord } from '../../wire/records.js';
import type {
  HealthAnswer,
  LinkAnswer,
  LinksAnswer,
  MembersAnswer,
  NodeAnswer,
  NodesAnswer,
  RelayAnswer,
  RoutesAnswer,
  ServiceAnswer,
  ServicesAnswer,
  TopologyAnswer,
  TopologyEdge,
  TopologyNode,
} from './answers.js';
import type { NodeFilter, NodeNames, NodeSubject, ServiceFilter } from './lists/filters.js';
import { PageBuilder } from './lists/page.js';
import type { CallerRights } from './rights.js';
import { envsOf, nameOf, type QuerySources } from './sources.js';

/** Of the interface: the number in its paths. */
const API_VERSION = 1;

export function describeHealth(sources: QuerySources): HealthAnswer {
  const { id, options, timers, startedAtMs } = sources;
  return {
    id,
    ...named(sources, id),
    alive: true,
    state: sources.state(),
    role: options.role,
    version: VERSION,
    protocol: PROTOCOL_VERSION,
    api: API_VERSION,
    uptimeMs: Math.round(timers.now() - startedAtMs),
    timeMs: sources.now(),
  };
}

export function describeLinks(sources: QuerySources, { envs }: CallerRights): LinksAnswer {
  return { id: sources.id, links: [...sources.links.values()].map((link) => describeLink(sources, link, envs)) };
}

/** Returns a link, without the address of a peer that is in none of these envs. */
export function linkInfo(link: Link, envs: ReadonlySet<string>): LinkInfo {
  const info = link.snapshot();
  return link.envDigests.some((digest) => envs.has(digest)) ? info : { ...info, address: '' };
}

function describeLink({ mesh, timers }: QuerySources, link: Link, envs: ReadonlySet<string>): LinkAnswer {
  const { purpose, role, session, smoothedRttMs, lateMs } = link;
  return {
    ...linkInfo(link, envs),
    purpose,
    role,
    smoothedRttMs: smoothedRttMs === 0 ? null : smoothedRttMs,
    lateMs,
    queuedBytes: session.output.pendingBytes,
    unreadBytes: session.unreadBytes,
    heardMs: heardMs(link, timers.now()),
    suspect: mesh.watch.isSuspect(link),
    stalled: mesh.watch.isStalled(link),
    sharesEnv: link.envDigests.some((digest) => envs.has(digest)),
  };
}

/** Returns how long ago the last byte of the peer came, in ms. */
export function heardMs({ lastHeardMs }: { readonly lastHeardMs: number }, now: number): number {
  return Math.max(0, Math.round(now - lastHeardMs));
}

/** What a list is to have. */
interface ListRequest<Filter> {
  readonly filter?: Filter | undefined;
  readonly limit: number;
  /** The key of the last entry of the page before. */
  readonly after?: string | undefined;
}

/** Sorted by name, node and port. */
export function describeServices(
  sources: QuerySources,
  rights: CallerRights,
  { filter, limit, after }: ListRequest<ServiceFilter>,
): ServicesAnswer {
  const { table } = sources.mesh;
  const isVisible = visibleServices(sources, rights);
  const namesOf = rememberedNames(sources);
  const page = new PageBuilder<ServiceInstance>(limit, after);
  for (const instance of filter?.name === undefined ? table.values() : table.find(filter.name)) {
    if (!isVisible(instance) || filter?.fits(instance, namesOf) === false) continue;
    const { service, nodeId, port } = instance;
    page.add(`${service}\n${nodeId}${String(port).padStart(PORT_DIGITS, '0')}`, instance);
  }
  const { entries, total, truncated, next } = page.build();
  const services = entries.map((instance) => describeInstance(sources, instance));
  return { id: sources.id, total, truncated, ...(next === undefined ? {} : { next }), services };
}

/** Those of 2^32 - 1. */
const PORT_DIGITS = 10;

/** Returns whether a caller sees an instance: it is in an env of both, and a caller of few rights may dial it as far as this node knows. */
function visibleServices(sources: QuerySources, { all, envs, mayDial }: CallerRights) {
  const visible = new VisibleNodes(sources, envs);
  return (instance: ServiceInstance): boolean =>
    visible.has(instance.nodeId) && (all || !instance.local || mayDial?.(instance.service, instance.port) === true);
}

/** Returns a function for names and tags of nodes, each of which is looked up once. */
function rememberedNames(sources: QuerySources): (nodeId: NodeId) => NodeNames {
  const known = new Map<NodeId, NodeNames>();
  return (nodeId) => {
    let names = known.get(nodeId);
    if (names === undefined) {
      names = { name: nameOf(sources, nodeId), tags: sources.members?.member(nodeId)?.tags ?? [] };
      known.set(nodeId, names);
    }
    return names;
  };
}

function describeInstance(sources: QuerySources, instance: ServiceInstance): ServiceAnswer {
  return describeService(sources, instance.snapshot());
}

export function describeService(sources: QuerySources, info: ServiceInfo): ServiceAnswer {
  const { service, port, nodeId, weight, meta, instance, local, cost: costMs, hops } = info;
  const nodeName = nameOf(sources, nodeId);
  return {
    service,
    port,
    nodeId,
    ...(nodeName === undefined ? {} : { nodeName }),
    weight,
    ...(meta === undefined ? {} : { meta }),
    ...(instance === undefined ? {} : { instance }),
    local,
    costMs,
    hops,
  };
}

/** Nodes that are in one of these envs. */
export class VisibleNodes {
  private readonly known = new Map<NodeId, boolean>();

  constructor(
    private readonly sources: QuerySources,
    private readonly envs: ReadonlySet<string>,
  ) {}

  has(nodeId: NodeId): boolean {
    let isVisible = this.known.get(nodeId);
    if (isVisible === undefined) {
      isVisible = envsOf(this.sources, nodeId)?.some((digest) => this.envs.has(digest)) === true;
      this.known.set(nodeId, isVisible);
    }
    return isVisible;
  }
}

export function describeRoutes(sources: QuerySources, limit: number): RoutesAnswer {
  const { routing } = sources.mesh;
  const routes: Array<RoutesAnswer['routes'][number]> = [];
  for (const nodeId of routing.nodeIds()) {
    if (routes.length === limit) break;
    const route = routing.route(nodeId);
    if (route === undefined) continue;
    const { nextHop, hops, cost: costMs } = route;
    routes.push({ nodeId, ...named(sources, nodeId), nextHop, hops, costMs });
  }
  return { id: sources.id, total: routing.size, truncated: routes.length < routing.size, routes };
}

/** The node itself first, then by id. */
export function describeNodes(
  sources: QuerySources,
  rights: CallerRights,
  { filter, limit, after }: ListRequest<NodeFilter>,
): NodesAnswer {
  const { all, envs } = rights;
  const visible = new VisibleNodes(sources, envs);
  const offering = all && filter?.isAboutServices !== true ? undefined : nodesOffering(sources, rights, filter);
  const isWanted = (nodeId: NodeId): boolean =>
    offering === undefined || offering.has(nodeId) || (nodeId === sources.id && filter?.isAboutServices !== true);
  const page = new PageBuilder<KnownNode>(limit, after);
  for (const known of everyNode(sources)) {
    const { nodeId } = known;
    if (!isWanted(nodeId) || filter?.fits(nodeSubject(sources, known)) === false) continue;
    page.add(nodeId === sources.id ? '!' : nodeId, known);
  }
  const { entries, total, truncated, next } = page.build();
  const nodes = entries.map(({ nodeId, record }) => {
    const node = describeNode(sources, nodeId, record, visible.has(nodeId));
    // Where nodes are, and how they are linked, is for those who may see everything.
    return all ? node : { ...node, addresses: [], links: [] };
  });
  return { id: sources.id, total, truncated, ...(next === undefined ? {} : { next }), nodes };
}

/** Returns the nodes that offer something that the caller sees, and that the filter means. */
function nodesOffering(sources: QuerySources, rights: CallerRights, filter: NodeFilter | undefined): Set<NodeId> {
  const isVisible = visibleServices(sources, rights);
  const offering = new Set<NodeId>();
  for (const instance of sources.mesh.table.values()) {
    if (offering.has(instance.nodeId) || filter?.fitsService(instance) === false) continue;
    if (isVisible(instance)) offering.add(instance.nodeId);
  }
  return offering;
}

function nodeSubject(sources: QuerySources, { nodeId, record }: KnownNode): NodeSubject {
  const { relay, draining } = describeFlags(record);
  return {
    id: nodeId,
    name: nameOf(sources, nodeId),
    tags: sources.members?.member(nodeId)?.tags ?? [],
    self: nodeId === sources.id,
    ...roleOf(sources, nodeId),
    relay,
    draining,
    reachable: sources.mesh.routing.isReachable(nodeId),
  };
}

interface KnownNode {
  readonly nodeId: NodeId;
  /** Undefined for nodes that announce nothing, as this one if it is a client. */
  readonly record: NodeRecord | undefined;
}

/** This node first, then all of which there is a record, then peers of links that announce nothing. */
function* everyNode({ id, mesh, links }: QuerySources): IterableIterator<KnownNode> {
  const { store } = mesh.gossip;
  yield { nodeId: id, record: store.node(id) };
  for (const record of store.nodes()) if (record.nodeId !== id) yield { nodeId: record.nodeId, record };
  for (const { peerId } of links.values()) {
    if (store.node(peerId) === undefined) yield { nodeId: peerId, record: undefined };
  }
}

function describeNode(
  sources: QuerySources,
  nodeId: NodeId,
  record: NodeRecord | undefined,
  sharesEnv: boolean,
): NodeAnswer {
  const { id, members, mesh, links } = sources;
  const { routing } = mesh;
  const tags = members?.member(nodeId)?.tags;
  const self = nodeId === id;
  const addresses = self ? links.listenAddresses : (record?.addresses ?? links.get(nodeId)?.peerAddresses ?? []);
  return {
    id: nodeId,
    ...named(sources, nodeId),
    ...(tags === undefined ? {} : { tags }),
    self,
    ...roleOf(sources, nodeId),
    addresses: sharesEnv ? [...addresses] : [],
    ...describeFlags(record),
    leaving: hasFlag(record, NodeFlag.LEAVING),
    sharesEnv,
    reachable: routing.isReachable(nodeId),
    hops: routing.hopCount(nodeId) ?? null,
    costMs: routing.distance(nodeId) ?? null,
    links: (record?.links ?? []).map(({ peerId, cost }) => ({ peerId, costMs: costOf(cost) })),
  };
}

function roleOf({ id, options, links }: QuerySources, nodeId: NodeId): { role?: NodeRole } {
  if (nodeId === id) return { role: options.role };
  const link = links.get(nodeId);
  return link === undefined ? {} : { role: link.role };
}

function named(sources: QuerySources, nodeId: NodeId): { name?: string } {
  const name = nameOf(sources, nodeId);
  return name === undefined ? {} : { name };
}

function hasFlag(record: NodeRecord | undefined, flag: number): boolean {
  return record !== undefined && (record.flags & flag) !== 0;
}

function describeFlags(record: NodeRecord | undefined): { relay: boolean; draining: boolean; overloaded: boolean } {
  return {
    relay: hasFlag(record, NodeFlag.RELAY),
    draining: hasFlag(record, NodeFlag.DRAIN),
    overloaded: hasFlag(record, NodeFlag.OVERLOAD),
  };
}

function costOf(cost: number): number | null {
  return cost >= COST_UNUSABLE ? null : byteToCostMs(cost);
}

export function describeTopology(sources: QuerySources, { envs }: CallerRights, limit: number): TopologyAnswer {
  const { id, links, mesh } = sources;
  const services = new Map<NodeId, number>();
  const visible = new VisibleNodes(sources, envs);
  for (const { nodeId } of mesh.table.values()) {
    if (visible.has(nodeId)) services.set(nodeId, (services.get(nodeId) ?? 0) + 1);
  }
  const nodes: TopologyNode[] = [];
  const edges = new Map<string, TopologyEdge>();
  const shown = new Set<NodeId>();
  let total = 0;
  for (const { nodeId, record } of everyNode(sources)) {
    if (total++ >= limit) continue;
    shown.add(nodeId);
    nodes.push({
      id: nodeId,
      ...named(sources, nodeId),
      self: nodeId === id,
      ...roleOf(sources, nodeId),
      ...describeFlags(record),
      reachable: mesh.routing.isReachable(nodeId),
      hops: mesh.routing.hopCount(nodeId) ?? null,
      services: services.get(nodeId) ?? 0,
      announced: record !== undefined,
    });
    for (const { peerId, cost } of record?.links ?? []) addEdge(edges, nodeId, peerId, cost);
  }
  for (const { peerId } of links.values()) ownEdge(edges, id, peerId);
  return {
    id,
    total,
    truncated: total > nodes.length,
    nodes,
    edges: [...edges.values()].filter(({ a, b }) => shown.has(a) && shown.has(b)),
  };
}

/** Adds what one end announces. */
function addEdge(edges: Map<string, TopologyEdge>, from: NodeId, to: NodeId, cost: number): void {
  const [a, b] = from < to ? [from, to] : [to, from];
  const key = a + b;
  const known = edges.get(key);
  const costMs = costOf(cost);
  if (known === undefined) edges.set(key, { a, b, costMs, mutual: false, own: false });
  else if (!known.mutual) {
    const worse = known.costMs === null || costMs === null ? null : Math.max(known.costMs, costMs);
    edges.set(key, { ...known, costMs: worse, mutual: true });
  }
}

function ownEdge(edges: Map<string, TopologyEdge>, id: NodeId, peerId: NodeId): void {
  const [a, b] = id < peerId ? [id, peerId] : [peerId, id];
  const known = edges.get(a + b);
  edges.set(a + b, known === undefined ? { a, b, costMs: null, mutual: false, own: true } : { ...known, own: true });
}

export function describeMembers(sources: QuerySources, limit: number): MembersAnswer {
  const all = sources.listMembers();
  const members = all.slice(0, limit).map(({ id, name, tags, rights, since, until, reachable }) => ({
    id,
    name,
    tags,
    rights,
    sinceMs: since.getTime(),
    untilMs: until.getTime(),
    reachable,
  }));
  return { id: sources.id, total: all.length, truncated: all.length > members.length, members };
}

export function describeRelay(sources: QuerySources): RelayAnswer {
  const { id, options, circuits } = sources;
  const neighbours: Array<RelayAnswer['neighbours'][number]> = [];
  for (const { link, neighbour } of circuits.linkPaths()) {
    neighbours.push({
      peerId: link.peerId,
      circuits: neighbour.circuits,
      sources: neighbour.sources.size,
      heldBytes: neighbour.share.held,
    });
  }
  return {
    id,
    enabled: options.relay !== false,
    draining: circuits.isDraining,
    ...circuits.relayCounters,
    heldBytes: circuits.relay.heldBytes,
    poolBytes: options.relayPoolBytes,
    neighbours,
  };
}
