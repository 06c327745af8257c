// Nodes that this one has met or heard of, and where: whom to try when the network has fallen apart and the records of
// the other part are gone. In memory and bounded; those that were linked to outlast those that were only heard of.

import type { NodeId } from '../../address.js';
import { RecentMap } from '../../util/recent-map.js';

const MAX_ENTRIES = 1_000;
/** As many as a record has. */
const MAX_ADDRESSES = 8;

export interface BookEntry {
  readonly nodeId: NodeId;
  readonly addresses: readonly string[];
  /** When there was a link last, by the clock of the timers; undefined: never. */
  readonly lastSuccessMs: number | undefined;
  /** Dials that failed since. */
  readonly failures: number;
}

export class PeerBook {
  private readonly met = new RecentMap<NodeId, BookEntry>(MAX_ENTRIES);
  private readonly heard = new RecentMap<NodeId, BookEntry>(MAX_ENTRIES);

  get size(): number {
    return this.met.size + this.heard.size;
  }

  get(nodeId: NodeId): BookEntry | undefined {
    return this.met.peek(nodeId) ?? this.heard.peek(nodeId);
  }

  /** The directory says that it is there. */
  onHeard(nodeId: NodeId, addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    const known = this.get(nodeId);
    const book = this.met.has(nodeId) ? this.met : this.heard;
    book.set(nodeId, {
      nodeId,
      addresses: addresses.slice(0, MAX_ADDRESSES),
      lastSuccessMs: known?.lastSuccessMs,
      failures: known?.failures ?? 0,
    });
    this.trim();
  }

  /** There is, or was until now, a link to it. */
  onMet(nodeId: NodeId, addresses: readonly string[], now: number): void {
    const known = this.get(nodeId);
    const all = [...new Set([...addresses, ...(known?.addresses ?? [])])].slice(0, MAX_ADDRESSES);
    if (all.length === 0) return;
    this.heard.delete(nodeId);
    this.met.set(nodeId, { nodeId, addresses: all, lastSuccessMs: now, failures: 0 });
    this.trim();
  }

  /** It was not found where it should be. */
  onFailed(nodeId: NodeId): void {
    const book = this.met.has(nodeId) ? this.met : this.heard;
    const known = book.peek(nodeId);
    if (known !== undefined) book.set(nodeId, { ...known, failures: known.failures + 1 });
  }

  forget(nodeId: NodeId): void {
    this.met.delete(nodeId);
    this.heard.delete(nodeId);
  }

  /** Least recently used first. */
  *entries(): IterableIterator<BookEntry> {
    yield* this.heard.values();
    yield* this.met.values();
  }

  private trim(): void {
    if (this.size > MAX_ENTRIES) (this.heard.size > 0 ? this.heard : this.met).dropOldest();
  }
}
