// Work for the next turn of the event loop, which is done once however often it is requested until then.

import type { Clock } from './timers.js';

export class NextTurn {
  private isRequested = false;
  private readonly onTurn = (): void => {
    this.isRequested = false;
    this.run();
  };

  /** @param run called in the next turn; it may request the one after it */
  constructor(
    private readonly clock: Clock,
    private readonly run: () => void,
  ) {}

  /** Whether a turn was requested and has not come. */
  get isDue(): boolean {
    return this.isRequested;
  }

  request(): void {
    if (this.isRequested) return;
    this.isRequested = true;
    this.clock.setImmediate(this.onTurn);
  }
}
