// Keeps the clock for InFlight: what it takes to be used by a live session.

import type { Timed, Timer, Timers } from '../util/timers.js';
import { ANSWER_TIMEOUT_MS, InFlight } from './in-flight.js';

export class Pacer implements Timed {
  private readonly inFlight = new InFlight();
  private timer: Timer | null = null;
  private isStopped = false;

  /** `onRoom`: data that was held back may go. */
  constructor(
    private readonly timers: Timers,
    private readonly onRoom: () => void,
  ) {}

  /** Bytes of bulk that may follow after `sent` bytes since the start. */
  room(sent: number): number {
    return this.inFlight.room(sent);
  }

  /** As {@link room}, for small messages. */
  smallRoom(sent: number): number {
    return this.inFlight.smallRoom(sent);
  }

  /** Whether one frame of bulk may go without room. */
  takeTurn(): boolean {
    return this.inFlight.takeTurn();
  }

  /** Whether a ping should follow after `sent` bytes. */
  isProbeDue(sent: number): boolean {
    return this.inFlight.isProbeDue(sent);
  }

  /** The opaque value of that ping. */
  probe(sent: number): number {
    this.timer ??= this.timers.schedule(ANSWER_TIMEOUT_MS, this);
    return this.inFlight.probe(sent, this.timers.now());
  }

  /** The time in ms that the answer to a probe has taken; -1 when the ping was none. `leastMs` as InFlight's. */
  onPong(opaque: number, leastMs: number): number {
    const tookMs = this.inFlight.onAnswer(opaque, this.timers.now(), leastMs);
    if (tookMs >= 0) this.onRoom();
    return tookMs;
  }

  onDeadline(now: number): void {
    this.timer = null;
    if (this.isStopped || !this.inFlight.isWaiting) return;
    if (this.inFlight.checkAnswers(now)) this.onRoom();
    this.timer = this.timers.schedule(ANSWER_TIMEOUT_MS, this);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
  }
}
