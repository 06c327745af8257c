// A dial waits for a direct link that it has asked for: until that stands, cannot be had, or takes too long.

import type { NodeId } from '../../address.js';
import type { Timed, Timer, Timers } from '../../util/timers.js';
import type { Shortcuts } from '../direct-links.js';

export class LinkWait implements Timed {
  private readonly aborter = new AbortController();
  private readonly timer: Timer;
  private isOver = false;

  /** @param onOver called once, later, unless it is cancelled */
  constructor(
    shortcuts: Shortcuts,
    nodeId: NodeId,
    private readonly timers: Timers,
    waitMs: number,
    private readonly onOver: () => void,
  ) {
    this.timer = timers.schedule(waitMs, this);
    const end = (): void => this.end();
    new Promise((resolve) => resolve(shortcuts.request(nodeId, this.aborter.signal))).then(end, end);
  }

  /** Nobody waits any more. */
  cancel(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.timers.cancel(this.timer);
    this.aborter.abort();
  }

  onDeadline(): void {
    this.end();
  }

  private end(): void {
    if (this.isOver) return;
    this.cancel();
    this.onOver();
  }
}
