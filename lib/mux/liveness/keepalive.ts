// Whether the peer still lives, judged from the time of the last byte that arrived. Pure: the session tells the time,
// sends the pings and carries out the verdict.
//
// A process whose own event loop was blocked runs its timers before it reads what arrived meanwhile (libuv reads after
// timers), so a late check proves nothing: the deadline moves by as much as the check came late.

/** A check that comes later than this says that the own event loop was blocked. */
export const OWN_LAG_MS = 500;

/**
 * TCP sends again what was lost after a round trip and a bit, and after twice as long each time that it is lost again. Five times
 * in a row fit between the ping and the default timeout, ten seconds, on paths up to this one; on a longer path they take longer
 * in proportion.
 */
const SHORT_PATH_MS = 150;
/** A peer that answers late on purpose gains no more than that. */
const MAX_STRETCH = 4;

/** What a timeout for silence is multiplied by on a path with this round trip: 1 up to 150 ms, and 4 at most. */
export function stretchOf(rttMs: number): number {
  return Math.min(MAX_STRETCH, Math.max(1, rttMs / SHORT_PATH_MS));
}

export const Verdict = {
  /** Check again after {@link Keepalive.nextCheckMs}. */
  WAIT: 0,
  /** Nothing was heard for a while: ping. */
  PING: 1,
  /** Silent beyond the deadline. */
  SILENT: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export class Keepalive {
  private lastHeard: number;
  private checkDue: number;
  private pinged = false;
  private deadAfterMs: number;

  /**
   * @param idleMs silence after which a ping is due, in ms
   * @param timeoutMs silence after which the peer counts as gone on a short path, in ms
   * @param now the time, in ms
   */
  constructor(
    private readonly idleMs: number,
    private readonly timeoutMs: number,
    now: number,
  ) {
    this.lastHeard = now;
    this.checkDue = now + idleMs;
    this.deadAfterMs = timeoutMs;
  }

  /** What the path takes, in ms. */
  onRoundTrip(rttMs: number): void {
    this.deadAfterMs = this.timeoutMs * stretchOf(rttMs);
  }

  /** Whether the silence is beyond the deadline. */
  isSilent(now: number): boolean {
    return this.silentMs(now) >= this.deadAfterMs;
  }

  /** Any byte of the peer proves that it lives. */
  heard(now: number): void {
    this.lastHeard = now;
    this.pinged = false;
  }

  /** When something was heard last, in ms. */
  get lastHeardMs(): number {
    return this.lastHeard;
  }

  /** How long nothing was heard, in ms. */
  silentMs(now: number): number {
    return now - this.lastHeard;
  }

  /** How long until the next check, in ms. Must be followed by a {@link check} then. */
  nextCheckMs(now: number): number {
    // With a ping out, not before the deadline but after the usual time: the answer starts a new silence.
    const due = this.pinged
      ? Math.min(this.lastHeard + this.deadAfterMs, now + this.idleMs)
      : this.lastHeard + this.idleMs;
    const wait = Math.max(1, due - now);
    this.checkDue = now + wait;
    return wait;
  }

  check(now: number): Verdict {
    const late = now - this.checkDue;
    // The silence was ours: what arrived in that time is still unread.
    if (late > OWN_LAG_MS) this.lastHeard += late;
    const silent = now - this.lastHeard;
    if (this.pinged && silent >= this.deadAfterMs) return Verdict.SILENT;
    if (!this.pinged && silent >= this.idleMs) {
      this.pinged = true;
      return Verdict.PING;
    }
    return Verdict.WAIT;
  }
}
