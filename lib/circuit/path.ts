// The ways to other nodes, as far as circuits need to know them: links of this node, the process itself, and which
// neighbours lead to whom.

import type { NodeId } from '../address.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';
import type { FarEnd } from '../socket/far-end.js';

/** Opens streams towards a node. */
export interface Path {
  /** Who is at the other end; shared by all sockets between the two nodes. */
  readonly far: FarEnd;
  /** Whether it takes streams. */
  readonly canOpen: boolean;
  /** @throws when no stream can be opened */
  open(sink: StreamSink, first: Buffer): MuxStream;
}

/** Knows the ways that need no relay. */
export interface Paths {
  /** @throws ERR_STARLANE_* when there is a way that cannot be taken; undefined when there is none */
  toward(nodeId: NodeId): Path | undefined;
}

/** A neighbour as the next hop of a circuit. */
export interface Hop {
  /** The smallest recent round trip of the link in ms, 0 while it is unknown. */
  readonly rttMs: number;
  /** How much later than that an answer may come where packets are lost, in ms; 0 while it is unknown. */
  readonly lateMs: number;
  /** Whether the link takes streams. */
  readonly canOpen: boolean;
  /** @throws when no stream can be opened */
  open(sink: StreamSink, first: Buffer): MuxStream;
}

/** What is known of the best way to a node: the links on it, and their round trips in sum, in ms. */
export interface RouteLength {
  readonly hops: number;
  readonly cost: number;
}

/** Knows which neighbours lead to a node, and is told how circuits fare. */
export interface Routes {
  /**
   * The neighbours to try for a circuit, the best first; the node itself when there is a link to it. `circuitHash` shares
   * the circuits among equals. None of `visited`, which a circuit never comes back to. `isDetour`: some of these led
   * nowhere, and are not to be on the way either.
   */
  nextHops(dst: NodeId, circuitHash: number, visited: readonly NodeId[], isDetour: boolean): readonly NodeId[];
  route(dst: NodeId): RouteLength | undefined;
  /** A circuit to `dst` failed by way of the neighbour. */
  penalise(neighbour: NodeId, dst: NodeId): void;
  /** A circuit to `dst` got through by way of the neighbour. */
  reward(neighbour: NodeId, dst: NodeId): void;
}

/** Routes of a node that knows of nobody but its neighbours. */
export class NeighbourRoutes implements Routes {
  constructor(private readonly isNeighbour: (nodeId: NodeId) => boolean) {}

  nextHops(dst: NodeId, _circuitHash: number, visited: readonly NodeId[]): readonly NodeId[] {
    return this.isNeighbour(dst) && !visited.includes(dst) ? [dst] : [];
  }

  route(dst: NodeId): RouteLength | undefined {
    return this.isNeighbour(dst) ? { hops: 1, cost: 0 } : undefined;
  }

  penalise(): void {}

  reward(): void {}
}
