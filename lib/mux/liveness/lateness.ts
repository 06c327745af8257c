// How much later than usual the answers of a peer may come. A path that loses packets delivers them all the same: a kernel sends
// what was lost again, after a round trip or when its timer has run out, and all behind it waits. Who gives up before that takes a
// live peer for dead. The estimate is that of RFC 6298, but for one thing: it falls slowly, as losses are rare and their lesson
// has to last until the next one.

/** Later than that, an answer says more about a process that was busy than about the path, in ms. */
const MAX_APART_MS = 1_000;
/** What is assumed of a path after the first sample, as a share of it. */
const FIRST_SHARE = 1 / 4;
/** Shares of a new sample: in the smoothed round trip, in a variation that rises, and in one that falls. */
const SMOOTHED_SHARE = 1 / 8;
const RISING_SHARE = 1 / 4;
const FALLING_SHARE = 1 / 32;
const VARIATIONS = 2;

/** An answer that is still to come from a peer that is well takes no longer than this: three or four losses one after the other. */
const ANSWER_ROUND_TRIPS = 3;
const ANSWER_LATENESSES = 10;

/** How long an answer may take over a way with this round trip, in ms. `lateMs`: what one loss delays it by. */
export function answerMs(roundTripMs: number, lateMs: number): number {
  return ANSWER_ROUND_TRIPS * roundTripMs + ANSWER_LATENESSES * lateMs;
}

export class Lateness {
  private smoothedMs = 0;
  private variationMs = 0;

  /** A round trip that was measured, in ms. Also one that a loss has delayed: those count most. */
  sample(rttMs: number): void {
    if (this.smoothedMs === 0) {
      this.smoothedMs = rttMs;
      this.variationMs = rttMs * FIRST_SHARE;
      return;
    }
    const apartMs = Math.min(Math.abs(rttMs - this.smoothedMs), MAX_APART_MS);
    const share = apartMs > this.variationMs ? RISING_SHARE : FALLING_SHARE;
    this.variationMs += (apartMs - this.variationMs) * share;
    this.smoothedMs += Math.min(rttMs - this.smoothedMs, MAX_APART_MS) * SMOOTHED_SHARE;
  }

  /**
   * In ms: about what one loss delays an answer by, where there are losses. Where there are none, it falls from half of a round trip
   * to next to nothing in some minutes.
   */
  get ms(): number {
    return VARIATIONS * this.variationMs;
  }
}
