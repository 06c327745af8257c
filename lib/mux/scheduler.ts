// Which stream sends next: round robin with a byte quantum, and streams that were quiet go first for one turn
// (as fq_codel's new flows do), so that a small echo does not wait behind bulk. All operations are O(1).
//
// A frame is cut to the quantum exactly, so no stream is ever left with a deficit to carry over.

/** What the scheduler links into its rings. The stream owns the fields, only the scheduler writes them. */
export interface Schedulable {
  nextScheduled: Schedulable | null;
  scheduled: boolean;
}

/** A singly linked FIFO through the members themselves: no allocation per entry. */
class Ring<T extends Schedulable> {
  private first: T | null = null;
  private last: T | null = null;

  get isEmpty(): boolean {
    return this.first === null;
  }

  push(member: T): void {
    member.nextScheduled = null;
    if (this.last === null) this.first = member;
    else this.last.nextScheduled = member;
    this.last = member;
  }

  shift(): T | null {
    const member = this.first;
    if (member === null) return null;
    this.first = member.nextScheduled as T | null;
    if (this.first === null) this.last = null;
    member.nextScheduled = null;
    return member;
  }
}

/** The largest frame when one stream alone has data: few headers per byte. */
export const SOLE_QUANTUM_BYTES = 64 * 1024;
/** The largest frame when streams compete: the wait for one's turn stays short. */
export const SHARED_QUANTUM_BYTES = 32 * 1024;

export class Scheduler<T extends Schedulable> {
  private readonly fresh = new Ring<T>();
  private readonly busy = new Ring<T>();

  get isEmpty(): boolean {
    return this.fresh.isEmpty && this.busy.isEmpty;
  }

  /** A stream that was quiet has data and credit; it is served ahead of those that were served before. */
  add(member: T): void {
    if (member.scheduled) return;
    member.scheduled = true;
    this.fresh.push(member);
  }

  /** A stream that was just served has more: it waits for its next turn. */
  requeue(member: T): void {
    member.scheduled = true;
    this.busy.push(member);
  }

  /** The stream whose turn it is, taken out of the ring; null when nobody waits. */
  next(): T | null {
    const member = this.fresh.shift() ?? this.busy.shift();
    if (member !== null) member.scheduled = false;
    return member;
  }

  /** Bytes that the stream just taken may send now. */
  get quantumBytes(): number {
    return this.isEmpty ? SOLE_QUANTUM_BYTES : SHARED_QUANTUM_BYTES;
  }
}
