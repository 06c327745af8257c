// Has the book of members forget what has expired, at the time at which it expires.

import type { MemberBook, MemberChange } from '../../identity/member-book.js';
import { Deadline } from '../../util/deadline.js';
import { REST_SLACK_MS, type Timers } from '../../util/timers.js';

/** The longest wait: certificates go by the wall clock, which may be set or stand still while a machine sleeps. */
const MAX_WAIT_MS = 600_000;

export class Sweeper {
  private readonly deadline: Deadline;
  /** By the wall clock. */
  private dueMs = Number.POSITIVE_INFINITY;

  constructor(
    timers: Timers,
    private readonly book: MemberBook,
    /** Called after the book has been swept. */
    private readonly onSwept: () => void,
  ) {
    this.deadline = new Deadline(timers, () => this.sweep());
    this.wait(book.nextChangeMs);
  }

  onChange(change: MemberChange): void {
    // Reading the whole book for each of a thousand certificates would take long.
    if (change.type === 'member') this.wait(Math.min(this.dueMs, change.member.notAfterMs));
    else if (change.type === 'authority') this.wait(this.book.nextChangeMs);
  }

  dispose(): void {
    this.deadline.clear();
  }

  private sweep(): void {
    this.dueMs = Number.POSITIVE_INFINITY;
    this.book.sweep();
    this.wait(this.book.nextChangeMs);
    this.onSwept();
  }

  private wait(dueMs: number): void {
    if (dueMs === this.dueMs && this.deadline.isSet) return;
    this.dueMs = dueMs;
    if (dueMs === Number.POSITIVE_INFINITY) {
      this.deadline.clear();
      return;
    }
    const delayMs = dueMs - this.book.now();
    if (delayMs < MAX_WAIT_MS) this.deadline.set(Math.max(0, delayMs));
    else this.deadline.set(MAX_WAIT_MS, REST_SLACK_MS);
  }
}
