// What must hold when a network has been left alone for a while, whatever happened to it before. Each oracle returns its
// complaints as text; an empty list means that all is well.

import type { NodeId } from '../../lib/address.js';
import { openCircuit } from './circuits.js';
import type { SimNode } from './sim-node.js';
import type { World } from './world.js';

/** Complaints of one kind that are printed; the others are counted. */
const MAX_TOLD = 8;
const ASK_MS = 100;
const SECOND_LOOK_MS = 2_000;

/** Nodes that reach each other, by the links that are really up. No client joins two parts: it carries nothing on. */
export function components(nodes: readonly SimNode[]): SimNode[][] {
  const inOrder = [...nodes.filter(({ isKnown }) => isKnown), ...nodes.filter(({ isKnown }) => !isKnown)];
  const live = new Map(inOrder.filter((node) => node.isLive).map((node) => [node.nodeId, node]));
  const parts: SimNode[][] = [];
  const seen = new Set<NodeId>();
  for (const start of live.values()) {
    if (seen.has(start.nodeId)) continue;
    seen.add(start.nodeId);
    const part = [start];
    // Grows while it is gone through.
    for (const node of part) {
      if (!node.isKnown) continue;
      for (const link of node.run?.links.values() ?? []) {
        const peer = live.get(link.peerId);
        if (peer === undefined || seen.has(peer.nodeId) || !isWhole(node, peer)) continue;
        seen.add(peer.nodeId);
        part.push(peer);
      }
    }
    parts.push(part);
  }
  return parts.sort((a, b) => b.length - a.length);
}

/** Is there a link between them that is up at both ends? */
function isWhole(one: SimNode, other: SimNode): boolean {
  const link = one.linkTo(other);
  return link?.isUp === true && link.other === other.linkTo(one) && link.other.isUp;
}

/** How many others each node of that part is to reach: all that are known to all, and the clients that are linked to it. */
export function expectedReach(part: readonly SimNode[]): (node: SimNode) => number {
  const known = part.filter(({ isKnown }) => isKnown).length;
  return (node) => {
    let clients = 0;
    for (const { other } of node.run?.links.values() ?? []) {
      const peer = other.node;
      if (!peer.isKnown && peer.isLive && isWhole(node, peer)) clients++;
    }
    return known - Number(node.isKnown) + clients;
  };
}

/** Does each node of that part reach all that it is to reach? */
export function isAllReached(part: readonly SimNode[]): boolean {
  const expected = expectedReach(part);
  return part.every((node) => viewOf(node).reachCount() === expected(node));
}

/** Every node reaches all announced nodes of its own part, and no others. */
export function reachComplaints(part: readonly SimNode[]): string[] {
  const complaints: string[] = [];
  const ids = new Set(part.map((node) => node.nodeId));
  const expected = expectedReach(part);
  for (const node of part) {
    let reached = 0;
    for (const nodeId of viewOf(node).reachable()) {
      if (nodeId === node.nodeId) continue;
      if (ids.has(nodeId)) reached++;
      else complaints.push(`${label(node)} reaches ${nodeId}, which is not there`);
    }
    if (reached !== expected(node)) complaints.push(`${label(node)} reaches ${reached} of ${expected(node)}`);
  }
  return complaints;
}

/** All nodes hold the same records. */
export function databaseComplaints(part: readonly SimNode[]): string[] {
  const roots = new Map<string, SimNode[]>();
  for (const node of part) {
    const { rootHigh, rootLow, count } = viewOf(node).digest();
    const root = `${rootHigh.toString(16)}.${rootLow.toString(16)} of ${count}`;
    roots.set(root, [...(roots.get(root) ?? []), node]);
  }
  if (roots.size <= 1) return [];
  return [...roots].map(([root, nodes]) => `${nodes.length} nodes hold ${root}, ${label(nodes[0])} for one`);
}

/** Every node sees exactly the services that the live nodes of its part bind; a client also sees its own. */
export function serviceComplaints(part: readonly SimNode[]): string[] {
  const ofAll = new Set(part.filter(({ isKnown }) => isKnown).flatMap(instancesOf));
  const complaints: string[] = [];
  for (const node of part) {
    const expected = node.isKnown || node.services.size === 0 ? ofAll : new Set([...ofAll, ...instancesOf(node)]);
    let count = 0;
    for (const instance of viewOf(node).instances()) {
      if (expected.has(instance)) count++;
      else complaints.push(`${label(node)} is offered ${instance}, which is not there`);
    }
    if (count !== expected.size) complaints.push(`${label(node)} is offered ${count} of ${expected.size} services`);
  }
  return complaints;
}

function instancesOf({ nodeId, services }: SimNode): string[] {
  return [...services.values()].map(({ service, port }) => `${service}:${port}@${nodeId}`);
}

/** Links that two records list are there, and the record of each node is that of its present run. */
export function linkComplaints(part: readonly SimNode[]): string[] {
  const complaints: string[] = [];
  const byId = new Map(part.map((node) => [node.nodeId, node]));
  const [observer] = part;
  for (const node of part) {
    for (const peerId of viewOf(observer).linksOf(node.nodeId)) {
      const peer = byId.get(peerId);
      // A link to a node that has left is removed with the next change.
      if (peer === undefined && viewOf(observer).hasLeft(peerId)) continue;
      if (peer === undefined) complaints.push(`the record of ${label(node)} lists ${peerId}, which is not there`);
      else if (!viewOf(observer).linksOf(peerId).includes(node.nodeId)) {
        // Up at one end only: its kernel has backed off so far that it takes a minute to notice that the other is gone.
        if (node.linkTo(peer)?.isUp && peer.linkTo(node) === undefined) continue;
        complaints.push(`only the record of ${label(node)} lists its link to ${label(peer)}`);
      } else if (!isWhole(node, peer)) complaints.push(`${label(node)} and ${label(peer)} list a link that is not up`);
    }
    const version = viewOf(node).versionOf(node.nodeId);
    if (version !== viewOf(observer).versionOf(node.nodeId))
      complaints.push(`${label(node)} is known by another record`);
  }
  return complaints;
}

/** Nothing waits to be sent. */
export function unsettledComplaints(part: readonly SimNode[]): string[] {
  const complaints: string[] = [];
  for (const node of part) {
    for (const link of node.run?.links.values() ?? []) {
      if (!viewOf(node).isSettled(link)) complaints.push(`${label(node)} has something left to send to ${link.peerId}`);
    }
  }
  return complaints;
}

/** Counters that stay zero in an honest network, and sizes that the number of nodes bounds. */
export function limitComplaints(world: World): string[] {
  const complaints: string[] = [];
  const ever = new Set(world.nodes.map((node) => node.nodeId)).size;
  for (const node of world.liveNodes) {
    const counters = viewOf(node).counters();
    for (const name of ['invalid', 'rejected', 'punished']) {
      const count = counters.get(name) ?? 0;
      if (count > 0) complaints.push(`${label(node)} counts ${count} ${name}`);
    }
    const origins = counters.get('origins') ?? 0;
    if (origins > ever) complaints.push(`${label(node)} knows ${origins} nodes of ${ever} that there ever were`);
    for (const [name, count] of counters) {
      if (name.startsWith('memory') && count > 4 * ever + 64)
        complaints.push(`${label(node)} keeps ${count} in ${name}`);
    }
  }
  return complaints;
}

/** A circuit opens from each of these to each other, and visits no node twice. */
export async function circuitComplaints(
  world: World,
  pairs: ReadonlyArray<readonly [SimNode, SimNode]>,
): Promise<string[]> {
  const complaints: string[] = [];
  let open = pairs.length;
  for (const [from, to] of pairs) {
    openCircuit(from, to.nodeId, world.random.below(2 ** 32), ({ isOpen, failure, relays }) => {
      open--;
      if (!isOpen)
        complaints.push(`no circuit from ${label(from)} to ${label(to)}: ${failure?.code} ${failure?.reason}`);
      const way = [from.nodeId, ...relays, to.nodeId];
      if (new Set(way).size !== way.length) complaints.push(`a circuit goes in a circle: ${way.join(' ')}`);
    });
  }
  await world.loop.waitFor(10_000, 10, () => open === 0);
  if (open > 0) complaints.push(`${open} circuits were never answered`);
  return complaints;
}

/**
 * All of them, for a network that has had time to come to rest. A fault for only a moment is none: links come and go
 * all the time. `pairs`: how many circuits are tried.
 */
export async function allComplaints(world: World, pairs: number): Promise<string[]> {
  const before = new Set(standingComplaints(world));
  await world.loop.run(SECOND_LOOK_MS);
  const complaints = few(standingComplaints(world).filter((complaint) => before.has(complaint)));
  const [largest = []] = components(world.nodes);
  if (largest.filter(({ isKnown }) => isKnown).length > 1)
    complaints.push(...few(await circuitComplaints(world, somePairs(world, largest, pairs))));
  return complaints;
}

function standingComplaints(world: World): string[] {
  const complaints = limitComplaints(world);
  const parts = components(world.nodes);
  if (parts.length > 1) complaints.push(`the network is in ${parts.length} parts: ${parts.map((part) => part.length)}`);
  for (const part of parts) {
    for (const oracle of [
      reachComplaints,
      databaseComplaints,
      serviceComplaints,
      linkComplaints,
      unsettledComplaints,
    ]) {
      complaints.push(...oracle(part));
    }
  }
  return complaints;
}

/** Are all views of each part equal, and correct? Cheap enough for many calls a second. */
export function isConverged(nodes: readonly SimNode[]): boolean {
  return rootsOf(nodes) !== undefined;
}

/**
 * Waits until all views are the same and right, and have not changed for `forMs`: what is equal for a moment may be on its
 * way to become different. False when that never was, within `limitMs`.
 */
export async function rest(world: World, forMs: number, limitMs: number): Promise<boolean> {
  const { loop, nodes } = world;
  const end = loop.now + limitMs;
  let roots: string | undefined;
  while (loop.now < end) {
    if (!(await loop.waitFor(end - loop.now, ASK_MS, () => isConverged(nodes)))) return false;
    roots = rootsOf(nodes);
    await loop.run(forMs);
    if (roots !== undefined && rootsOf(nodes) === roots) return true;
  }
  return false;
}

/** The digests of all parts, if each has one, and every node reaches all of it. */
function rootsOf(nodes: readonly SimNode[]): string | undefined {
  const roots: string[] = [];
  for (const part of components(nodes)) {
    const expected = expectedReach(part);
    let root: string | undefined;
    for (const node of part) {
      const view = viewOf(node);
      const { rootHigh, rootLow, count } = view.digest();
      const own = `${rootHigh} ${rootLow} ${count}`;
      root ??= own;
      if (own !== root || view.reachCount() !== expected(node)) return undefined;
    }
    roots.push(`${root}`);
  }
  return roots.join();
}

export function viewOf(node: SimNode): NonNullable<SimNode['run']>['plane']['view'] {
  if (node.run === undefined) throw new Error(`${label(node)} does not run`);
  return node.run.plane.view;
}

export function label(node: SimNode): string {
  return `#${node.host.index} ${node.nodeId}`;
}

function somePairs(world: World, nodes: readonly SimNode[], count: number): Array<readonly [SimNode, SimNode]> {
  const known = nodes.filter(({ isKnown }) => isKnown);
  return Array.from({ length: count }, () => {
    const from = world.random.pick(nodes);
    const to = world.random.pick(known.filter((node) => node !== from));
    return [from, to] as const;
  });
}

function few(complaints: readonly string[]): string[] {
  if (complaints.length <= MAX_TOLD) return [...complaints];
  return [...complaints.slice(0, MAX_TOLD), `... and ${complaints.length - MAX_TOLD} like these`];
}
