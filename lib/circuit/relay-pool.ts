// What a relay keeps in memory: bytes that have come in and that no onward link has taken yet. They are bounded by the
// windows of the circuits; the pool sees to it that all of them together do not take the process, and that the circuits
// of no link and no source take it from the others.
//
// From 75 % of any share on, windows stop growing and nothing is admitted; above 95 %, the circuit goes that holds most
// of those that have made no progress for longest.

const TIGHT = 0.75;
const FULL = 0.95;

/** Circuits looked at when one has to go: those that have waited longest. */
const SCAN = 1024;

/** A part of the pool: all of it, that of a link, or that of a source. */
export class PoolShare {
  /** Bytes that are held. */
  held = 0;

  constructor(private readonly limitBytes: number) {}

  /** Nothing more should come in. */
  get isTight(): boolean {
    return this.held > this.limitBytes * TIGHT;
  }

  /** Something has to go. */
  get isFull(): boolean {
    return this.held > this.limitBytes * FULL;
  }
}

/** A circuit that holds bytes. */
export interface Holder {
  /** Bytes of it that are held; kept by the pool. */
  held: number;
  /** The shares besides that of all. */
  readonly from: { readonly share: PoolShare };
  readonly to: { readonly share: PoolShare } | null;
  readonly source: { readonly share: PoolShare };
  /** It has to go, and lets go of all that it holds. */
  evict(): void;
}

export class RelayPool {
  readonly all: PoolShare;
  /** Those that hold something, the one that has waited longest first. */
  private readonly holders = new Set<Holder>();

  constructor(limitBytes: number) {
    this.all = new PoolShare(limitBytes);
  }

  /** Circuits that hold something. */
  get size(): number {
    return this.holders.size;
  }

  /** `bytes` more are held. Somebody may be evicted before this returns, the holder itself included. */
  hold(holder: Holder, bytes: number): void {
    if (holder.held === 0) this.holders.add(holder);
    this.count(holder, bytes);
    for (let full = this.fullShare(holder); full !== undefined; full = this.fullShare(holder)) {
      const victim = this.largest(full) ?? holder;
      const before = victim.held;
      victim.evict();
      if (victim.held === before) return;
    }
  }

  /** `bytes` are with the onward link. */
  release(holder: Holder, bytes: number): void {
    const counted = Math.min(bytes, holder.held);
    if (counted === 0) return;
    this.count(holder, -counted);
    this.holders.delete(holder);
    // It has made progress: to the end of the line.
    if (holder.held > 0) this.holders.add(holder);
  }

  /** Whether a window of the circuit may grow. */
  mayGrow({ from, to, source }: Holder): boolean {
    return !(this.all.isTight || from.share.isTight || source.share.isTight || to?.share.isTight);
  }

  private count(holder: Holder, bytes: number): void {
    holder.held += bytes;
    this.all.held += bytes;
    holder.from.share.held += bytes;
    holder.source.share.held += bytes;
    if (holder.to !== null) holder.to.share.held += bytes;
  }

  private fullShare({ held, from, to, source }: Holder): PoolShare | undefined {
    if (this.all.isFull) return this.all;
    // Of those that have just lost this one, others take care.
    if (held === 0) return undefined;
    if (from.share.isFull) return from.share;
    if (to?.share.isFull) return to.share;
    return source.share.isFull ? source.share : undefined;
  }

  private largest(share: PoolShare): Holder | undefined {
    let largest: Holder | undefined;
    let looked = 0;
    for (const holder of this.holders) {
      if (
        share === this.all ||
        holder.from.share === share ||
        holder.to?.share === share ||
        holder.source.share === share
      ) {
        if (largest === undefined || holder.held > largest.held) largest = holder;
      }
      if (++looked === SCAN) break;
    }
    return largest;
  }
}
