// The live view of the routes that users hold.

import { EventEmitter } from 'node:events';
import type { NodeId } from '../../address.js';
import { INSPECT, type Inspect, type InspectOptions, shownMap } from '../../util/runtime/shown.js';
import { throwLater } from '../../util/runtime/throw-later.js';

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

export interface RouteMapEvents {
  add: [route: RouteInfo];
  remove: [route: RouteInfo];
}

/** Where the view looks. */
export interface RouteSource {
  readonly size: number;
  nodeIds(): Iterable<NodeId>;
  route(nodeId: NodeId): RouteInfo | undefined;
}

/** Nodes and the routes to them, as they are at the moment of asking. Reads like a Map; what it gives are snapshots. */
export class RouteMap extends EventEmitter<RouteMapEvents> implements Iterable<[NodeId, RouteInfo]> {
  /** @internal */
  constructor(private readonly routes: RouteSource) {
    super();
    // One view a node, which any number of parts of a program may follow.
    this.setMaxListeners(0);
  }

  /** How many other nodes can be reached. */
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

  /** @internal Emits, and keeps what a listener throws away from the link that brought the news. */
  tell(event: 'add' | 'remove', route: RouteInfo): void {
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
