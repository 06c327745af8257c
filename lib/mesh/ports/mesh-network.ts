// How the control plane makes links: by a node over its transports, or by a simulation.

import type { NodeId } from '../../address.js';
import type { LinkPurpose } from '../../link/link-purpose.js';
import type { MeshLink } from '../ports.js';

export interface LinkRequest {
  readonly purpose: LinkPurpose;
  /** Who should be there: another node is left again, with ERR_STARLANE_HANDSHAKE. */
  readonly expect?: NodeId;
  readonly signal?: AbortSignal;
}

/** What a bare attempt to connect has shown: nobody listens, a kernel answers, or nothing does. */
export type ProbeResult = 'refused' | 'open' | 'silent';

export interface MeshNetwork {
  /** A link to `address` once it is up and in sync, or the standing one to the same peer. */
  dial(address: string, request: LinkRequest): Promise<MeshLink>;
  /** Concrete addresses of a link address with the name of a host, in the order in which they are to be tried. */
  resolve(address: string): Promise<readonly string[]>;
  /** Connects without a handshake, and ends at once. Never rejects; 'silent' after `timeoutMs`. */
  probe(address: string, timeoutMs: number): Promise<ProbeResult>;
  /** Link addresses at which others reach this node. */
  readonly listenAddresses: readonly string[];
  /** Those at which this node itself listens. At an advertised one, as of a load balancer, others may answer. Default: the former. */
  readonly ownAddresses?: readonly string[];
  /** Why the last link ended or did not come up, unless one has come up since. */
  readonly lastFailure?: Error | undefined;
  /** Links that are up. */
  links(): Iterable<MeshLink>;
}
