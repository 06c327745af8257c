// What is known of each origin: which of its messages have been seen, and which wait for an earlier one. The messages of one origin are
// delivered in the order of their numbers, so that a window of a few numbers suppresses all duplicates.

import type { Gossip, OriginKey } from '../frames.js';

/** One run of one origin. */
export class Origin {
  /** Messages beyond the next one, which wait for it. */
  readonly held = new Map<number, Gossip>();
  heldBytes = 0;
  /** Since when the next one has been missing although a later one is here, in ms. */
  blockedSinceMs: number | undefined;
  /** Whether the last message travelled on the tree of the origin. */
  own = false;

  constructor(
    readonly key: OriginKey,
    /** The number of the next message to deliver. */
    public next: number,
  ) {}

  isSeen(counter: number): boolean {
    return counter < this.next || this.held.has(counter);
  }

  hold(message: Gossip): void {
    this.held.set(message.counter, message);
    this.heldBytes += message.payload.length;
  }

  /** Returns the next message if it is held, which is then over. */
  takeNext(): Gossip | undefined {
    const message = this.held.get(this.next);
    if (message === undefined) return undefined;
    this.held.delete(this.next++);
    this.heldBytes -= message.payload.length;
    return message;
  }

  /** The number of the first message that is held. Must not be called without any. */
  firstHeld(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const counter of this.held.keys()) first = Math.min(first, counter);
    return first;
  }
}

/** How many more origins than are remembered leave the number of their next message. */
const MARKS = 16;

/** All origins, the one heard last at the end. Those that were heard longest ago are forgotten, except for the number of their next message. */
export class Origins {
  private readonly all = new Map<OriginKey, Origin>();
  private readonly marks = new Map<OriginKey, number>();
  /** Whether an origin that is not known may have been known before. */
  private hasForgotten = false;

  constructor(
    private readonly limit: number,
    private readonly onForgotten: (origin: Origin) => void,
  ) {}

  get size(): number {
    return this.all.size;
  }

  values(): IterableIterator<Origin> {
    return this.all.values();
  }

  get(key: OriginKey): Origin | undefined {
    return this.all.get(key);
  }

  /** Makes the origin the last one to be forgotten. */
  touch(origin: Origin): void {
    this.all.delete(origin.key);
    this.all.set(origin.key, origin);
  }

  /**
   * Returns the number of the next message of an origin that is not known. `first`: the number of the message of it that is here.
   * One that may have been known begins with that message: nothing must be delivered twice.
   */
  nextOf(key: OriginKey, first: number): number {
    return this.marks.get(key) ?? (this.hasForgotten ? first : 1);
  }

  add(key: OriginKey, next: number): Origin {
    const origin = new Origin(key, next);
    this.marks.delete(key);
    this.all.set(key, origin);
    if (this.all.size > this.limit) this.forgetOldest();
    return origin;
  }

  private forgetOldest(): void {
    for (const origin of this.all.values()) {
      this.all.delete(origin.key);
      let { next } = origin;
      for (const counter of origin.held.keys()) next = Math.max(next, counter + 1);
      this.marks.set(origin.key, next);
      this.onForgotten(origin);
      break;
    }
    if (this.marks.size <= MARKS * this.limit) return;
    this.hasForgotten = true;
    for (const key of this.marks.keys()) {
      this.marks.delete(key);
      return;
    }
  }
}
