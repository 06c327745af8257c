// Which peers to try, one after the other, for a circuit towards a node. A peer is downhill when it is strictly closer to
// the node than this one is, by what all have announced: where views agree, a circuit that only goes downhill cannot come
// back. Uphill peers know a way as well, one that does not lead through this node; they come last.

import type { NodeId } from '../../address.js';
import { mix } from '../../util/choice.js';
import type { Detour } from './detour.js';
import type { HopScores } from './hop-scores.js';
import type { OwnLink } from './own-links.js';
import { drainsOf, isAboutAsGood } from './route.js';
import { DRAIN_STEP, ShortestPaths } from './shortest-paths.js';
import { DRAINING, SELF, type Topology } from './topology.js';

/** Peers whose distances are kept, at most: the cheapest ones, and who is on the shortest path. */
const MAX_RELAYS = 16;
const MAX_TABLES = 2 * MAX_RELAYS;

interface Candidate {
  readonly link: OwnLink;
  readonly isDirect: boolean;
  readonly isAvoided: boolean;
  /** By way of this peer, in µs; dearer for one that often fails. */
  readonly cost: number;
  isUphill: boolean;
  /** From the peer on. */
  readonly below: number;
}

interface Table {
  readonly index: number;
  readonly paths: ShortestPaths;
}

export class NextHops {
  /** The world as each peer sees it. Made when somebody asks, the one not used for longest goes. */
  private readonly tables = new Map<NodeId, Table>();

  constructor(
    private readonly topology: Topology,
    private readonly scores: HopScores,
    private readonly detour: Detour,
  ) {}

  /**
   * The best first. `relays` are peers that lead on, the cheapest first, and `shortest` is one that always counts;
   * `direct` is the link to the node itself. Without `visited` every uphill peer is in the list, else at most one.
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
   * The same when some of `visited` have led nowhere: only peers that know a way past all of them. Undefined when there
   * has been too much of that lately.
   */
  around(
    dst: NodeId,
    direct: OwnLink | undefined,
    relays: readonly OwnLink[],
    visited: readonly NodeId[],
  ): NodeId[] | undefined {
    const { topology, detour } = this;
    const candidates: Candidate[] = [];
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

  /** The distances from a peer on, past this node. The peer itself counts as a relay. */
  pathsOf(peerId: NodeId): ShortestPaths | undefined {
    const index = this.topology.indexOf(peerId);
    if (index === undefined) return undefined;
    let table = this.tables.get(peerId);
    this.tables.delete(peerId);
    if (table?.index !== index) {
      table = { index, paths: new ShortestPaths(this.topology) };
      table.paths.setSeed(index, 0);
      if (this.tables.size >= MAX_TABLES) this.tables.delete(this.tables.keys().next().value as NodeId);
    }
    this.tables.set(peerId, table);
    table.paths.update();
    return table.paths;
  }

  /** Peers without a link are not asked about again. */
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
  ): Candidate[] {
    const { topology } = this;
    const index = topology.indexOf(dst);
    const candidates: Candidate[] = [];
    // How high this node is: as the others see it, and, as long as they know of no link of it, as it is.
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

  private candidate(dst: NodeId, link: OwnLink, through: number, below: number): Candidate {
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

function byRank(a: Candidate, b: Candidate): number {
  return (
    Number(a.isAvoided) - Number(b.isAvoided) ||
    Number(b.isDirect) - Number(a.isDirect) ||
    drainsOf(a.cost) - drainsOf(b.cost) ||
    Number(a.isUphill) - Number(b.isUphill) ||
    a.cost - b.cost
  );
}

/** Those that are about as good as the best share the circuits, each circuit with an order of its own. */
function spread(ranked: Candidate[], circuitHash: number): void {
  const start = ranked.findIndex(({ isDirect }) => !isDirect);
  if (start < 0) return;
  const best = ranked[start];
  let end = start;
  while (end < ranked.length && isEqual(ranked[end], best)) end++;
  if (end - start < 2) return;
  const equals = ranked.slice(start, end);
  const scoreOf = ({ link }: Candidate): number => mix(link.hash ^ mix(circuitHash));
  equals.sort((a, b) => scoreOf(b) - scoreOf(a));
  ranked.splice(start, equals.length, ...equals);
}

function isEqual(one: Candidate, best: Candidate): boolean {
  return (
    !one.isDirect &&
    one.isAvoided === best.isAvoided &&
    one.isUphill === best.isUphill &&
    isAboutAsGood(one.cost, best.cost)
  );
}
