// The routes of one node, computed from the records of all nodes and the links of this one. Links count at once, records a
// little later and many together. Changes of reachability are reported after all of them are applied.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import type { NodeRecord } from '../../wire/records.js';
import { HopScores } from './hop-scores.js';
import { NextHops } from './next-hops.js';
import { type LocalLink, type OwnLink, readLinks } from './own-links.js';
import type { RouteInfo } from './route-map.js';
import { costOf, Detour, isAboutAsGood, ShortestPaths } from './shortest-paths.js';
import { DEFAULT_DELAYS, type SpfDelays, SpfThrottle } from './spf-throttle.js';
import { SELF, Topology, TRANSIT } from './topology.js';

/** What the routes call. Functions must not throw. */
export interface RoutingOwner {
  /** Called with all nodes that have become reachable or unreachable, before onRoute and onUnroute. */
  onReachability(changed: readonly NodeId[]): void;
  onRoute(route: RouteInfo): void;
  /** Called with the last route to the node. */
  onUnroute(route: RouteInfo): void;
}

interface RoutingOptions {
  /** Whether circuits may pass through a node whose record says so. Default: always. */
  readonly mayRelay?: (nodeId: NodeId) => boolean;
  readonly delays?: SpfDelays;
}

/** An event that waits to be reported. */
interface PendingEvent {
  readonly isRoute: boolean;
  readonly route: RouteInfo;
}

export class Routing {
  private readonly topology: Topology;
  private readonly paths: ShortestPaths;
  private readonly scores: HopScores;
  private readonly hops: NextHops;
  private readonly delay: SpfThrottle;
  private links: ReadonlyMap<NodeId, OwnLink> = new Map();
  /** Peers through which circuits pass, the cheapest first. */
  private relays: OwnLink[] = [];
  private readonly reachable = new Set<NodeId>();
  /** The next hop that was reported last. It stays until another one is clearly better. */
  private readonly preferred = new Map<NodeId, NodeId>();
  private readonly pending: PendingEvent[] = [];
  private isNotifying = false;

  constructor(
    private readonly self: NodeId,
    timers: Timers,
    private readonly owner: RoutingOwner,
    { delays = DEFAULT_DELAYS, mayRelay }: RoutingOptions = {},
  ) {
    this.topology = new Topology(self, mayRelay);
    this.paths = new ShortestPaths(this.topology);
    this.scores = new HopScores(timers);
    this.hops = new NextHops(this.topology, this.scores, new Detour(this.topology, timers));
    this.delay = new SpfThrottle(timers, delays, () => this.run());
  }

  // --- input ---

  /** Called with a new or newer record, of this node or another. */
  onRecord(record: NodeRecord): void {
    this.topology.set(record);
    this.onChange(record.nodeId);
  }

  /** Called when the rights of a node may have changed: applied when this returns. */
  onRights(nodeId: NodeId): void {
    if (!this.topology.review(nodeId)) return;
    this.onChange(nodeId);
    this.update();
  }

  /** Called when there is no record of a node any more. */
  onForgotten(nodeId: NodeId): void {
    this.topology.delete(nodeId);
    this.onChange(nodeId);
  }

  /** Sets the links of this node that are up. New and lost ones are applied when this returns. */
  setLinks(links: Iterable<LocalLink>): void {
    const before = this.links;
    const after = readLinks(links);
    after.delete(this.self);
    this.links = after;
    for (const peerId of before.keys()) {
      if (!after.has(peerId)) this.seed(peerId, undefined);
    }
    for (const [peerId, link] of after) this.seed(peerId, link);
    this.sortRelays();
    this.hops.keep(after);
    const moved = difference(before, after);
    if (moved.length > 0) this.run(moved, before);
    else if (this.paths.isBehind) this.delay.onChange(this.topology.size);
  }

  /** Called when a circuit towards `dst` has failed through a peer: others are tried before it for a while. */
  penalise(neighbour: NodeId, dst: NodeId): void {
    this.scores.penalise(neighbour, dst);
  }

  /** Called when a circuit towards `dst` was accepted through a peer. */
  reward(neighbour: NodeId, dst: NodeId): void {
    this.scores.reward(neighbour, dst);
  }

  /** Applies all changes at once, and reports them. */
  update(): void {
    if (this.paths.isBehind) this.run();
  }

  /** Ends scheduled computations. */
  dispose(): void {
    this.delay.cancel();
  }

  // --- the routes ---

  /** The number of other nodes that are reachable. */
  get size(): number {
    return this.reachable.size;
  }

  /** Returns the reachable nodes, in no order. */
  nodeIds(): IterableIterator<NodeId> {
    return this.reachable.values();
  }

  /** True for this node as well. */
  isReachable(nodeId: NodeId): boolean {
    return nodeId === this.self || this.reachable.has(nodeId);
  }

  /** Returns the cost of a route, in ms; undefined when there is none. */
  distance(nodeId: NodeId): number | undefined {
    if (nodeId === this.self) return 0;
    const link = this.directLink(nodeId);
    if (link !== undefined) return costOf(link.weight);
    const distance = this.pathLength(nodeId);
    return distance === Number.POSITIVE_INFINITY ? undefined : costOf(distance);
  }

  /** Returns the number of links on a route; undefined when there is none. */
  hopCount(nodeId: NodeId): number | undefined {
    if (nodeId === this.self) return 0;
    if (this.directLink(nodeId) !== undefined) return 1;
    return this.pathLength(nodeId) === Number.POSITIVE_INFINITY
      ? undefined
      : hopsTo(this.paths.parents, this.topology.indexOf(nodeId) as number);
  }

  route(nodeId: NodeId): RouteInfo | undefined {
    const link = this.directLink(nodeId);
    if (link !== undefined) return directRoute(link);
    const distance = this.pathLength(nodeId);
    if (distance === Number.POSITIVE_INFINITY) return undefined;
    const index = this.topology.indexOf(nodeId) as number;
    const best = this.topology.idOf(firstOf(this.paths.parents, index));
    const kept = this.preferred.get(nodeId);
    if (kept !== undefined && kept !== best) {
      const route = this.routeBy(kept, nodeId, index, distance);
      if (route !== undefined) return route;
    }
    this.preferred.set(nodeId, best);
    return { nodeId, nextHop: best, hops: hopsTo(this.paths.parents, index), cost: costOf(distance) };
  }

  routes(): RouteInfo[] {
    const routes: RouteInfo[] = [];
    for (const nodeId of this.reachable) {
      const route = this.route(nodeId);
      if (route !== undefined) routes.push(route);
    }
    return routes;
  }

  /**
   * Returns the peers to try for a circuit, the best first: the link to the node itself, then peers that are closer to it
   * (circuits are spread over equal ones by their hash), then others with a path that does not lead back here. With
   * `visited`, none of these nodes, and at most one of the last kind. `isDetour`: some of them have failed, and only peers
   * with a path that avoids them count.
   */
  nextHops(dst: NodeId, circuitHash: number, visited?: readonly NodeId[], isDetour = false): NodeId[] {
    if (dst === this.self) return [];
    if (isDetour && visited !== undefined) {
      const around = this.hops.around(dst, this.links.get(dst), this.relays, visited);
      if (around !== undefined) return around;
    }
    const index = this.topology.indexOf(dst);
    const first =
      index === undefined || this.paths.distanceOf(index) === Number.POSITIVE_INFINITY
        ? undefined
        : this.links.get(this.topology.idOf(firstOf(this.paths.parents, index)));
    const shortest = first !== undefined && this.relays.includes(first) ? first : undefined;
    return this.hops.choose(dst, circuitHash, this.links.get(dst), this.relays, shortest, visited);
  }

  // --- inside ---

  private onChange(nodeId: NodeId): void {
    const link = this.links.get(nodeId);
    if (link !== undefined) {
      this.seed(nodeId, link);
      this.sortRelays();
    }
    if (this.paths.isBehind) this.delay.onChange(this.topology.size);
  }

  /** Paths begin with a link when there is a record of its peer, of the run at the other end. */
  private seed(peerId: NodeId, link: OwnLink | undefined): void {
    const index = this.topology.indexOf(peerId);
    const record = index === undefined ? undefined : this.topology.recordOf(index);
    link?.weigh(record);
    if (index !== undefined) this.paths.setSeed(index, link?.leadsOn(record) ? link.weight : undefined);
  }

  private sortRelays(): void {
    const { topology } = this;
    this.relays = [...this.links.values()].filter(({ peerId }) => {
      const index = topology.indexOf(peerId);
      return index !== undefined && this.paths.seedOf(index) !== undefined && (topology.flags[index] & TRANSIT) !== 0;
    });
    this.relays.sort((a, b) => a.weight - b.weight);
  }

  /** Returns the link that a circuit to its peer uses; a suspect one only when there is no better path. */
  private directLink(nodeId: NodeId): OwnLink | undefined {
    const link = this.links.get(nodeId);
    if (link?.isSuspect && this.pathLength(nodeId) < link.weight) return undefined;
    return link;
  }

  private pathLength(nodeId: NodeId): number {
    const index = this.topology.indexOf(nodeId);
    return index === undefined || index === SELF ? Number.POSITIVE_INFINITY : this.paths.distanceOf(index);
  }

  /** Returns the route through a peer that is no longer the best; undefined when the best is clearly better. */
  private routeBy(nextHop: NodeId, nodeId: NodeId, index: number, best: number): RouteInfo | undefined {
    const link = this.links.get(nextHop);
    if (link === undefined || !this.relays.includes(link)) return undefined;
    const paths = this.hops.pathsOf(nextHop);
    const distance = link.weight + (paths?.distanceOf(index) ?? Number.POSITIVE_INFINITY);
    if (paths === undefined || distance === Number.POSITIVE_INFINITY || !isAboutAsGood(distance, best))
      return undefined;
    return { nodeId, nextHop, hops: hopsTo(paths.parents, index), cost: costOf(distance) };
  }

  /** Applies all changes. `moved` are peers whose links have come or gone. */
  private run(moved: readonly NodeId[] = [], linksBefore = this.links): void {
    this.delay.cancel();
    const { topology, paths, reachable } = this;
    const before = copyOf(paths);
    paths.update();
    const touched = new Set(moved);
    for (const index of paths.crossed) touched.add(topology.idOf(index));

    const changed: NodeId[] = [];
    const gained: NodeId[] = [];
    for (const nodeId of touched) {
      const isThere = this.links.has(nodeId) || this.pathLength(nodeId) !== Number.POSITIVE_INFINITY;
      if (isThere === reachable.has(nodeId)) continue;
      changed.push(nodeId);
      if (isThere) {
        reachable.add(nodeId);
        gained.push(nodeId);
      } else {
        this.pending.push({ isRoute: false, route: this.lastRoute(nodeId, linksBefore.get(nodeId), before) });
        reachable.delete(nodeId);
        this.preferred.delete(nodeId);
      }
    }
    for (const nodeId of gained) this.pending.push({ isRoute: true, route: this.route(nodeId) as RouteInfo });
    topology.reclaim();
    if (changed.length > 0) this.owner.onReachability(changed);
    this.notify();
  }

  private lastRoute(nodeId: NodeId, link: OwnLink | undefined, before: PathCopy): RouteInfo {
    if (link !== undefined) return directRoute(link);
    const index = this.topology.indexOf(nodeId) as number;
    return {
      nodeId,
      nextHop: this.preferred.get(nodeId) ?? this.topology.idOf(firstOf(before.parents, index)),
      hops: hopsTo(before.parents, index),
      cost: costOf(before.distances[index]),
    };
  }

  /** Reports events in order, also those that a listener causes meanwhile. */
  private notify(): void {
    if (this.isNotifying) return;
    this.isNotifying = true;
    try {
      // The list grows when a listener causes more events.
      for (let at = 0; at < this.pending.length; at++) {
        const { isRoute, route } = this.pending[at];
        if (isRoute) this.owner.onRoute(route);
        else this.owner.onUnroute(route);
      }
    } finally {
      this.pending.length = 0;
      this.isNotifying = false;
    }
  }
}

interface PathCopy {
  distances: Float64Array;
  parents: Int32Array;
}

/** The paths before a run, to describe routes that are gone. Shared by all runs, each of which ends before the next. */
const copy: PathCopy = { distances: new Float64Array(0), parents: new Int32Array(0) };

function copyOf({ distances, parents }: ShortestPaths): PathCopy {
  if (copy.distances.length < distances.length) {
    copy.distances = new Float64Array(distances.length);
    copy.parents = new Int32Array(parents.length);
  }
  copy.distances.set(distances);
  copy.parents.set(parents);
  return copy;
}

/** Returns the first node of a path. */
function firstOf(parents: Int32Array, index: number): number {
  let node = index;
  while (parents[node] !== SELF) node = parents[node];
  return node;
}

function hopsTo(parents: Int32Array, index: number): number {
  let hops = 1;
  for (let node = index; parents[node] !== SELF; node = parents[node]) hops++;
  return hops;
}

function directRoute({ peerId, weight }: OwnLink): RouteInfo {
  return { nodeId: peerId, nextHop: peerId, hops: 1, cost: costOf(weight) };
}

/** Returns the keys that only one of the two has. */
function difference(one: ReadonlyMap<NodeId, unknown>, other: ReadonlyMap<NodeId, unknown>): NodeId[] {
  const found: NodeId[] = [];
  for (const key of one.keys()) if (!other.has(key)) found.push(key);
  for (const key of other.keys()) if (!one.has(key)) found.push(key);
  return found;
}
