// Decides whether the peer is still alive, by the time of the last byte that arrived. Pure: the caller passes the time, sends the
// pings and acts on the verdict.
//
// A process whose event loop was blocked runs its timers before it reads what arrived meanwhile (libuv reads after timers). So a
// late check proves nothing: it moves the deadline by as much as it came late.

/** A check that is later than this shows that the event loop of this process was blocked. */
export const OWN_LAG_MS = 500;

/**
 * TCP retransmits a lost packet after a little more than a round trip, and doubles that time at each further loss. Up to this round
 * trip, five losses in a row fit between the ping and the default timeout of ten seconds; on a longer path they take longer in
 * proportion.
 */
const SHORT_PATH_MS = 150;
/** A peer that answers late on purpose gains no more than this. */
const MAX_STRETCH = 4;

/** Returns the factor of a timeout for silence on a path with this round trip: 1 up to 150 ms, and at most 4. */
export function stretchOf(rttMs: number): number {
  return Math.min(MAX_STRETCH, Math.max(1, rttMs / SHORT_PATH_MS));
}

export const Verdict = {
  /** Check again after {@link Keepalive.nextCheckMs}. */
  WAIT: 0,
  /** Nothing has arrived for a while: send a ping. */
  PING: 1,
  /** The peer is silent beyond the deadline. */
  SILENT: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export class Keepalive {
  private lastReceived: number;
  private checkDue: number;
  private pinged = false;
  private deadAfterMs: number;

  /**
   * @param idleMs silence after which a ping is due, in ms
   * @param timeoutMs silence after which the peer counts as gone, in ms; longer on a long path
   * @param now the time, in ms
   */
  constructor(
    private readonly idleMs: number,
    private readonly timeoutMs: number,
    now: number,
  ) {
    this.lastReceived = now;
    this.checkDue = now + idleMs;
    this.deadAfterMs = timeoutMs;
  }

  /** The round trip of the path was measured, in ms. */
  onRoundTrip(rttMs: number): void {
    this.deadAfterMs = this.timeoutMs * stretchOf(rttMs);
  }

  /** Returns whether the silence is beyond the deadline. */
  isSilent(now: number): boolean {
    return this.silentMs(now) >= this.deadAfterMs;
  }

  /** Bytes of the peer have arrived. Any byte proves that it is alive. */
  onReceived(now: number): void {
    this.lastReceived = now;
    this.pinged = false;
  }

  /** When the last byte of the peer arrived, in ms. */
  get lastReceivedMs(): number {
    return this.lastReceived;
  }

  /** Returns how long the peer has been silent, in ms. */
  silentMs(now: number): number {
    return now - this.lastReceived;
  }

  /** Returns the time until the next {@link check}, which must follow then, in ms. */
  nextCheckMs(now: number): number {
    // While a ping is unanswered: at the deadline, or after the usual time, since an answer starts a new silence.
    const due = this.pinged
      ? Math.min(this.lastReceived + this.deadAfterMs, now + this.idleMs)
      : this.lastReceived + this.idleMs;
    const wait = Math.max(1, due - now);
    this.checkDue = now + wait;
    return wait;
  }

  check(now: number): Verdict {
    const late = now - this.checkDue;
    // This process was blocked: what arrived in that time is still unread.
    if (late > OWN_LAG_MS) this.lastReceived += late;
    const silent = now - this.lastReceived;
    if (this.pinged && silent >= this.deadAfterMs) return Verdict.SILENT;
    if (!this.pinged && silent >= this.idleMs) {
      this.pinged = true;
      return Verdict.PING;
    }
    return Verdict.WAIT;
  }
}
