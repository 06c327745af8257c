// One instance of a service: a name, or a name and a port, bound on a node.

import type { NodeId } from '../../address.js';

/** A snapshot of an instance. Costs in ms of round trip. */
export interface ServiceInfo {
  readonly service: string;
  readonly nodeId: NodeId;
  /** 0 when it answers for any port. */
  readonly port: number;
  readonly cost: number;
  /** Links on the route: 0 for this node, 1 for a peer. */
  readonly hops: number;
  /** Whether it is bound on this node. */
  readonly local: boolean;
  /** 0 to 255: its share of random dials, relative to other instances. */
  readonly weight: number;
  /** What the server has announced with its service, if anything. */
  readonly meta: unknown;
  /** The name of the instance: with `0`, a service `kafka` is dialled as `0.kafka`, too. Undefined if it has none. */
  readonly instance?: string | undefined;
}

/** The route to the node of a service. */
export interface ServiceVia {
  readonly rttMs: number;
  /** Default 1. */
  readonly hops?: number;
}

export class ServiceInstance implements ServiceInfo {
  /** @internal Its places in the lists of its table. */
  slot = -1;
  /** @internal */
  portSlot = -1;

  constructor(
    readonly service: string,
    readonly nodeId: NodeId,
    readonly port: number,
    readonly weight: number,
    readonly meta: unknown,
    /** Undefined for an instance on this node. */
    private readonly via: ServiceVia | undefined,
    readonly instance: string | undefined = undefined,
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

  /** Returns the current values. */
  snapshot(): ServiceInfo {
    const { service, nodeId, port, cost, hops, local, weight, meta, instance } = this;
    const info = { service, nodeId, port, cost, hops, local, weight, meta };
    return instance === undefined ? info : { ...info, instance };
  }
}
