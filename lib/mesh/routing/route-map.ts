// The live view of the routes for users, and a route as they see it.

import { EventEmitter } from 'node:events';
import type { NodeId } from '../../address.js';
import { INSPECT, type Inspect, type InspectOptions, shownMap } from '../../util/runtime/shown.js';
import { throwLater } from '../../util/runtime/throw-later.js';

/** A snapshot of a route. */
export interface RouteInfo {
  readonly nodeId: NodeId;
  /** The peer through which circuits go; the node itself when there is a link. */
  readonly nextHop: NodeId;
  /** Links between here and there. */
  readonly hops: number;
  /** In ms of round trip, and 2 ms more for each relay on the way. */
  readonly cost: number;
}

export interface RouteMapEvents {
  add: [route: RouteInfo];
  remove: [route: RouteInfo];
}

/** What the view reads. */
interface RouteSource {
  readonly size: number;
  nodeIds(): Iterable<NodeId>;
  route(nodeId: NodeId): RouteInfo | undefined;
}

/** Nodes and the current routes to them. Reads like a Map; its values are snapshots. */
export class RouteMap extends EventEmitter<RouteMapEvents> implements Iterable<[NodeId, RouteInfo]> {
  /** @internal */
  constructor(private readonly routes: RouteSource) {
    super();
    // One view for each node, on which any number of parts of a program may listen.
    this.setMaxListeners(0);
  }

  /** The number of other nodes that are reachable. */
  get size(): number {
    return this.routes.size;
  }

  has(nodeId: NodeId): boolean {
    return this.routes.route(nodeId) !== undefined;
  }

  get(nodeId: NodeId): RouteInfo | undefined {
    return this.routes.route(nodeId);
  }

  *keys(): IterableIterator<NodeId> {
    for (const [nodeId] of this.entries()) yield nodeId;
  }

  *values(): IterableIterator<RouteInfo> {
    for (const [, route] of this.entries()) yield route;
  }

  *entries(): IterableIterator<[NodeId, RouteInfo]> {
    for (const nodeId of this.routes.nodeIds()) {
      const route = this.routes.route(nodeId);
      if (route !== undefined) yield [nodeId, route];
    }
  }

  /** @internal What console.log() prints. */
  [INSPECT](depth: number | null, options: InspectOptions, inspect: Inspect): string {
    return shownMap('RouteMap', this, depth, options, inspect);
  }

  /** @internal Emits an event. An error of a listener is thrown later, so that it does not reach the link that caused the event. */
  emitSafely(event: 'add' | 'remove', route: RouteInfo): void {
    try {
      this.emit(event, route);
    } catch (error) {
      throwLater(error);
    }
  }

  [Symbol.iterator](): IterableIterator<[NodeId, RouteInfo]> {
    return this.entries();
  }
}
