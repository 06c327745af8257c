// The circuits of a relay, and the bytes that they hold: what has come in and no onward link has taken yet. The windows of a
// circuit bound its bytes; the pool bounds those of all circuits together, and of all circuits of one link or one source.
//
// From 75 % of any share on, windows stop growing and no circuit is admitted. Above 95 %, one is evicted: of those that have made
// no progress for longest, the one that holds most.

const TIGHT = 0.75;
const FULL = 0.95;

/** Circuits considered for an eviction: those that have waited longest. */
const SCAN = 1024;

/** A share of the pool: all of it, that of a link, or that of a source. */
export class PoolShare {
  /** Bytes held. */
  held = 0;

  constructor(private readonly limitBytes: number) {}

  /** Whether nothing more should come in. */
  get isTight(): boolean {
    return this.held > this.limitBytes * TIGHT;
  }

  /** Whether a circuit has to be evicted. */
  get isFull(): boolean {
    return this.held > this.limitBytes * FULL;
  }
}

/** A circuit through the relay. Only the pool uses the fields above the shares. */
export interface Holder {
  /** Bytes that it holds. */
  held: number;
  next: Holder | null;
  previous: Holder | null;
  /** The shares that it counts for, besides that of all circuits. */
  readonly from: { readonly share: PoolShare };
  readonly to: { readonly share: PoolShare } | null;
  readonly source: { readonly share: PoolShare };
  /** Resets the circuit, which calls {@link RelayPool.remove}. */
  reset(reason: number): void;
}

/** A list linked through its members, so that adding and removing allocates nothing. */
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
  /** Circuits that hold nothing. */
  private readonly idle = new HolderList();
  /** Circuits that hold something, the one that has waited longest first. */
  private readonly waiting = new HolderList();

  /** @param evictReason the reason of the reset of evicted circuits */
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

  /** All circuits. */
  get size(): number {
    return this.idle.size + this.waiting.size;
  }

  /** Any circuit. */
  get any(): Holder | null {
    return this.waiting.first ?? this.idle.first;
  }

  /** Adds a circuit that holds nothing yet. */
  add(holder: Holder): void {
    this.idle.push(holder);
  }

  /** Removes a circuit that has ended, with all that it holds. */
  remove(holder: Holder): void {
    if (holder.held === 0) this.idle.delete(holder);
    else {
      this.waiting.delete(holder);
      this.count(holder, -holder.held);
    }
  }

  /** Counts `bytes` more. A circuit may be evicted before this returns, this one included. */
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

  /** Counts `bytes` less, which the onward link has taken. */
  release(holder: Holder, bytes: number): void {
    const counted = Math.min(bytes, holder.held);
    if (counted === 0) return;
    this.count(holder, -counted);
    // It has made progress: to the end of the list.
    this.waiting.delete(holder);
    if (holder.held > 0) this.waiting.push(holder);
    else this.idle.push(holder);
  }

  /** Returns whether a window of the circuit may grow. */
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
    // It was just reset: its shares are as they were before.
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
