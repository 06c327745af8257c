// The circuits of a relay, and what they keep in memory: bytes that have come in and that no onward link has taken yet.
// Those are bounded by the windows of each circuit; the pool sees to it that all of them together do not take the
// process, and that the circuits of no link and no source take it from the others.
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

/** A circuit through the relay. The fields up to the shares are the pool's alone. */
export interface Holder {
  /** Bytes of it that are held. */
  held: number;
  next: Holder | null;
  previous: Holder | null;
  /** The shares besides that of all. */
  readonly from: { readonly share: PoolShare };
  readonly to: { readonly share: PoolShare } | null;
  readonly source: { readonly share: PoolShare };
  /** Ends it, and has it {@link RelayPool.remove}d. */
  reset(reason: number): void;
}

/** A list through its members, so that they come and go without anything being made for it. */
class HolderList {
  first: Holder | null = null;
  private last: Holder | null = null;
  size = 0;

  push(holder: Holder): void {
    holder.next = null;
    holder.previous = this.last;
    if (this.last === null) this.first = holder;
    else this.last.next = holder;
    this.last = holder;
    this.size++;
  }

  delete(holder: Holder): void {
    const { next, previous } = holder;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next === null) this.last = previous;
    else next.previous = previous;
    holder.next = null;
    holder.previous = null;
    this.size--;
  }
}

export class RelayPool {
  readonly all: PoolShare;
  /** Those that hold nothing. */
  private readonly idle = new HolderList();
  /** Those that hold something, the one that has waited longest first. */
  private readonly waiting = new HolderList();

  /** @param evictReason what those are told that have to go */
  constructor(
    limitBytes: number,
    private readonly evictReason: number,
  ) {
    this.all = new PoolShare(limitBytes);
  }

  /** Circuits that hold something. */
  get waitingCount(): number {
    return this.waiting.size;
  }

  /** All of them. */
  get size(): number {
    return this.idle.size + this.waiting.size;
  }

  /** One of them. */
  get any(): Holder | null {
    return this.waiting.first ?? this.idle.first;
  }

  /** A circuit that holds nothing yet. */
  add(holder: Holder): void {
    this.idle.push(holder);
  }

  /** It is over, and holds nothing any more. */
  remove(holder: Holder): void {
    if (holder.held === 0) this.idle.delete(holder);
    else {
      this.waiting.delete(holder);
      this.count(holder, -holder.held);
    }
  }

  /** `bytes` more are held. Somebody may be reset before this returns, the holder itself included. */
  hold(holder: Holder, bytes: number): void {
    if (holder.held === 0) {
      this.idle.delete(holder);
      this.waiting.push(holder);
    }
    this.count(holder, bytes);
    for (let full = this.fullShare(holder); full !== undefined; full = this.fullShare(holder)) {
      (this.largest(full) ?? holder).reset(this.evictReason);
    }
  }

  /** `bytes` are with the onward link. */
  release(holder: Holder, bytes: number): void {
    const counted = Math.min(bytes, holder.held);
    if (counted === 0) return;
    this.count(holder, -counted);
    // It has made progress: to the end of the line.
    this.waiting.delete(holder);
    if (holder.held > 0) this.waiting.push(holder);
    else this.idle.push(holder);
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
    // It has just been reset: its shares are as they were before.
    if (held === 0) return undefined;
    if (from.share.isFull) return from.share;
    if (to?.share.isFull) return to.share;
    return source.share.isFull ? source.share : undefined;
  }

  private largest(share: PoolShare): Holder | undefined {
    let largest: Holder | undefined;
    let looked = 0;
    for (let holder = this.waiting.first; holder !== null && looked < SCAN; holder = holder.next, looked++) {
      const { from, to, source } = holder;
      const isIn = share === this.all || from.share === share || to?.share === share || source.share === share;
      if (isIn && (largest === undefined || holder.held > largest.held)) largest = holder;
    }
    return largest;
  }
}
