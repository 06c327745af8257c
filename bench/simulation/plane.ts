// A control plane as the simulation runs and questions it. The real one is such by real-plane.ts; specs of the simulation
// itself bring a tiny one.

import type { NodeId } from '../../lib/address.js';
import type { Routes } from '../../lib/circuit/paths.js';
import type { MemberBook } from '../../lib/identity/member-book.js';
import type { MeshEnvironment, MeshLink, MeshNetwork } from '../../lib/mesh/ports.js';
import type { NodeRole } from '../../lib/options/options.js';
import type { Message } from '../../lib/wire/messages.js';
import type { MeshRecord } from '../../lib/wire/records.js';

export interface PlaneSetup {
  readonly environment: MeshEnvironment;
  readonly network: MeshNetwork;
  readonly role: NodeRole;
  readonly relay: boolean;
  readonly env: readonly string[];
  readonly seeds: readonly string[];
  readonly members: MemberBook | undefined;
  /** One more than the last epoch that was kept, or 1. */
  readonly firstEpoch: number;
  onEpoch(epoch: number): void;
  /** The initial sync of the peer is applied. */
  onSynced(link: MeshLink): void;
  /** A node or an instance of a service has disappeared from its view. */
  onGone?(what: string): void;
}

export type PlaneMaker = (setup: PlaneSetup) => Plane;

export interface Plane {
  start(): void;
  onLink(link: MeshLink): void;
  onPromoted(link: MeshLink): void;
  onUnlink(link: MeshLink, reason: Error | undefined): void;
  onMessage(link: MeshLink, message: Message): void;
  onUnblocked(link: MeshLink): void;
  /** The reason to reject a link that a peer makes. */
  objection(link: MeshLink): string | undefined;
  bind(service: string, port: number): void;
  unbind(service: string, port: number): void;
  /** Publishes that it drains: other nodes route around it. */
  drain(): void;
  /** Publishes that it leaves. Its links are closed a little later. */
  leave(): void;
  stop(): void;
  /** For a network that is made at once. */
  readonly shortcut: PlaneShortcut;
  readonly view: PlaneView;
}

/** The state that a control plane gets without any message. */
export interface PlaneShortcut {
  /** It has picked the node of this link itself, at random. */
  choose(link: MeshLink): void;
  ownRecords(): Iterable<MeshRecord>;
  /** Takes records as if they had come by gossip, and passes none on. */
  learn(records: Iterable<MeshRecord>): void;
  /** Compares databases over all links as if they had just come up. */
  greetAgain(): void;
}

/** Everything known, in 12 bytes. */
export interface DatabaseDigest {
  readonly rootHigh: number;
  readonly rootLow: number;
  readonly count: number;
}

/** What the oracles read. */
export interface PlaneView {
  isReachable(nodeId: NodeId): boolean;
  /** How many other nodes are reached, and which. */
  reachCount(): number;
  reachable(): Iterable<NodeId>;
  /** `service:port@node id` of every instance that is offered, own ones included. */
  instances(): Iterable<string>;
  hasInstance(service: string, nodeId: NodeId): boolean;
  digest(): DatabaseDigest;
  /** The version of the NODE record that is held; undefined for none. */
  versionOf(nodeId: NodeId): string | undefined;
  /** Everything that is held, own records included, and one of that. */
  records(): Iterable<MeshRecord>;
  recordOf(key: string): MeshRecord | undefined;
  /** A version of it is queued, because its node publishes too often. */
  isParked(record: MeshRecord): boolean;
  /** Whether it has published that it leaves. */
  hasLeft(nodeId: NodeId): boolean;
  /** Peers listed in the record of a node. */
  linksOf(nodeId: NodeId): readonly NodeId[];
  /** For circuits. */
  readonly routes: Routes;
  /** Records that are due to go out over this link. */
  isSettled(link: MeshLink): boolean;
  /** Counters by name, for figures and limits. */
  counters(): ReadonlyMap<string, number>;
}
