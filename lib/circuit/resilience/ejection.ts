// Which instances of a service are left out, since they fail or are slow. An instance comes back by itself after a while, which grows
// when it goes on failing. Some are always left: an ejection must not take more of a service than it would lose anyway. Pure.

import type { OutlierEjectionTerms } from '../../options/resilience.js';

/** Answers before the time that an instance takes is compared. */
const MIN_SAMPLES = 10;
/** How much slower than others an instance has to be at least, in ms. */
const MIN_EXCESS_MS = 50;
/** The weight of the newest time. */
const SMOOTHING = 0.2;

/** What is known of an instance. */
export class InstanceRecord {
  /** Until when it is left out, in ms. */
  ejectedUntilMs = Number.NEGATIVE_INFINITY;
  private inARow = 0;
  private ejections = 0;
  private meanMs = 0;
  private samples = 0;

  constructor(private readonly terms: OutlierEjectionTerms) {}

  isEjected(now: number): boolean {
    return now < this.ejectedUntilMs;
  }

  /** How long it takes to answer, without the round trip; undefined while little is known. */
  get answerMs(): number | undefined {
    return this.samples < MIN_SAMPLES ? undefined : this.meanMs;
  }

  /** Returns whether this ejects the instance. */
  onFailure(now: number): boolean {
    // A failure of one that is asked although it is ejected, or was asked before, is no news.
    if (this.isEjected(now)) return false;
    this.inARow++;
    return this.inARow >= this.terms.failures && this.eject(now);
  }

  onSuccess(now: number): void {
    this.inARow = 0;
    // Well for as long as it was left out: the next time is shorter again.
    if (this.ejections > 0 && now - this.ejectedUntilMs >= this.lengthMs) {
      this.ejections--;
      this.ejectedUntilMs = now;
    }
  }

  /** Takes the time of an answer. Returns whether a comparison with others is due. */
  onAnswer(tookMs: number): boolean {
    this.samples++;
    this.meanMs += (Math.max(0, tookMs) - this.meanMs) * Math.max(SMOOTHING, 1 / this.samples);
    return this.samples >= MIN_SAMPLES && this.samples % MIN_SAMPLES === 0;
  }

  /** Returns whether this ejects the instance: it is slower than others by the factor of the terms. */
  compare(others: readonly number[], now: number): boolean {
    const { answerMs } = this;
    if (answerMs === undefined || others.length === 0 || this.isEjected(now)) return false;
    const sorted = [...others].sort((a, b) => a - b);
    const middle = sorted[Math.floor((sorted.length - 1) / 2)];
    const limitMs = Math.max(middle * this.terms.latencyFactor, middle + MIN_EXCESS_MS);
    return answerMs > limitMs && this.eject(now);
  }

  private get lengthMs(): number {
    return Math.min(this.ejections * this.terms.ejectMs, this.terms.maxEjectMs);
  }

  private eject(now: number): true {
    this.ejections++;
    this.ejectedUntilMs = now + this.lengthMs;
    this.inARow = 0;
    this.samples = 0;
    return true;
  }
}

/**
 * Returns the instances that are not left out: all but those that are ejected for the longest time, of which `maxShare` may be left out;
 * of several instances one in any case, and never all.
 */
export function withoutEjected<One>(
  all: readonly One[],
  untilMs: (one: One) => number,
  maxShare: number,
  now: number,
): readonly One[] {
  const ejected = all.filter((one) => untilMs(one) > now);
  if (ejected.length === 0) return all;
  const most = Math.min(all.length - 1, Math.max(1, Math.floor(maxShare * all.length)));
  if (ejected.length > most) ejected.sort((a, b) => untilMs(b) - untilMs(a));
  const out = new Set(ejected.slice(0, most));
  return all.filter((one) => !out.has(one));
}
