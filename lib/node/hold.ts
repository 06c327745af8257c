// What keeps the process alive: one timer for all that a node's user has in use. The sockets of links never do.

import type { KeepsAlive } from '../util/runtime/keeps-alive.js';
import { clearInterval, setInterval } from '../util/runtime/real-timers.js';

/** About 12 days, which Node can still count; when it fires, nothing happens. */
const IDLE_MS = 2 ** 30;

export class NodeHold implements KeepsAlive {
  private holders = 0;
  private isRef = true;
  private timer: NodeJS.Timeout | undefined;

  hold(): void {
    this.holders++;
    if (this.holders === 1) this.update();
  }

  release(): void {
    this.holders--;
    if (this.holders === 0) this.update();
  }

  /** Holds while `wait` goes on. */
  async during<T>(wait: Promise<T>): Promise<T> {
    this.hold();
    try {
      return await wait;
    } finally {
      this.release();
    }
  }

  setRef(isRef: boolean): void {
    this.isRef = isRef;
    this.update();
  }

  /** How many sockets, servers, listeners and waits there are. */
  get count(): number {
    return this.holders;
  }

  private update(): void {
    const needed = this.isRef && this.holders > 0;
    if (needed) this.timer ??= setInterval(() => {}, IDLE_MS);
    else if (this.timer !== undefined) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }
}
