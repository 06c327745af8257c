// The ways by which circuits leave this node: the links to its neighbours, the loopback, and the routes that say which neighbours lead
// to another node.

import type { NodeId } from '../address.js';
import { starlaneError } from '../errors.js';
import type { Link } from '../link/link.js';
import type { MuxStream, StreamSink } from '../mux/stream/stream.js';
import type { RemoteEndpoint } from '../socket/endpoints.js';
import type { Acceptor } from './accept/acceptor.js';
import type { RelayNeighbour } from './relay/admission.js';

/** A neighbour as the next hop of a circuit. */
export interface Hop {
  /** The smallest recent round trip of the link in ms; 0 while it is unknown. */
  readonly rttMs: number;
  /** How much later than that an answer may come where packets are lost, in ms; 0 while it is unknown. */
  readonly lateMs: number;
  /** Whether the link takes streams. */
  readonly canOpen: boolean;
  /** @throws when no stream can be opened */
  open(sink: StreamSink, first: Buffer): MuxStream;
}

/** A way to a node that needs no relay: the link to it, or the loopback. */
export interface DirectPath {
  /** The remote endpoint, which all sockets between the two nodes share. */
  readonly remote: RemoteEndpoint;
  /** Whether it takes streams. */
  readonly canOpen: boolean;
  /** @throws when no stream can be opened */
  open(sink: StreamSink, first: Buffer): MuxStream;
}

/** The best route to a node: its links, and the sum of their round trips in ms. */
export interface RouteLength {
  readonly hops: number;
  readonly cost: number;
}

/** Knows which neighbours lead to a node, and learns how circuits fare. */
export interface Routes {
  /**
   * Returns the neighbours to try for a circuit, the best one first; the destination itself when there is a link to it.
   * `circuitHash` spreads circuits over equal neighbours. The result has none of `visited`, to which a circuit never returns.
   * `isDetour`: some of these led nowhere, so the routes avoid them as well.
   */
  nextHops(dst: NodeId, circuitHash: number, visited: readonly NodeId[], isDetour: boolean): readonly NodeId[];
  route(dst: NodeId): RouteLength | undefined;
  /** Called when a circuit to `dst` has failed by way of the neighbour. */
  penalise(neighbour: NodeId, dst: NodeId): void;
  /** Called when a circuit to `dst` was opened by way of the neighbour. */
  reward(neighbour: NodeId, dst: NodeId): void;
}

/** A link as circuits use it. */
export class LinkPath implements DirectPath, Hop {
  constructor(
    readonly link: Link,
    readonly acceptor: Acceptor,
    /** What the relay counts for the peer. */
    readonly neighbour: RelayNeighbour,
  ) {}

  get rttMs(): number {
    return this.link.rttMs;
  }

  get lateMs(): number {
    return this.link.lateMs;
  }

  get lastHeardMs(): number {
    return this.link.lastHeardMs;
  }

  get canOpen(): boolean {
    return this.link.session.canOpen;
  }

  get remote(): RemoteEndpoint {
    return this.acceptor.remote;
  }

  open(sink: StreamSink, first: Buffer): MuxStream {
    return this.link.session.open(sink, first);
  }
}

/** The address of links over a Duplex of the user. */
const ATTACHED = 'attached';

/** The links of this node by their peers, and the loopback. */
export class Paths {
  private readonly links = new Map<NodeId, LinkPath>();

  /** @param loopback undefined when the node may not dial itself */
  constructor(
    private readonly self: NodeId,
    private readonly loopback: DirectPath | undefined,
  ) {}

  add(path: LinkPath): void {
    this.links.set(path.link.peerId, path);
  }

  /** Forgets the link; the peer may have another one already. Returns its path if it was the current one. */
  delete(link: Link): LinkPath | undefined {
    const path = this.links.get(link.peerId);
    if (path === undefined || path.link !== link) return undefined;
    this.links.delete(link.peerId);
    return path;
  }

  all(): Iterable<LinkPath> {
    return this.links.values();
  }

  /** The link to a neighbour, whether or not it takes streams. */
  link(neighbour: NodeId): LinkPath | undefined {
    return this.links.get(neighbour);
  }

  /** Returns the transport of the link to a neighbour, as OpenTelemetry names it; undefined for the loopback and for what was attached. */
  transportTo(neighbour: NodeId): string | undefined {
    const address = this.links.get(neighbour)?.link.address ?? ATTACHED;
    if (address === ATTACHED) return undefined;
    return address.startsWith('unix:') ? 'unix' : 'tcp';
  }

  /**
   * The way to a node that needs no relay, if there is one.
   * @throws ERR_STARLANE_OPTION when the node is this one and the option loopback is false
   */
  direct(nodeId: NodeId): DirectPath | undefined {
    if (nodeId !== this.self) {
      const path = this.links.get(nodeId);
      // A link that takes no more streams is about to end; until then others may lead there.
      return path?.canOpen ? path : undefined;
    }
    if (this.loopback === undefined) throw starlaneError('ERR_STARLANE_OPTION', 'the option loopback is false');
    return this.loopback;
  }
}
