// What queries read of a node.

import type { NodeId } from '../../address.js';
import type { Circuits } from '../../circuit/circuits.js';
import type { MemberBook } from '../../identity/member-book.js';
import type { LinkSet } from '../../link/link-set.js';
import type { ControlPlane } from '../../mesh/control-plane.js';
import type { ResolvedNodeOptions } from '../../options/options.js';
import type { Timers } from '../../util/timers.js';
import type { NodeRecord } from '../../wire/records.js';
import type { ListedMember } from '../enrolment/membership.js';
import type { NodeStats } from '../stats.js';

/** The parts of a node, as queries see them. */
export interface QuerySources {
  readonly id: NodeId;
  readonly options: ResolvedNodeOptions;
  /** Of the envs of the node. */
  readonly envDigests: readonly string[];
  readonly hasSecret: boolean;
  readonly members: MemberBook | undefined;
  readonly links: LinkSet;
  readonly circuits: Circuits;
  readonly mesh: ControlPlane;
  readonly timers: Timers;
  readonly startedAtMs: number;
  /** Wall-clock time in ms. */
  now(): number;
  state(): NodeStats['state'];
  /** Addresses that are kept joined. */
  joins(): number;
  stats(): NodeStats;
  listMembers(): readonly ListedMember[];
}

/** Returns the name of a node: in its certificate as a member, or in that of its link. */
export function nameOf({ members, links }: QuerySources, nodeId: NodeId): string | undefined {
  return members?.member(nodeId)?.name ?? links.get(nodeId)?.peerName;
}

/** Returns the record of a node, this one included. */
export function recordOf({ mesh }: QuerySources, nodeId: NodeId): NodeRecord | undefined {
  return mesh.gossip.store.node(nodeId);
}

/** Returns the digests of the envs of a node; undefined when they are not known. */
export function envsOf(sources: QuerySources, nodeId: NodeId): readonly string[] | undefined {
  if (nodeId === sources.id) return sources.envDigests;
  return sources.links.get(nodeId)?.envDigests ?? recordOf(sources, nodeId)?.envDigests;
}
