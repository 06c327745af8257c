// Which stream sends next: round robin with a byte quantum, and streams that were quiet go first, so that a small echo
// does not wait behind bulk. Quiet is who had no turn in this round of the others, nor in the one before, or sent next to
// nothing in it: else streams that empty their queue each time could shut the others out (fq_codel bounds its new flows
// likewise). All is O(1).
//
// A frame is cut to the quantum exactly, so no stream is ever left with a deficit to carry over.

/** What the scheduler links into its rings. The stream owns the fields, only the scheduler writes them. */
export interface Schedulable {
  nextScheduled: Schedulable | null;
  /** {@link WAITING} while it waits for a turn, else the round in which it had its last one. */
  lastTurn: number;
}

/** For {@link Schedulable.lastTurn}: it is in a ring. */
const WAITING = -1;
/** For {@link Schedulable.lastTurn}: it never had a turn that counts. */
export const NO_TURN = -3;

/** A singly linked FIFO through the members themselves: no allocation per entry. */
class Ring<T extends Schedulable> {
  private first: T | null = null;
  private last: T | null = null;
  size = 0;

  get isEmpty(): boolean {
    return this.first === null;
  }

  push(member: T): void {
    member.nextScheduled = null;
    if (this.last === null) this.first = member;
    else this.last.nextScheduled = member;
    this.last = member;
    this.size++;
  }

  shift(): T | null {
    const member = this.first;
    if (member === null) return null;
    this.first = member.nextScheduled as T | null;
    if (this.first === null) this.last = null;
    member.nextScheduled = null;
    this.size--;
    return member;
  }
}

/** The largest frame when one stream alone has data: few headers per byte. */
export const SOLE_QUANTUM_BYTES = 64 * 1024;
/** The largest frame when streams compete: the wait for one's turn stays short. */
export const SHARED_QUANTUM_BYTES = 32 * 1024;

/** Quiet streams served in a row while others wait, and bytes that they send, at most: there may be ever new ones. */
const MAX_FRESH_IN_A_ROW = 60;
const MAX_FRESH_BYTES = 64 * 1024;

/** Who sends no more than this in a turn stays quiet, in bytes. */
const QUIET_BYTES = 4 * 1024;

export class Scheduler<T extends Schedulable> {
  private readonly fresh = new Ring<T>();
  private readonly busy = new Ring<T>();
  /** Counts how often everybody in `busy` had a turn; and how many still have to, this time. */
  private round = 0;
  private leftInRound = 0;
  private freshInARow = 0;
  private freshBytes = 0;

  get isEmpty(): boolean {
    return this.fresh.isEmpty && this.busy.isEmpty;
  }

  /** Whether a stream waits that was quiet. */
  get hasQuiet(): boolean {
    return !this.fresh.isEmpty;
  }

  /** A stream has data and credit. */
  add(member: T): void {
    if (member.lastTurn === WAITING) return;
    const isQuiet = this.round - member.lastTurn > 1 || this.busy.isEmpty;
    member.lastTurn = WAITING;
    if (isQuiet) this.fresh.push(member);
    else this.busy.push(member);
  }

  /** A stream that was just served has more: it waits for its next turn. */
  requeue(member: T): void {
    member.lastTurn = WAITING;
    this.busy.push(member);
  }

  /** The stream whose turn it is, taken out of the ring; null when nobody waits. */
  next(): T | null {
    const mayBeFresh = this.freshInARow < MAX_FRESH_IN_A_ROW && this.freshBytes < MAX_FRESH_BYTES;
    let member = mayBeFresh || this.busy.isEmpty ? this.fresh.shift() : null;
    this.freshInARow++;
    if (member === null) {
      member = this.busy.shift();
      if (member === null) return null;
      this.freshInARow = 0;
      this.freshBytes = 0;
      if (this.leftInRound === 0) {
        this.round++;
        this.leftInRound = this.busy.size + 1;
      }
      this.leftInRound--;
    }
    member.lastTurn = this.round;
    return member;
  }

  /** `member`, which was just taken, has sent `bytes`. */
  spend(member: T, bytes: number): void {
    if (this.freshInARow > 0) this.freshBytes += bytes;
    if (bytes <= QUIET_BYTES) member.lastTurn = NO_TURN;
  }

  /** Bytes that the stream just taken may send now. */
  get quantumBytes(): number {
    return this.isEmpty ? SOLE_QUANTUM_BYTES : SHARED_QUANTUM_BYTES;
  }
}
