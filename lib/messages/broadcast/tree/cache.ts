// The messages that are kept for neighbours which missed them: the last ones, within a count and a number of bytes.

import type { Gossip, OriginKey } from '../frames.js';

/** What was seen of a message that is kept. */
export interface Kept {
  readonly message: Gossip;
  /** The neighbour that brought it; undefined for one of this node. */
  readonly from: string | undefined;
  readonly atMs: number;
  /** Whether it was asked for, as it did not come by itself. */
  readonly asked: boolean;
}

export class RepairCache {
  /** In the order in which they came. */
  private readonly kept = new Map<string, Kept>();
  private readonly lowest = new Map<OriginKey, number[]>();
  private bytes = 0;

  constructor(
    private readonly maxMessages: number,
    private readonly maxBytes: number,
  ) {}

  get size(): number {
    return this.kept.size;
  }

  get(origin: OriginKey, counter: number): Kept | undefined {
    return this.kept.get(keyOf(origin, counter));
  }

  add(kept: Kept): void {
    const { origin, counter, payload } = kept.message;
    this.kept.set(keyOf(origin, counter), kept);
    this.bytes += payload.length;
    const counters = this.lowest.get(origin);
    if (counters === undefined) this.lowest.set(origin, [counter]);
    else counters.push(counter);
    while (this.kept.size > this.maxMessages || this.bytes > this.maxBytes) this.dropOldest();
  }

  /** Returns the number of the message of an origin from which on, as far as is known, all are kept; undefined without any. */
  lowestOf(origin: OriginKey): number | undefined {
    const counters = this.lowest.get(origin);
    // The order in which they came is nearly that of their numbers.
    return counters?.[0];
  }

  private dropOldest(): void {
    for (const [key, { message }] of this.kept) {
      this.kept.delete(key);
      this.bytes -= message.payload.length;
      const counters = this.lowest.get(message.origin);
      counters?.shift();
      if (counters?.length === 0) this.lowest.delete(message.origin);
      return;
    }
  }
}

/** Returns the key of a message. */
export function keyOf(origin: OriginKey, counter: number): string {
  return `${origin}${counter}`;
}
