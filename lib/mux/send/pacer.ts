// Keeps the clock for PathModel: what it takes to be used by a live session.

import type { Timed, Timer, Timers } from '../../util/timers.js';
import { PathModel } from './path-model.js';

/** A foreign peer that answers no ping for this long, though it is heard, is not held to the limit, in ms. */
export const ANSWER_TIMEOUT_MS = 2000;

export class Pacer implements Timed {
  private readonly path = new PathModel();
  private timer: Timer | null = null;
  private isSuspended = false;
  private isStopped = false;

  /**
   * @param onRoom called when data that was held back may go
   * @param answers whether the peer is known to answer pings, as any Starlane node is
   * @param lastHeardMs when the peer was heard last, by the clock of `timers`
   */
  constructor(
    private readonly timers: Timers,
    private readonly onRoom: () => void,
    private readonly answers: boolean,
    private readonly lastHeardMs: () => number,
  ) {}

  /** Bytes of bulk that may follow after `sent` bytes since the start. */
  room(sent: number): number {
    return this.isSuspended ? Number.MAX_SAFE_INTEGER : this.path.room(sent);
  }

  /** As {@link room}, for small messages. */
  smallRoom(sent: number): number {
    return this.isSuspended ? Number.MAX_SAFE_INTEGER : this.path.smallRoom(sent);
  }

  /** The longest frame of bulk, in bytes. */
  get frameBytes(): number {
    return this.path.frameBytes;
  }

  /** Whether one frame of bulk may go without room. */
  takeTurn(): boolean {
    return this.path.takeTurn();
  }

  /** A small message was sent. */
  sentSmall(): void {
    this.path.sentSmall();
  }

  /** Nothing more waits to be sent. */
  ranDry(): void {
    this.path.ranDry();
  }

  /** Whether a ping should follow after `sent` bytes. */
  isProbeDue(sent: number): boolean {
    return this.path.isProbeDue(sent);
  }

  /** The opaque value of that ping. */
  probe(sent: number): number {
    if (!this.answers) this.timer ??= this.timers.schedule(ANSWER_TIMEOUT_MS, this);
    return this.path.probe(sent, this.timers.now());
  }

  /** The time in ms that the answer to a probe has taken, after `sent` and `received` bytes; -1 when the ping was none. */
  onPong(opaque: number, sent: number, received = 0): number {
    const tookMs = this.path.onAnswer(opaque, sent, this.timers.now(), received);
    if (tookMs < 0) return tookMs;
    this.isSuspended = false;
    this.onRoom();
    return tookMs;
  }

  /** Another ping was answered after `tookMs`. */
  onIdlePong(tookMs: number): void {
    this.path.onIdleAnswer(tookMs, this.timers.now());
  }

  onDeadline(now: number): void {
    this.timer = null;
    const { path } = this;
    if (this.isStopped || !path.isWaiting) return;
    // A peer that is silent altogether gets no more either way: the path is dark, or it has stopped.
    if (now - path.waitingSince >= ANSWER_TIMEOUT_MS && this.lastHeardMs() > path.waitingSince) {
      this.isSuspended = true;
      this.onRoom();
    }
    this.timer = this.timers.schedule(ANSWER_TIMEOUT_MS, this);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
  }
}
