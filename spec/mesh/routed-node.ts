// The routes of one node, their events, and a clock that a spec moves.

import type { LocalLink } from '../../lib/mesh/routing/own-links.js';
import type { RouteInfo } from '../../lib/mesh/routing/route-map.js';
import { Routing } from '../../lib/mesh/routing/routing.js';
import { Timers } from '../../lib/util/timers.js';
import { FakeClock } from '../support/fake-clock.js';
import { BOOT, type MadeNode, nodeRecord } from './made-records.js';

/** Longer than any pause between runs. */
export const QUIET_MS = 1100;

export class RoutedNode {
  readonly clock = new FakeClock();
  readonly routing: Routing;
  readonly events: string[] = [];
  readonly told: RouteInfo[] = [];
  /** Called with each event. */
  onEvent: (event: string) => void = () => {};
  private readonly links = new Map<string, LocalLink>();

  constructor(readonly nodeId = 'me') {
    const note = (event: string, route?: RouteInfo) => {
      this.events.push(event);
      if (route !== undefined) this.told.push(route);
      this.onEvent(event);
    };
    this.routing = new Routing(nodeId, new Timers(this.clock), {
      onReachability: (changed) => note(`changed ${[...changed].sort().join(' ')}`),
      onRoute: (route) => note(`+${route.nodeId}`, route),
      onUnroute: (route) => note(`-${route.nodeId}`, route),
    });
  }

  /** Events without those of whole runs. */
  get news(): string[] {
    return this.events.filter((event) => !event.startsWith('changed'));
  }

  link(peerId: string, costMs = 1, changes: Partial<LocalLink> = {}): this {
    this.links.set(peerId, { peerId, bootId: BOOT, costMs, isMesh: true, isSuspect: false, ...changes });
    this.routing.setLinks(this.links.values());
    return this;
  }

  unlink(...peerIds: string[]): this {
    for (const peerId of peerIds) this.links.delete(peerId);
    this.routing.setLinks(this.links.values());
    return this;
  }

  record(nodeId: string, made: MadeNode = {}): this {
    this.routing.onRecord(nodeRecord(nodeId, made));
    return this;
  }

  /**
   * Records of all nodes of links such as `a-b` or `a-b:30`: the cost is a cost byte, by default 0 (0.1 ms).
   * Flags by node.
   */
  mesh(links: string, flags: Record<string, number> = {}): this {
    const nodes = new Map<string, Record<string, number>>();
    const list = (one: string, other: string, cost: number) => nodes.set(one, { ...nodes.get(one), [other]: cost });
    for (const link of links.split(' ')) {
      const [ends, cost = '0'] = link.split(':');
      const [one, other] = ends.split('-');
      list(one, other, Number(cost));
      list(other, one, Number(cost));
    }
    for (const [nodeId, peers] of nodes) this.record(nodeId, { links: peers, flags: flags[nodeId] });
    return this;
  }

  /** Until everything has been taken in. */
  settle(): this {
    this.clock.advance(QUIET_MS);
    return this;
  }
}
