// Which peers to try, one after the other, for a circuit towards a node. A peer is downhill when it is strictly closer to the
// node than this one is, by what all nodes announce: where views agree, a circuit that only goes downhill cannot return.
// Uphill peers have a path as well that does not pass through this node; they come last.

import type { NodeId } from '../../address.js';
import { mix } from '../../util/choice.js';
import { RecentMap } from '../../util/recent-map.js';
import type { HopScores } from './hop-scores.js';
import type { OwnLink } from './own-links.js';
import { type Detour, DRAIN_STEP, drainsOf, isAboutAsGood, ShortestPaths } from './shortest-paths.js';
import { DRAINING, SELF, type Topology } from './topology.js';

/** The most peers whose distances are kept: the cheapest ones, and the one on the shortest path. */
const MAX_RELAYS = 16;
const MAX_TABLES = 2 * MAX_RELAYS;

interface HopCandidate {
  readonly link: OwnLink;
  readonly isDirect: boolean;
  readonly isAvoided: boolean;
  /** The cost through this peer, in µs; higher for one that often fails. */
  readonly cost: number;
  isUphill: boolean;
  /** The distance from the peer on. */
  readonly below: number;
}

interface Table {
  readonly index: number;
  readonly paths: ShortestPaths;
}

export class NextHops {
  /** The shortest paths of each peer, made on demand. The one that was used longest ago is dropped. */
  private readonly tables = new RecentMap<NodeId, Table>(MAX_TABLES);

  constructor(
    private readonly topology: Topology,
    private readonly scores: HopScores,
    private readonly detour: Detour,
  ) {}

  /**
   * Returns peers, the best first. `relays` are peers through which circuits pass, the cheapest first, and `shortest` is one
   * that always counts; `direct` is the link to the node itself. Without `visited` all uphill peers are included, else at
   * most one.
   */
  choose(
    dst: NodeId,
    circuitHash: number,
    direct: OwnLink | undefined,
    relays: readonly OwnLink[],
    shortest: OwnLink | undefined,
    visited: readonly NodeId[] | undefined,
  ): NodeId[] {
    const candidates = this.candidates(dst, direct, relays, shortest);
    const open = visited === undefined ? candidates : candidates.filter(({ link }) => !visited.includes(link.peerId));
    open.sort(byRank);
    spread(open, circuitHash);
    const hops: NodeId[] = [];
    let hasUphill = false;
    for (const { link, isUphill } of open) {
      if (isUphill && hasUphill && visited !== undefined) continue;
      hasUphill ||= isUphill;
      hops.push(link.peerId);
    }
    return hops;
  }

  /**
   * The same when some of `visited` have failed: only peers with a path that avoids all of them. Undefined when the rate
   * limit of detours is exceeded.
   */
  around(
    dst: NodeId,
    direct: OwnLink | undefined,
    relays: readonly OwnLink[],
    visited: readonly NodeId[],
  ): NodeId[] | undefined {
    const { topology, detour } = this;
    const candidates: HopCandidate[] = [];
    if (direct !== undefined && !visited.includes(dst)) candidates.push(this.candidate(dst, direct, 0, 0));
    const index = topology.indexOf(dst);
    if (index !== undefined) {
      const links = new Map<number, OwnLink>();
      for (const link of relays) {
        if (link !== direct && !visited.includes(link.peerId)) links.set(topology.indexOf(link.peerId) as number, link);
      }
      const avoided = new Set<number>();
      for (const nodeId of visited) avoided.add(nodeId === dst ? SELF : (topology.indexOf(nodeId) ?? SELF));
      const found = detour.find(index, new Set(links.keys()), avoided);
      if (found === undefined) return undefined;
      for (const [peer, through] of found) candidates.push(this.candidate(dst, links.get(peer) as OwnLink, through, 0));
    }
    return candidates.sort(byRank).map(({ link }) => link.peerId);
  }

  /** Returns the shortest paths from a peer that do not pass through this node. The peer itself counts as a relay. */
  pathsOf(peerId: NodeId): ShortestPaths | undefined {
    const index = this.topology.indexOf(peerId);
    if (index === undefined) return undefined;
    let table = this.tables.get(peerId);
    if (table?.index !== index) {
      table = { index, paths: new ShortestPaths(this.topology) };
      table.paths.setSeed(index, 0);
      this.tables.set(peerId, table);
    }
    table.paths.update();
    return table.paths;
  }

  /** Drops what is kept for peers without a link. */
  keep(links: ReadonlyMap<NodeId, OwnLink>): void {
    for (const peerId of this.tables.keys()) {
      if (!links.has(peerId)) this.tables.delete(peerId);
    }
  }

  private candidates(
    dst: NodeId,
    direct: OwnLink | undefined,
    relays: readonly OwnLink[],
    shortest: OwnLink | undefined,
  ): HopCandidate[] {
    const { topology } = this;
    const index = topology.indexOf(dst);
    const candidates: HopCandidate[] = [];
    // The distance of this node: by its announced links, and while others know of none, by its actual ones.
    let announced = Number.POSITIVE_INFINITY;
    let actual = Number.POSITIVE_INFINITY;
    if (direct !== undefined) {
      candidates.push(this.candidate(dst, direct, 0, 0));
      actual = direct.weight;
      if (index !== undefined) announced = topology.edges.weightOf(SELF, index) || announced;
    }
    if (index === undefined) return candidates;
    const count = Math.min(relays.length, MAX_RELAYS);
    for (let at = 0; at <= count; at++) {
      const link = at < count ? relays[at] : shortest;
      if (link === undefined || link === direct) continue;
      if (at === count && relays.lastIndexOf(link, count - 1) >= 0) continue;
      const through = this.pathsOf(link.peerId)?.distanceOf(index) ?? Number.POSITIVE_INFINITY;
      if (through === Number.POSITIVE_INFINITY) continue;
      const peer = topology.indexOf(link.peerId) as number;
      const below = (topology.flags[peer] & DRAINING) === 0 ? through : through - DRAIN_STEP;
      candidates.push(this.candidate(dst, link, through, below));
      actual = Math.min(actual, link.weight + through);
      const weight = topology.edges.weightOf(SELF, peer);
      if (weight > 0) announced = Math.min(announced, weight + through);
    }
    const height = announced === Number.POSITIVE_INFINITY ? actual : announced;
    for (const candidate of candidates) candidate.isUphill = !candidate.isDirect && candidate.below >= height;
    return candidates;
  }

  private candidate(dst: NodeId, link: OwnLink, through: number, below: number): HopCandidate {
    const distance = link.weight + through;
    const drains = drainsOf(distance) * DRAIN_STEP;
    return {
      link,
      isDirect: link.peerId === dst && !link.isSuspect,
      isAvoided: this.scores.isAvoided(link.peerId, dst),
      cost: drains + (distance - drains) * this.scores.factorOf(link.peerId),
      isUphill: false,
      below,
    };
  }
}

/** A draining node refuses every circuit, so it comes after peers that have only failed lately. */
function byRank(a: HopCandidate, b: HopCandidate): number {
  return (
    drainsOf(a.cost) - drainsOf(b.cost) ||
    Number(a.isAvoided) - Number(b.isAvoided) ||
    Number(b.isDirect) - Number(a.isDirect) ||
    Number(a.isUphill) - Number(b.isUphill) ||
    a.cost - b.cost
  );
}

/** Spreads circuits over the peers that are about as good as the best, by the hash of the circuit. */
function spread(ranked: HopCandidate[], circuitHash: number): void {
  const start = ranked.findIndex(({ isDirect }) => !isDirect);
  if (start < 0) return;
  const best = ranked[start];
  let end = start;
  while (end < ranked.length && isEqual(ranked[end], best)) end++;
  if (end - start < 2) return;
  const equals = ranked.slice(start, end);
  const scoreOf = ({ link }: HopCandidate): number => mix(link.hash ^ mix(circuitHash));
  equals.sort((a, b) => scoreOf(b) - scoreOf(a));
  ranked.splice(start, equals.length, ...equals);
}

function isEqual(one: HopCandidate, best: HopCandidate): boolean {
  return (
    !one.isDirect &&
    one.isAvoided === best.isAvoided &&
    one.isUphill === best.isUphill &&
    isAboutAsGood(one.cost, best.cost)
  );
}
