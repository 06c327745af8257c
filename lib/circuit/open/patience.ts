// How long one neighbour is waited for that an OPEN was sent to, and what of that is left for others. Pure, and the same for
// diallers, relays and simulations.

import { answerMs } from '../../mux/liveness/liveness.js';
import type { RouteLength } from '../path.js';

/**
 * With others to try, a neighbour has this long to take a stream, or so many round trips of its link plus so many times the
 * delay of one loss, if that is longer: two losses one after the other.
 */
const SILENCE_MS = 500;
const SILENCE_ROUND_TRIPS = 4;
const SILENCE_LATENESSES = 3;

/** What is kept for the way back of an answer beyond the round trip of the link and a loss: the next node gives up so much earlier. */
const MARGIN_MS = 20;
/** Of a short time, not more than this share. */
const MARGIN_SHARE = 0.2;

/** A neighbour that has not answered after this, or after {@link answerMs} if that is longer, is at fault. In ms. */
const FAIR_MS = 200;

const UNKNOWN_ROUTE = { hops: 2, cost: 0 };
/** A way may be somewhat faster than it was when it was measured. */
const LEAST_ROUND_TRIPS = 0.75;

/**
 * How long a neighbour may leave a stream without acknowledgement, in ms. Relays and destinations acknowledge at once,
 * whatever becomes of the OPEN: who does not is not there, and the time is better spent on others.
 */
export function silenceMs(limitMs: number, hasOthers: boolean, rttMs: number, lateMs: number): number {
  if (!hasOthers) return limitMs;
  return Math.min(limitMs, Math.max(SILENCE_MS, SILENCE_ROUND_TRIPS * rttMs + SILENCE_LATENESSES * lateMs));
}

/**
 * How long to wait for the answer of one next hop that has taken the stream, in ms: `limitMs` for each link beyond it, or more
 * where the way is long, around the world maybe, or has losses. With others to try, time is kept for them: what can be spared beyond
 * the expected round trip is shared evenly by this node and those on the way, which do the same.
 */
export function patienceMs(
  leftMs: number,
  limitMs: number,
  hasOthers: boolean,
  route: RouteLength | undefined,
  lateMs: number,
): number {
  const { hops, cost } = route ?? UNKNOWN_ROUTE;
  const kept = hasOthers ? Math.max(0, leftMs - cost) / (hops + 1) : 0;
  return Math.min(Math.max(limitMs * Math.max(1, hops - 1), answerMs(cost, lateMs)), leftMs - kept);
}

/**
 * Whether there is a chance of an answer in that time: a search that has too little left goes back to a node that has
 * kept some, rather than to ever more nodes that have none.
 */
export function isEnough(patienceMs: number, route: Pick<RouteLength, 'cost'> | undefined): boolean {
  return patienceMs >= (route ?? UNKNOWN_ROUTE).cost * LEAST_ROUND_TRIPS;
}

/** What a node knows when it sends an OPEN to a neighbour; times in ms. */
export interface TryStart {
  readonly now: number;
  /** What is left for the whole search. */
  readonly leftMs: number;
  /** For the answer of one neighbour. */
  readonly limitMs: number;
  readonly hasOthers: boolean;
  /** The round trip of the link. */
  readonly rttMs: number;
  /** What a loss delays an answer by, as far as the link has shown. The links beyond are taken to be like it. */
  readonly lateMs: number;
  /** From here to the destination. */
  readonly route: RouteLength | undefined;
}

/** The wait for one neighbour: short until it has taken the stream, then as long as its answer may need. */
export class HopWait {
  /** Whether it is worth sending the OPEN at all. */
  readonly isWorthIt: boolean;
  /** What the neighbour is told that is left, in ms. */
  readonly grantedMs: number;
  /** For how long the timer is to be set at first, in ms. */
  readonly firstMs: number;
  private readonly patienceMs: number;
  /** `limitMs`, or more where the link needs it. */
  private readonly limitMs: number;
  /** When the timer ends, in ms since the start: before `patienceMs` as long as the stream is not acknowledged. */
  private waitMs: number;

  constructor(private readonly start: TryStart) {
    const { leftMs, hasOthers, rttMs, lateMs, route } = start;
    const limitMs = Math.max(start.limitMs, answerMs(rttMs, lateMs));
    this.limitMs = limitMs;
    const patience = patienceMs(leftMs, limitMs, hasOthers, route, lateMs);
    this.patienceMs = patience;
    this.grantedMs = patience - rttMs - Math.min(MARGIN_MS + lateMs, patience * MARGIN_SHARE);
    this.isWorthIt = this.grantedMs > 0 && isEnough(patience, route);
    this.firstMs = Math.min(patience, silenceMs(limitMs, hasOthers, rttMs, lateMs));
    this.waitMs = this.firstMs;
  }

  /** The timer has ended, and the neighbour has taken the stream: how much longer to wait, in ms; 0 when it has had all its time. */
  longerMs(now: number): number {
    if (this.waitMs >= this.patienceMs) return 0;
    this.waitMs = this.patienceMs;
    return Math.max(1, this.start.now + this.waitMs - now);
  }

  /**
   * Whether the neighbour has had time enough for any that is well: to take the stream, or to have the answer of the destination.
   * Who has had less is not to blame for having used it up. `cost`: the round trip to the destination now.
   */
  isFair(cost: number): boolean {
    const { rttMs, lateMs } = this.start;
    const roundTripMs = this.waitMs < this.patienceMs ? rttMs : cost;
    return this.waitMs >= Math.min(this.limitMs, Math.max(FAIR_MS, answerMs(roundTripMs, lateMs)));
  }

  /** The time since the start, in ms. */
  tookMs(now: number): number {
    return now - this.start.now;
  }
}
