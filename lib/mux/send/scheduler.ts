// Decides which stream sends next: round robin with a byte quantum, but streams that were quiet go first, so that a small echo
// does not wait behind bulk. A stream was quiet if it had no turn in this round or the one before, or sent next to nothing in its
// last turn. Without that rule, streams that empty their queue each time could shut out the others (fq_codel bounds its new flows
// in the same way). Everything is O(1).
//
// A frame is cut to the quantum exactly, so no stream has a deficit to carry over.

/** A member of the rings of a scheduler. The stream owns the fields, but only the scheduler writes them. */
export interface Schedulable {
  nextScheduled: Schedulable | null;
  /** {@link WAITING} while it waits for a turn, else the round of its last turn. */
  lastTurn: number;
}

/** A value of {@link Schedulable.lastTurn}: the member is in a ring. */
const WAITING = -1;
/** A value of {@link Schedulable.lastTurn}: the member has had no turn that counts. */
export const NO_TURN = -3;

/** A singly linked queue through the members themselves: no allocation per entry. */
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
/** The largest frame when streams compete: the wait for a turn stays short. */
export const SHARED_QUANTUM_BYTES = 32 * 1024;

/** The most quiet streams that are served in a row while others wait, and the most bytes they send: there may always be new ones. */
const MAX_FRESH_IN_A_ROW = 60;
const MAX_FRESH_BYTES = 64 * 1024;

/** A stream that sends no more than this in a turn stays quiet, in bytes. */
const QUIET_BYTES = 4 * 1024;

export class Scheduler<T extends Schedulable> {
  private readonly fresh = new Ring<T>();
  private readonly busy = new Ring<T>();
  /** How often every member of `busy` has had a turn, and how many members have not had theirs in this round. */
  private round = 0;
  private leftInRound = 0;
  private freshInARow = 0;
  private freshBytes = 0;

  get isEmpty(): boolean {
    return this.fresh.isEmpty && this.busy.isEmpty;
  }

  /** Whether a quiet stream waits. */
  get hasQuiet(): boolean {
    return !this.fresh.isEmpty;
  }

  /** Adds a stream that has data and credit. */
  add(member: T): void {
    if (member.lastTurn === WAITING) return;
    const isQuiet = this.round - member.lastTurn > 1 || this.busy.isEmpty;
    member.lastTurn = WAITING;
    if (isQuiet) this.fresh.push(member);
    else this.busy.push(member);
  }

  /** Adds a stream that was just served and has more. */
  requeue(member: T): void {
    member.lastTurn = WAITING;
    this.busy.push(member);
  }

  /** Removes and returns the stream whose turn it is; null when none waits. */
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

  /** Notes that `member`, which {@link next} has just returned, has sent `bytes`. */
  spend(member: T, bytes: number): void {
    if (this.freshInARow > 0) this.freshBytes += bytes;
    if (bytes <= QUIET_BYTES) member.lastTurn = NO_TURN;
  }

  /** Bytes that the stream that {@link next} has just returned may send. */
  get quantumBytes(): number {
    return this.isEmpty ? SOLE_QUANTUM_BYTES : SHARED_QUANTUM_BYTES;
  }
}
