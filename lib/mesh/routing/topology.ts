// The graph of the mesh, built from the records of all nodes. A link counts when both its ends list it and neither is leaving.
// Its cost is the higher one of the two, so that no node can attract circuits by its own record alone.
//
// Nodes are dense indexes; 0 is this node. Changes are noted in a journal, from which shortest paths are updated.

import type { NodeId } from '../../address.js';
import { byteToCostMs, COST_UNUSABLE, NodeFlag, type NodeRecord } from '../../wire/records.js';
import { EdgeLists, grown, roundUp } from './edge-lists.js';

/** This node. */
export const SELF = 0;

/** The cost of a hop beyond its round trip, in µs: a relay takes time, and may fail. */
export const HOP_US = 2000;

/** The factor for the cost of an overloaded node or a suspect link. */
export const TROUBLE_FACTOR = 8;

/** The highest cost of one link, in µs: sums stay exact. */
const MAX_LINK_US = 2 ** 26;

/** Circuits may pass through. */
export const TRANSIT = 1;
/** Circuits should pass elsewhere, if there is another path. */
export const DRAINING = 2;

/** The length of the journal of changes. Paths that are further behind are computed from the start. */
const JOURNAL_PAIRS = 1024;

const MICROSECONDS = Array.from({ length: COST_UNUSABLE }, (_, cost) => linkMicroseconds(byteToCostMs(cost)));

/** Returns a round trip as a whole number of µs, from 1. */
export function linkMicroseconds(ms: number): number {
  return Math.min(Math.max(Math.round(ms * 1000), 1), MAX_LINK_US);
}

export class Topology {
  readonly edges = new EdgeLists();
  /** {@link TRANSIT} and {@link DRAINING} of each node. Replaced when it grows. */
  flags: Uint8Array = new Uint8Array(16);
  private readonly indexes = new Map<NodeId, number>();
  private readonly ids: NodeId[] = [];
  private readonly records: (NodeRecord | undefined)[] = [];
  private readonly free: number[] = [];
  private readonly retired: number[] = [];
  private readonly journal = new Int32Array(2 * JOURNAL_PAIRS);
  private noted = 0;

  /** @param mayRelay whether circuits may pass through a node whose record says so */
  constructor(
    self: NodeId,
    private readonly mayRelay: (nodeId: NodeId) => boolean = () => true,
  ) {
    this.intern(self);
  }

  /** Indexes are below this. */
  get size(): number {
    return this.ids.length;
  }

  /** Grows with every change; see {@link changesSince}. */
  get version(): number {
    return this.noted;
  }

  /** Returns the index of a node with a record, or of one whose record was deleted since the last {@link reclaim}. */
  indexOf(nodeId: NodeId): number | undefined {
    return this.indexes.get(nodeId);
  }

  idOf(index: number): NodeId {
    return this.ids[index];
  }

  recordOf(index: number): NodeRecord | undefined {
    return this.records[index];
  }

  /** Sets the newest record of a node. */
  set(record: NodeRecord): void {
    const index = this.indexes.get(record.nodeId) ?? this.intern(record.nodeId);
    this.records[index] = record;
    this.setFlags(index, this.flagsOf(record));
    this.connect(index, record);
  }

  /** Removes the record of a node. */
  delete(nodeId: NodeId): void {
    const index = this.indexes.get(nodeId);
    if (index === undefined || this.records[index] === undefined) return;
    this.records[index] = undefined;
    this.setFlags(index, 0);
    const { edges } = this;
    while (edges.degrees[index] > 0) this.setEdge(index, edges.peers[edges.starts[index]], 0);
    if (index !== SELF) this.retired.push(index);
  }

  /** Makes the indexes of deleted nodes available again. */
  reclaim(): void {
    for (const index of this.retired) {
      const nodeId = this.ids[index];
      if (this.records[index] !== undefined || this.indexes.get(nodeId) !== index) continue;
      this.indexes.delete(nodeId);
      this.ids[index] = '';
      this.free.push(index);
    }
    this.retired.length = 0;
  }

  /**
   * Visits each pair of nodes whose edge may have changed since a version, and a pair of the same node when its flags have.
   * Returns false without visiting any when the version is too old.
   */
  changesSince(version: number, visit: (one: number, other: number) => void): boolean {
    if (this.noted - version > JOURNAL_PAIRS) return false;
    for (let at = version; at < this.noted; at++) {
      const slot = 2 * (at % JOURNAL_PAIRS);
      visit(this.journal[slot], this.journal[slot + 1]);
    }
    return true;
  }

  /** Called when the rights of a node may have changed. Returns whether that changes the paths through it. */
  review(nodeId: NodeId): boolean {
    const index = this.indexes.get(nodeId);
    const record = index === undefined ? undefined : this.records[index];
    if (record === undefined) return false;
    const { noted } = this;
    this.setFlags(index as number, this.flagsOf(record));
    return this.noted !== noted;
  }

  private flagsOf({ flags, nodeId }: NodeRecord): number {
    const passes = (flags & NodeFlag.RELAY) !== 0 && (flags & NodeFlag.LEAVING) === 0 && this.mayRelay(nodeId);
    return (passes ? TRANSIT : 0) | ((flags & NodeFlag.DRAIN) === 0 ? 0 : DRAINING);
  }

  private intern(nodeId: NodeId): number {
    const index = this.free.pop() ?? this.ids.length;
    this.ids[index] = nodeId;
    this.indexes.set(nodeId, index);
    this.edges.reserve(index + 1);
    if (index >= this.flags.length) this.flags = grown(this.flags, new Uint8Array(roundUp(index + 1)));
    return index;
  }

  private setFlags(index: number, flags: number): void {
    if (this.flags[index] === flags) return;
    this.flags[index] = flags;
    this.note(index, index);
  }

  /** Sets the edges of a node to those that its record and the records of its peers agree on. */
  private connect(index: number, record: NodeRecord): void {
    const { edges } = this;
    const wanted = new Map<number, number>();
    for (const { peerId, cost } of record.links) {
      const peer = this.indexes.get(peerId);
      if (peer === undefined || peer === index) continue;
      const weight = weightBetween(record, cost, this.records[peer]);
      if (weight > 0) wanted.set(peer, weight);
    }
    // From the end, since the last edge takes the place of a removed one.
    for (let at = edges.starts[index] + edges.degrees[index] - 1; at >= edges.starts[index]; at--) {
      const peer = edges.peers[at];
      const weight = wanted.get(peer) ?? 0;
      if (weight !== edges.weights[at]) this.setEdge(index, peer, weight);
      wanted.delete(peer);
    }
    for (const [peer, weight] of wanted) this.setEdge(index, peer, weight);
  }

  private setEdge(one: number, other: number, weight: number): void {
    this.edges.set(one, other, weight);
    this.note(one, other);
  }

  private note(one: number, other: number): void {
    const slot = 2 * (this.noted++ % JOURNAL_PAIRS);
    this.journal[slot] = one;
    this.journal[slot + 1] = other;
  }
}

/** Returns the cost of a link in µs; 0 when it does not count. `cost` is the value in the record of `one`. */
function weightBetween(one: NodeRecord, cost: number, other: NodeRecord | undefined): number {
  if (other === undefined || ((one.flags | other.flags) & NodeFlag.LEAVING) !== 0) return 0;
  const back = other.links.find((link) => link.peerId === one.nodeId);
  if (back === undefined) return 0;
  const worse = Math.max(cost, back.cost);
  if (worse >= COST_UNUSABLE) return 0;
  const inTrouble = ((one.flags | other.flags) & NodeFlag.OVERLOAD) !== 0;
  return (MICROSECONDS[worse] + HOP_US) * (inTrouble ? TROUBLE_FACTOR : 1);
}
