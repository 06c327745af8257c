// What the control plane is given instead of the world: identity, time, randomness and cryptography, links and a network that
// makes them. A node provides them over its transports; a simulation runs a thousand control planes in virtual time.

import type { NodeId } from '../address.js';
import type { LinkPurpose } from '../link/link-purpose.js';
import type { Resolution } from '../link/names/seed-records.js';
import type { NodeRole } from '../options/options.js';
import type { Timers } from '../util/timers.js';
import type { Message } from '../wire/messages.js';
import type { MeshRecord, NodeRecord } from '../wire/records.js';

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
  /** Returns a number from 0 up to 1. */
  random(): number;
  /** Whether the signature of a record matches its key. */
  verify(record: MeshRecord): boolean;
  /** Whether the signature is known to match without a check, which takes time. Undefined: it never is. */
  isVerified?(record: MeshRecord): boolean;
  /** Reports a problem to the user of the node. Must not throw. */
  warn(error: Error): void;
}

/** A link as the control plane sees it: its peer, its state, and messages. */
export interface MeshLink {
  readonly peerId: NodeId;
  /** A UUID that changes when the peer restarts. */
  readonly bootId: string;
  readonly direction: 'inbound' | 'outbound';
  /** The link address of the peer, or `attached`. */
  readonly address: string;
  readonly role: NodeRole;
  readonly envDigests: readonly string[];
  /** Link addresses at which the peer listens, by its own account. */
  readonly peerAddresses: readonly string[];
  /** What the peer understands, see HELLO. */
  readonly capabilities?: number;
  readonly purpose: LinkPurpose;
  readonly isUp: boolean;
  /** Messages wait for the peer to accept them; messages that are not urgent are held back. */
  readonly isBlocked: boolean;
  /** The smallest recent round trip, in ms; 0 while it is unknown. */
  readonly rttMs: number;
  /** Open streams of users and relays. */
  readonly streams: number;
  /** When the last byte of the peer arrived, by the clock of the timers, in ms. */
  readonly lastHeardMs: number;
  send(message: Message): void;
  /** Resolves with the round trip in ms. Rejects when the link ends first. */
  ping(): Promise<number>;
  /** Closes the link gracefully. */
  close(): void;
  /** Closes the link gracefully as one that this node does not need. */
  shed(): void;
  destroy(error: Error): void;
}

export interface LinkRequest {
  readonly purpose: LinkPurpose;
  /** The node that must answer; a link to another one fails with ERR_STARLANE_HANDSHAKE. */
  readonly expect?: NodeId;
  readonly signal?: AbortSignal;
}

/** What a bare attempt to connect has found: no listener, a kernel that answers, or no answer. */
export type ProbeResult = 'refused' | 'open' | 'silent';

/** How the control plane makes links. */
export interface MeshNetwork {
  /** Returns a link to `address` once it is up and in sync, or the existing link to the same peer. */
  dial(address: string, request: LinkRequest): Promise<MeshLink>;
  /** Returns where a seed leads, which may be a name: a list of link addresses in no order, or more than that. */
  resolve(seed: string): Promise<readonly string[] | Resolution>;
  /** Connects without a handshake, and disconnects at once. Never rejects; 'silent' after `timeoutMs`. */
  probe(address: string, timeoutMs: number): Promise<ProbeResult>;
  /** Link addresses at which others reach this node. */
  readonly listenAddresses: readonly string[];
  /** Those at which this node itself listens: behind an advertised load balancer, others may answer. Default: all. */
  readonly ownAddresses?: readonly string[];
  /** Why the last link ended or did not come up, unless one has come up since. */
  readonly lastFailure?: Error | undefined;
  /** Links that are up. */
  links(): Iterable<MeshLink>;
}

/** What the neighbourhood knows of the network beyond its own links: from the record store and the routes. */
export interface MeshView {
  /** The number of other nodes that are reachable. */
  readonly reachable: number;
  isReachable(nodeId: NodeId): boolean;
  /** Whether links to the node are refused for a while, because of what it sent. */
  isBanned(nodeId: NodeId): boolean;
  isMember(nodeId: NodeId): boolean;
  /** Whether circuits may pass through a node whose record says so. */
  mayRelay(nodeId: NodeId): boolean;
  node(nodeId: NodeId): NodeRecord | undefined;
  /** Every stored node record, reachable or not, perhaps including the one of this node. */
  nodes(): Iterable<NodeRecord>;
  /** The cost of the route, in ms; undefined when there is none. */
  distance(nodeId: NodeId): number | undefined;
}
