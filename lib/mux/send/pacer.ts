// The PathModel of a live session: its clock, and a timer for peers that answer no pings.

import type { Timed, Timer, Timers } from '../../util/timers.js';
import { PathModel } from './path-model.js';

/** A foreign peer that sends data but answers no ping for this long is not held to the limit, in ms. */
export const ANSWER_TIMEOUT_MS = 2000;

export class Pacer implements Timed {
  private readonly path = new PathModel();
  private timer: Timer | null = null;
  private isSuspended = false;
  private isDisposed = false;

  /**
   * @param onRoom called when data that waits may be sent
   * @param answersPings whether the peer is known to answer pings, as every Starlane node does
   * @param lastReceivedMs returns when the last byte of the peer arrived, by the clock of `timers`
   */
  constructor(
    private readonly timers: Timers,
    private readonly onRoom: () => void,
    private readonly answersPings: boolean,
    private readonly lastReceivedMs: () => number,
  ) {}

  /** Bytes of bulk that may follow after `sent` bytes since the start. */
  room(sent: number): number {
    return this.isSuspended ? Number.MAX_SAFE_INTEGER : this.path.room(sent);
  }

  /** The same as {@link room}, for small messages. */
  smallRoom(sent: number): number {
    return this.isSuspended ? Number.MAX_SAFE_INTEGER : this.path.smallRoom(sent);
  }

  /** The longest frame of bulk, in bytes. */
  get frameBytes(): number {
    return this.path.frameBytes;
  }

  /** Takes the turn of one frame of bulk that may leave without room. False when it was taken before. */
  takeTurn(): boolean {
    return this.path.takeTurn();
  }

  /** A small message was sent. */
  sentSmall(): void {
    this.path.sentSmall();
  }

  /** No data waits any more. */
  ranDry(): void {
    this.path.ranDry();
  }

  /** Returns whether a ping should follow after `sent` bytes. */
  isProbeDue(sent: number): boolean {
    return this.path.isProbeDue(sent);
  }

  /** Returns the opaque value of the ping that follows after `sent` bytes. */
  probe(sent: number): number {
    if (!this.answersPings) this.timer ??= this.timers.schedule(ANSWER_TIMEOUT_MS, this);
    return this.path.probe(sent, this.timers.now());
  }

  /** Returns how long the answer to a probe has taken, in ms, after `sent` and `received` bytes; -1 when the ping was no probe. */
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
    if (this.isDisposed || !path.isWaiting) return;
    // A peer that is silent altogether gets no more either way: the path is down, or the peer has stopped.
    if (now - path.waitingSince >= ANSWER_TIMEOUT_MS && this.lastReceivedMs() > path.waitingSince) {
      this.isSuspended = true;
      this.onRoom();
    }
    this.timer = this.timers.schedule(ANSWER_TIMEOUT_MS, this);
  }

  dispose(): void {
    this.isDisposed = true;
    if (this.timer !== null) this.timers.cancel(this.timer);
    this.timer = null;
  }
}
