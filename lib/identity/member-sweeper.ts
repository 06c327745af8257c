// Has a member book forget in time what has expired: certificates, and authorities that another has succeeded.
//
// Certificates end by the clock on the wall, and timers run by a clock that never jumps. So a wait for the end of a certificate is cut into
// short ones: after a clock was set, or a machine has slept, the book is swept at the next check.

import type { Timer, Timers } from '../util/timers.js';
import { REST_SLACK_MS } from '../util/timers.js';
import type { MemberBook, MemberChange } from './member-book.js';

/** The longest wait until the clock on the wall is looked at again, in ms. */
export const MAX_CHECK_MS = 30_000;

export class MemberSweeper {
  private timer: Timer | undefined;
  private forget: (() => void) | undefined;
  /** When there is something to do, in ms of wall-clock time. */
  private dueMs = Number.POSITIVE_INFINITY;
  private isSweeping = false;

  constructor(
    private readonly book: MemberBook,
    private readonly timers: Timers,
  ) {}

  /** Begins, unless it has begun already. */
  start(): void {
    if (this.forget !== undefined) return;
    this.forget = this.book.onChange((change) => this.onChange(change));
    this.sweep();
  }

  stop(): void {
    this.forget?.();
    this.forget = undefined;
    this.wait(Number.POSITIVE_INFINITY);
  }

  onDeadline(): void {
    this.timer = undefined;
    if (this.book.now() >= this.dueMs) this.sweep();
    else this.wait(this.dueMs);
  }

  private sweep(): void {
    this.isSweeping = true;
    try {
      this.book.sweep();
    } finally {
      this.isSweeping = false;
      // A listener may have stopped it.
      if (this.forget !== undefined) this.wait(this.book.nextChangeMs);
    }
  }

  private onChange(change: MemberChange): void {
    if (this.isSweeping) return;
    // Not the whole book each time: thousands of members may come at once.
    const nextMs = change.type === 'member' ? change.member.notAfterMs : this.book.nextChangeMs;
    if (nextMs < this.dueMs) this.wait(nextMs);
  }

  private wait(untilMs: number): void {
    if (this.timer !== undefined) this.timers.cancel(this.timer);
    this.timer = undefined;
    this.dueMs = untilMs;
    if (untilMs === Number.POSITIVE_INFINITY) return;
    const waitMs = untilMs - this.book.now();
    // The last wait ends in time; those before may share the wake-ups of others.
    const isLast = waitMs <= MAX_CHECK_MS;
    this.timer = this.timers.schedule(isLast ? waitMs : MAX_CHECK_MS, this, isLast ? 0 : REST_SLACK_MS);
  }
}
