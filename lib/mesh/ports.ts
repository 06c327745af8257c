// A link as the control plane sees it: who is at the other end, whether it is well, and messages. The links of a node are
// such, and so are those of a simulation.

import type { NodeId } from '../address.js';
import type { LinkPurpose } from '../link/link-purpose.js';
import type { NodeRole } from '../options/options.js';
import type { Timers } from '../util/timers.js';
import type { Message } from '../wire/messages.js';
import type { MeshRecord, NodeRecord } from '../wire/records.js';

// What the control plane is given instead of the world: who it is, time, chance and cryptography, so that a simulation can
// run a thousand of them in virtual time.

export interface MeshIdentity {
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** A UUID of this run of the node. */
  readonly bootId: string;
  /** Ed25519, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

export interface MeshEnvironment {
  readonly identity: MeshIdentity;
  readonly timers: Timers;
  /** From 0 up to 1. */
  random(): number;
  /** Whether the signature of a record is that of its key. */
  verify(record: MeshRecord): boolean;
  /** Whether that is known without a check, which takes time. None: it never is. */
  isVerified?(record: MeshRecord): boolean;
}

export interface MeshLink {
  readonly peerId: NodeId;
  /** A UUID that changes when the peer restarts. */
  readonly bootId: string;
  readonly direction: 'inbound' | 'outbound';
  /** The link address of the peer, or `attached`. */
  readonly address: string;
  readonly role: NodeRole;
  readonly envDigests: readonly string[];
  /** Link addresses at which the peer listens, as it says itself. */
  readonly peerAddresses: readonly string[];
  readonly purpose: LinkPurpose;
  readonly isUp: boolean;
  /** Messages wait for the peer to take them: what is not urgent is held back until it has. */
  readonly isBlocked: boolean;
  /** The smallest recent round trip, in ms; 0 while it is unknown. */
  readonly rttMs: number;
  /** Open streams of users and relays. */
  readonly streams: number;
  /** When the last byte of the peer arrived, by the clock of the timers, in ms. */
  readonly lastHeardMs: number;
  send(message: Message): void;
  /** The time that the peer takes to answer, in ms. Rejects when the link ends first. */
  ping(): Promise<number>;
  /** Ends it in order. */
  close(): void;
  /** Ends it in order, and tells the peer that it can do without. */
  shed(): void;
  destroy(error: Error): void;
}

// How the control plane makes links: by a node over its transports, or by a simulation.

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

// What the neighbourhood knows of the network beyond its own links: the records of the nodes, and which of them this
// node reaches. The record store and the routes together are such a view.

export interface MeshView {
  /** How many other nodes are reached. */
  readonly reachable: number;
  isReachable(nodeId: NodeId): boolean;
  /** It has sent what it should not, and is not linked to for a while. */
  isBanned(nodeId: NodeId): boolean;
  node(nodeId: NodeId): NodeRecord | undefined;
  /** Every record that is kept, reachable or not. The own one may be among them. */
  nodes(): Iterable<NodeRecord>;
  /** The cost of the way there, in ms; undefined where there is none. */
  distance(nodeId: NodeId): number | undefined;
}
