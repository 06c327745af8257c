// What keeps the process open: one timer for everything of a node that its user has in use. The sockets of links never do.

import { clearInterval, setInterval } from './real-timers.js';

/** About 12 days, which Node can still count; when it fires, nothing happens. */
const IDLE_MS = 2 ** 30;

/** Counts what is in use, and holds the process open as long as there is any of it, as an open net.Socket does. */
export class ProcessRefs {
  /** How many sockets, servers, listeners and waits there are. */
  count = 0;
  private isEnabled = true;
  private timer: NodeJS.Timeout | undefined;

  /** Called when one more is in use. */
  ref(): void {
    this.count++;
    if (this.count === 1) this.update();
  }

  /** Called when one is not in use any more. */
  unref(): void {
    this.count--;
    if (this.count === 0) this.update();
  }

  /** Counts a wait as long as it goes on. */
  async during<T>(wait: Promise<T>): Promise<T> {
    this.ref();
    try {
      return await wait;
    } finally {
      this.unref();
    }
  }

  /** Sets whether what is in use holds the process open at all. Default true. */
  enable(isEnabled: boolean): void {
    this.isEnabled = isEnabled;
    this.update();
  }

  private update(): void {
    const needed = this.isEnabled && this.count > 0;
    if (needed) this.timer ??= setInterval(() => {}, IDLE_MS);
    else if (this.timer !== undefined) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }
}
