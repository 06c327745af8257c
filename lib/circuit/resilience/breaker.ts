// The circuit breaker of a service. Closed, it counts failed dials. Open, it lets none through for a while, then one at a time to probe
// (half-open): a success closes it, a failure opens it again. Pure.

import type { CircuitBreakerTerms } from '../../options/resilience.js';
import { RecentCounts } from './recent-counts.js';

/** What became of a dial: `none` when it says nothing about the service, as the user has given it up, for example. */
export type DialOutcome = 'connected' | 'failed' | 'none';

/** Given by {@link Breaker.begin} to {@link Breaker.end}: what happened since must not count for another state. */
export type BreakerTicket = number;

export class Breaker {
  private inARow = 0;
  /** Dials, and those that failed. */
  private readonly counts: RecentCounts;
  /** When it lets a probe through; undefined while it is closed. */
  private probeAtMs: number | undefined;
  private isProbing = false;
  /** When a new instance has let a probe through for the last time. */
  private hastenedAtMs = Number.NEGATIVE_INFINITY;
  /** Changes with the state. */
  private generation: BreakerTicket = 0;

  constructor(private readonly terms: CircuitBreakerTerms) {
    this.counts = new RecentCounts(terms.windowMs);
  }

  get isOpen(): boolean {
    return this.probeAtMs !== undefined;
  }

  /** Returns how long a dial has to wait, in ms; 0: none. While another dial probes, it is as long as after a failure. */
  waitMs(now: number): number {
    if (this.probeAtMs === undefined) return 0;
    if (this.isProbing) return this.terms.openMs;
    return Math.max(0, this.probeAtMs - now);
  }

  /** Called for a dial that does not have to wait. */
  begin(): BreakerTicket {
    if (this.isOpen) this.isProbing = true;
    return this.generation;
  }

  /** Returns whether this has opened the breaker. */
  end(ticket: BreakerTicket, outcome: DialOutcome, now: number): boolean {
    if (ticket !== this.generation) return false;
    this.isProbing = false;
    if (outcome === 'none') return false;
    const hasFailed = outcome === 'failed';
    if (this.isOpen) {
      if (hasFailed) return this.open(now);
      this.close();
      return false;
    }
    this.inARow = hasFailed ? this.inARow + 1 : 0;
    this.counts.add(1, hasFailed ? 1 : 0, now);
    return this.isTooMuch(now) && this.open(now);
  }

  /**
   * Lets a probe through now: there is a new instance, of which nothing bad is known. Not more often than a breaker probes by itself, as
   * a member could go on announcing instances.
   */
  hasten(now: number): void {
    if (this.probeAtMs === undefined || this.probeAtMs <= now) return;
    if (now < this.hastenedAtMs + this.terms.openMs) return;
    this.hastenedAtMs = now;
    this.probeAtMs = now;
  }

  private isTooMuch(now: number): boolean {
    const { failures, failureRate, minDials } = this.terms;
    if (this.inARow >= failures) return true;
    const dials = this.counts.first(now);
    return dials >= minDials && this.counts.second(now) >= failureRate * dials;
  }

  private open(now: number): true {
    this.generation++;
    this.probeAtMs = now + this.terms.openMs;
    return true;
  }

  private close(): void {
    this.generation++;
    this.probeAtMs = undefined;
    this.inARow = 0;
    this.counts.clear();
  }
}
