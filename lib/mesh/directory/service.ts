// One instance of a service: a name, or a name and a port, bound at a node.

import type { NodeId } from '../../address.js';

/** A snapshot of an instance. Costs in ms of round trip. */
export interface ServiceInfo {
  readonly service: string;
  readonly nodeId: NodeId;
  /** 0 when it answers for any port. */
  readonly port: number;
  readonly cost: number;
  /** Links between here and there: 0 for this node, 1 for a peer. */
  readonly hops: number;
  /** Bound at this node. */
  readonly local: boolean;
  /** 0 to 255: its share of random dials, against other instances. */
  readonly weight: number;
  /** What the server said about itself, if anything. */
  readonly meta: unknown;
}

/** The way to the node of a service. */
export interface ServiceVia {
  readonly rttMs: number;
  /** 1 when it does not say. */
  readonly hops?: number;
}

export class ServiceInstance implements ServiceInfo {
  /** @internal Where it stands in the lists of the table that it is in. */
  slot = -1;
  /** @internal */
  portSlot = -1;

  constructor(
    readonly service: string,
    readonly nodeId: NodeId,
    readonly port: number,
    readonly weight: number,
    readonly meta: unknown,
    /** Undefined at home. */
    private readonly via: ServiceVia | undefined,
  ) {}

  get local(): boolean {
    return this.via === undefined;
  }

  get hops(): number {
    return this.via === undefined ? 0 : (this.via.hops ?? 1);
  }

  get cost(): number {
    return this.via === undefined ? 0 : this.via.rttMs;
  }

  /** Plain values, as they are now. */
  snapshot(): ServiceInfo {
    const { service, nodeId, port, cost, hops, local, weight, meta } = this;
    return { service, nodeId, port, cost, hops, local, weight, meta };
  }
}
