// How long an OPEN waits for one neighbour, and how much time is kept for others. Pure, and the same for diallers, relays and
// simulations.

import { answerMs } from '../../mux/liveness/liveness.js';
import type { RouteLength } from '../paths.js';

/**
 * With others to try, a neighbour has this long to acknowledge a stream, or this many round trips of its link plus this many times
 * the delay of one loss, if that is longer: two losses one after the other.
 */
const ACK_TIMEOUT_MS = 500;
const ACK_ROUND_TRIPS = 4;
const ACK_LATENESSES = 3;

/**
 * The next node gives up so much earlier than this one, beyond the round trip of the link and a loss, so that its answer arrives in
 * time.
 */
const MARGIN_MS = 20;
/** At most this share of a short time. */
const MARGIN_SHARE = 0.2;

/** A neighbour without an answer after this, or after {@link answerMs} if that is longer, is at fault. In ms. */
const FAIR_MS = 200;

const UNKNOWN_ROUTE = { hops: 2, cost: 0 };
/** A route may be somewhat faster than it was when it was measured. */
const LEAST_ROUND_TRIPS = 0.75;

/**
 * Returns how long a neighbour may leave a stream unacknowledged, in ms. Relays and destinations acknowledge at once, whatever
 * becomes of the OPEN: a node that does not is gone, and the time is better spent on others.
 */
export function ackTimeoutMs(limitMs: number, hasOthers: boolean, rttMs: number, lateMs: number): number {
  if (!hasOthers) return limitMs;
  return Math.min(limitMs, Math.max(ACK_TIMEOUT_MS, ACK_ROUND_TRIPS * rttMs + ACK_LATENESSES * lateMs));
}

/**
 * Returns how long to wait for the reply of a next hop that has acknowledged the stream, in ms: `limitMs` for each link beyond it,
 * or more where the route is long, around the world maybe, or has losses. With others to try, time is kept for them: this node and
 * those on the way share evenly what is left beyond the expected round trip.
 */
export function replyTimeoutMs(
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
 * Returns whether a reply may come in that time: a search with too little time left goes back to a node that has kept some, rather
 * than on to more nodes that have none.
 */
export function isWorthTrying(timeoutMs: number, route: Pick<RouteLength, 'cost'> | undefined): boolean {
  return timeoutMs >= (route ?? UNKNOWN_ROUTE).cost * LEAST_ROUND_TRIPS;
}

/** What a node knows when it sends OPEN to a neighbour; times in ms. */
export interface TryStart {
  readonly now: number;
  /** The time left for the whole search. */
  readonly leftMs: number;
  /** The timeout for the answer of one neighbour. */
  readonly limitMs: number;
  readonly hasOthers: boolean;
  /** The round trip of the link. */
  readonly rttMs: number;
  /** How much a loss delays an answer, as far as the link has shown. The links beyond are assumed to be like it. */
  readonly lateMs: number;
  /** From here to the destination. */
  readonly route: RouteLength | undefined;
}

/** The timeout of one neighbour: short until it has acknowledged the stream, then as long as its reply may need. */
export class HopTimeout {
  /** Whether it is worth sending the OPEN at all. */
  readonly isWorthTrying: boolean;
  /** The time left that OPEN grants the neighbour, in ms. */
  readonly grantedMs: number;
  /** The first time of the timer, in ms. */
  readonly firstMs: number;
  private readonly replyTimeoutMs: number;
  /** `limitMs`, or more where the link needs it. */
  private readonly limitMs: number;
  /** When the timer ends, in ms since the start: before `replyTimeoutMs` while the stream is not acknowledged. */
  private waitMs: number;

  constructor(private readonly start: TryStart) {
    const { leftMs, hasOthers, rttMs, lateMs, route } = start;
    const limitMs = Math.max(start.limitMs, answerMs(rttMs, lateMs));
    this.limitMs = limitMs;
    const timeoutMs = replyTimeoutMs(leftMs, limitMs, hasOthers, route, lateMs);
    this.replyTimeoutMs = timeoutMs;
    this.grantedMs = timeoutMs - rttMs - Math.min(MARGIN_MS + lateMs, timeoutMs * MARGIN_SHARE);
    this.isWorthTrying = this.grantedMs > 0 && isWorthTrying(timeoutMs, route);
    this.firstMs = Math.min(timeoutMs, ackTimeoutMs(limitMs, hasOthers, rttMs, lateMs));
    this.waitMs = this.firstMs;
  }

  /** Returns how much longer to wait for a neighbour that has acknowledged the stream, in ms; 0 when it has had all its time. */
  longerMs(now: number): number {
    if (this.waitMs >= this.replyTimeoutMs) return 0;
    this.waitMs = this.replyTimeoutMs;
    return Math.max(1, this.start.now + this.waitMs - now);
  }

  /**
   * Returns whether the neighbour had as much time as any healthy one needs: to acknowledge the stream, or to get the answer of the
   * destination. One that had less is not at fault. `cost`: the round trip to the destination now.
   */
  isFair(cost: number): boolean {
    const { rttMs, lateMs } = this.start;
    const roundTripMs = this.waitMs < this.replyTimeoutMs ? rttMs : cost;
    return this.waitMs >= Math.min(this.limitMs, Math.max(FAIR_MS, answerMs(roundTripMs, lateMs)));
  }

  /** Returns the time since the start, in ms. */
  tookMs(now: number): number {
    return now - this.start.now;
  }
}
