// The numbers of a node, as one plain object.

import type { NodeId } from '../address.js';
import type { Circuits } from '../circuit/circuits.js';
import type { RelayCounters } from '../circuit/relay/relay.js';
import type { ResilienceCounters } from '../circuit/resilience/policy.js';
import type { RefusalKind } from '../link/handshake/refusals.js';
import type { LinkSet } from '../link/link-set.js';
import type { ControlPlane } from '../mesh/control-plane.js';
import type { GossipCounters } from '../mesh/gossip/gossip.js';
import { kOpenSockets } from '../mux/hidden.js';

export interface NodeStats {
  id: NodeId;
  /** 'draining' from the call of drain(), 'closed' from that of close(). */
  state: 'open' | 'draining' | 'closed';
  /** Since the node was made, in ms. */
  uptimeMs: number;
  links: {
    up: number;
    /** In the handshake, or leaving. */
    unsettled: number;
    listeners: number;
    /** Addresses that are kept joined, including those that are being dialled. */
    joins: number;
    /** Counts since the start: came up, lost other than on purpose, never came up. */
    opened: number;
    lost: number;
    failed: number;
    /** Those that never came up, by kind. Both ends count them. */
    refused: Readonly<Record<RefusalKind, number>>;
    /** Over the links that are up. */
    bytesIn: number;
    bytesOut: number;
  };
  /**
   * Streams of users that are open: over links, and to this node itself. `incoming`: circuits that other nodes have opened, to this node
   * or through it, for which drain() waits.
   */
  streams: { links: number; loopback: number; incoming: number };
  /**
   * Counts since the start, and dials that are going on. Quantum-safe ones are connected, see PeerInfo. Open breakers and ejected
   * instances: those of now.
   */
  dials: {
    started: number;
    connected: number;
    failed: number;
    quantumSafe: number;
    pending: number;
    openBreakers: number;
    ejected: number;
  } & Readonly<ResilienceCounters>;
  /**
   * Counts since the start: circuits that came in. Refused ones include those that `allow` denied; insecure ones are those
   * whose proof did not hold, or was never confirmed; repeated ones had come before. Quantum-safe ones are accepted, see PeerInfo.
   */
  accepts: {
    accepted: number;
    refused: number;
    denied: number;
    insecure: number;
    repeated: number;
    quantumSafe: number;
  };
  servers: { bound: number; openSockets: number };
  /** Names and instances that are known, those of this node included, and instances that `allow` hides. */
  services: { names: number; instances: number; hidden: number };
  /** Circuits of others through this node, and bytes that wait in it for slow readers. */
  relay: RelayCounters & { heldBytes: number };
  /** Other nodes that are reached, records kept, links to nodes that gossip, shortcuts, and what the gossip counts. */
  mesh: { nodes: number; records: number; degree: number; shortcuts: number } & Readonly<GossipCounters>;
  /** Since the start. */
  warnings: number;
  /** Sockets, servers, listeners and waits that keep the process alive. */
  holds: number;
}

/** @internal */
interface StatsSources {
  readonly id: NodeId;
  readonly state: NodeStats['state'];
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly links: LinkSet;
  readonly circuits: Circuits;
  readonly mesh: ControlPlane;
  readonly joins: number;
  readonly warnings: number;
  readonly holds: number;
}

/** @internal */
export function collectStats(from: StatsSources): NodeStats {
  const { links, circuits, mesh } = from;
  let bytesIn = 0;
  let bytesOut = 0;
  let streams = 0;
  for (const link of links.values()) {
    bytesIn += link.bytesIn;
    bytesOut += link.bytesOut;
    streams += link.streams;
  }
  let openSockets = 0;
  for (const server of circuits.bindings.servers()) openSockets += server[kOpenSockets];
  const { dialled, connected, failed, quantumSafe } = circuits.dialCounters;
  const { open, ejected } = circuits.policies.count();
  return {
    id: from.id,
    state: from.state,
    uptimeMs: from.nowMs - from.startedAtMs,
    links: {
      up: links.size,
      unsettled: links.unsettled,
      listeners: links.listeners.size,
      joins: from.joins,
      ...links.counters,
      refused: { ...links.counters.refused },
      bytesIn,
      bytesOut,
    },
    streams: { links: streams, loopback: circuits.loopback.streams, incoming: circuits.drain.circuits },
    dials: {
      started: dialled,
      connected,
      failed,
      quantumSafe,
      pending: circuits.pendingDials,
      ...circuits.policies.counters,
      openBreakers: open,
      ejected,
    },
    accepts: { ...circuits.counters, ...circuits.security.counters },
    servers: { bound: circuits.bindings.size, openSockets },
    services: { names: mesh.table.nameCount, instances: mesh.table.size, hidden: mesh.registry.hiddenCount },
    relay: { ...circuits.relayCounters, heldBytes: circuits.relay.heldBytes },
    mesh: {
      nodes: mesh.routing.size,
      records: mesh.gossip.store.size,
      degree: mesh.neighbourhood.neighbours.degree,
      shortcuts: mesh.shortcuts.size,
      ...mesh.gossip.counters,
    },
    warnings: from.warnings,
    holds: from.holds,
  };
}
