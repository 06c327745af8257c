// Counts messages that were lost, and reports them together: at once, and then at most once a second.

import { Deadline } from '../../util/deadline.js';
import type { Timers } from '../../util/timers.js';

const QUIET_MS = 1_000;

export class SlowReports {
  private count = 0;
  private readonly quiet: Deadline;

  /** @param report called with what was lost since the last call */
  constructor(
    timers: Timers,
    private readonly report: (count: number) => void,
  ) {
    this.quiet = new Deadline(timers, () => this.flush());
  }

  add(count: number): void {
    this.count += count;
    if (!this.quiet.isSet) this.flush();
  }

  /** Reports nothing more. */
  close(): void {
    this.quiet.clear();
  }

  private flush(): void {
    if (this.count === 0) return;
    const { count } = this;
    this.count = 0;
    this.quiet.set(QUIET_MS);
    this.report(count);
  }
}
