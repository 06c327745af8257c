// How much of what peers say a turn of the event loop takes in. Records cost a hundred times what it costs to receive them, and a
// socket brings two megabytes in one poll: whoever floods them would keep the circuits of all others waiting for a tenth of
// a second, again and again. What is over waits, unacknowledged, so that its sender has to wait as well.

import { setImmediate } from '../../util/runtime/real-timers.js';

/** Of all links of this process together: some milliseconds. */
const BYTES_PER_TURN = 32 * 1024;

/**
 * Inputs that get a part of a turn at most, which is 2 KiB then: with a thousand links in a process, equal parts would be a few bytes of
 * a message each.
 */
const INPUTS_PER_TURN = 16;

export interface ControlInput {
  /** Takes in so many bytes of what waits, at most. Returns how many there were: fewer when nothing is left. */
  takeIn(bytes: number): number;
}

export class ControlTurns {
  private left: number;
  private readonly waiting = new Set<ControlInput>();
  private isTurnDue = false;

  constructor(private readonly bytesPerTurn = BYTES_PER_TURN) {
    this.left = bytesPerTurn;
  }

  /** How many inputs wait. */
  get size(): number {
    return this.waiting.size;
  }

  /** Counts bytes that are about to be taken in. Returns how many of them may be in this turn; the input has to wait then. */
  claim(bytes: number): number {
    const claimed = Math.min(bytes, this.left);
    this.left -= claimed;
    this.nextTurn();
    return claimed;
  }

  /** Has bytes that wait for a later turn. */
  wait(input: ControlInput): void {
    this.waiting.add(input);
    this.nextTurn();
  }

  /** Has none any more. */
  leave(input: ControlInput): void {
    this.waiting.delete(input);
  }

  private nextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    setImmediate(() => {
      this.isTurnDue = false;
      this.left = this.bytesPerTurn;
      this.work();
    });
  }

  /** A share for each input, and what some leave of it to those that have waited for longest. */
  private work(): void {
    while (this.left > 0 && this.waiting.size > 0) {
      const share = Math.max(Math.ceil(this.left / this.waiting.size), Math.ceil(this.bytesPerTurn / INPUTS_PER_TURN));
      // Those that have more are added at the end, and come again when all others have been.
      let inputs = this.waiting.size;
      for (const input of this.waiting) {
        if (inputs-- === 0) break;
        const bytes = Math.min(share, this.left);
        if (bytes === 0) break;
        this.waiting.delete(input);
        const taken = input.takeIn(bytes);
        this.left -= taken;
        if (taken === bytes) this.waiting.add(input);
      }
    }
    if (this.waiting.size > 0) this.nextTurn();
  }
}

/** Of all links in this process. */
export const controlTurns = new ControlTurns();
