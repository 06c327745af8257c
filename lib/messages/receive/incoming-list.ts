// Messages that wait for their turn, in order. Each of them is in one such list at most, and leaves it in constant time.

import type { Incoming } from './incoming.js';

export class IncomingList {
  private head: Incoming | undefined;
  private tail: Incoming | undefined;
  private count = 0;

  get size(): number {
    return this.count;
  }

  get first(): Incoming | undefined {
    return this.head;
  }

  add(incoming: Incoming): void {
    incoming.list = this;
    incoming.previous = this.tail;
    if (this.tail === undefined) this.head = incoming;
    else this.tail.next = incoming;
    this.tail = incoming;
    this.count++;
  }

  /** Does nothing with one that is not in this list. */
  delete(incoming: Incoming): void {
    if (incoming.list !== this) return;
    const { previous, next } = incoming;
    if (previous === undefined) this.head = next;
    else previous.next = next;
    if (next === undefined) this.tail = previous;
    else next.previous = previous;
    incoming.list = undefined;
    incoming.previous = undefined;
    incoming.next = undefined;
    this.count--;
  }

  /** Iterates over all; the current one may be deleted meanwhile. */
  *[Symbol.iterator](): IterableIterator<Incoming> {
    for (let incoming = this.head; incoming !== undefined; ) {
      const { next } = incoming;
      yield incoming;
      incoming = next;
    }
  }
}
