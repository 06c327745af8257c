// A route: which way a node is reached, and how far it is.

import type { NodeId } from '../../address.js';
import { DRAIN_STEP } from './shortest-paths.js';
import { HOP_US } from './topology.js';

/** A snapshot of a route. */
export interface RouteInfo {
  readonly nodeId: NodeId;
  /** The peer that circuits to it go through; the node itself when there is a link. */
  readonly nextHop: NodeId;
  /** Links between here and there. */
  readonly hops: number;
  /** In ms of round trip, and 2 ms more for each relay on the way. */
  readonly cost: number;
}

/** A distance as users see it: a peer costs the round trip of its link. */
export function costOf(distance: number): number {
  return Math.max(0, (distance % DRAIN_STEP) - HOP_US) / 1000;
}

/** How many draining nodes there are on the way. */
export function drainsOf(distance: number): number {
  return Math.floor(distance / DRAIN_STEP);
}

/** No worse than another by more than what may well be noise: 10 %, or 2 ms. */
export function isAboutAsGood(distance: number, other: number): boolean {
  const drains = drainsOf(distance) - drainsOf(other);
  if (drains !== 0) return drains < 0;
  const [cost, otherCost] = [distance % DRAIN_STEP, other % DRAIN_STEP];
  return cost <= otherCost + Math.max(otherCost / 10, 2000);
}
