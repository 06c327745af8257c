// Nodes that this one was linked to or has read of, with their addresses: candidates for dials when the network has split and
// the records of the other partition are gone. In memory and bounded; nodes that were linked outlast those that were not.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';

const MAX_ENTRIES = 1_000;
/** As many as a record holds. */
const MAX_ADDRESSES = 8;

export interface BookEntry {
  readonly nodeId: NodeId;
  readonly addresses: readonly string[];
  /** When there last was a link, by the clock of the timers; undefined when there never was. */
  readonly lastSuccessMs: number | undefined;
  /** Dials that have failed since. */
  readonly failures: number;
}

export class PeerBook {
  private readonly met = new RecentMap<NodeId, BookEntry>(MAX_ENTRIES);
  private readonly announced = new RecentMap<NodeId, BookEntry>(MAX_ENTRIES);

  get size(): number {
    return this.met.size + this.announced.size;
  }

  get(nodeId: NodeId): BookEntry | undefined {
    return this.met.peek(nodeId) ?? this.announced.peek(nodeId);
  }

  /** Called with the addresses that a node announces. */
  onAnnounced(nodeId: NodeId, addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    const known = this.get(nodeId);
    const book = this.met.has(nodeId) ? this.met : this.announced;
    book.set(nodeId, {
      nodeId,
      addresses: addresses.slice(0, MAX_ADDRESSES),
      lastSuccessMs: known?.lastSuccessMs,
      failures: known?.failures ?? 0,
    });
    this.trim();
  }

  /** Called when a link to the node comes up or ends. */
  onMet(nodeId: NodeId, addresses: readonly string[], now: number): void {
    const known = this.get(nodeId);
    const all = [...new Set([...addresses, ...(known?.addresses ?? [])])].slice(0, MAX_ADDRESSES);
    if (all.length === 0) return;
    this.announced.delete(nodeId);
    this.met.set(nodeId, { nodeId, addresses: all, lastSuccessMs: now, failures: 0 });
    this.trim();
  }

  /** Called when a dial of the node has failed. */
  onFailed(nodeId: NodeId): void {
    const book = this.met.has(nodeId) ? this.met : this.announced;
    const known = book.peek(nodeId);
    if (known !== undefined) book.set(nodeId, { ...known, failures: known.failures + 1 });
  }

  /** Least recently used first. */
  *entries(): IterableIterator<BookEntry> {
    yield* this.announced.values();
    yield* this.met.values();
  }

  private trim(): void {
    if (this.size > MAX_ENTRIES) (this.announced.size > 0 ? this.announced : this.met).dropOldest();
  }
}
