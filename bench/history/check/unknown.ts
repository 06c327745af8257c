// What is called unknown: why, and that it is no more than what was in flight when something happened.
//
// An unknown outcome is right only if something came in between: its time was over, its sender gave it up or ended, the process that had it
// ended, or the way to it was lost for so long that the sender stopped looking for it.

import { type FaultEvent, nameOf } from '../events.js';
import type { Facts, Message } from './facts.js';
import type { Violation } from './violation.js';

export type UnknownCause = 'timeout' | 'abort' | 'sender ended' | 'receiver ended' | 'way lost' | 'none';

/** What the times of a run mean. */
export interface UnknownLimits {
  /** How long a sender looks for a receiver again. */
  readonly resumeMs: number;
  /** How long before a message was sent something may have happened of which its sender did not know: a silent link, for example. */
  readonly beforeMs: number;
  /** How late a timer may be on the machine. */
  readonly lateMs: number;
}

export function* unknownRules(facts: Facts, limits: UnknownLimits): Iterable<Violation> {
  const history = new Disturbances(facts);
  for (const message of facts.messages.values()) {
    if (message.outcome?.outcome !== 'unknown' || history.causeOf(message, limits) !== 'none') continue;
    const { sent, outcome } = message;
    const text = `${sent.u} is unknown after ${Math.round(outcome.t - sent.t)} ms (${outcome.code} ${outcome.why ?? ''})`;
    yield { rule: 'unknown-without-cause', text, messages: [message], runs: message.runs };
  }
}

/** How many outcomes are unknown, by cause. */
export function unknownByCause(facts: Facts, limits: UnknownLimits): Map<UnknownCause, number> {
  const history = new Disturbances(facts);
  const counts = new Map<UnknownCause, number>();
  for (const message of facts.messages.values()) {
    if (message.outcome?.outcome !== 'unknown') continue;
    const cause = history.causeOf(message, limits);
    counts.set(cause, (counts.get(cause) ?? 0) + 1);
  }
  return counts;
}

/** How many messages were in flight during each fault, in the order of the faults. */
export function inFlight({ messages, faults }: Facts): number[] {
  const begins: number[] = [];
  const ends: number[] = [];
  for (const { sent, outcome } of messages.values()) {
    begins.push(sent.t);
    if (outcome !== undefined) ends.push(outcome.t);
  }
  begins.sort((a, b) => a - b);
  ends.sort((a, b) => a - b);
  return faults.map(({ t, until }) => countUpTo(begins, until) - countUpTo(ends, t));
}

class Disturbances {
  private readonly exits = new Map<string, number[]>();

  constructor(private readonly facts: Facts) {
    for (const { process, t } of facts.exits) {
      const name = nameOf(process);
      const there = this.exits.get(name);
      if (there === undefined) this.exits.set(name, [t]);
      else there.push(t);
    }
  }

  causeOf({ sent, sender, outcome }: Message, { resumeMs, beforeMs, lateMs }: UnknownLimits): UnknownCause {
    if (outcome === undefined) return 'none';
    const took = outcome.t - sent.t;
    if (sent.abortMs !== undefined && took >= sent.abortMs - 1) return 'abort';
    if (took >= sent.timeoutMs - 1) return 'timeout';
    // In good order: one that is killed has no outcomes.
    const isEnding = this.facts.faults.some(
      ({ kind, of, t, until }) =>
        kind === 'restart' && of.includes(nameOf(sender)) && t <= outcome.t && until >= sent.t,
    );
    if (isEnding) return 'sender ended';
    const since = sent.t - beforeMs;
    const until = outcome.t + lateMs;
    const isWithin = (t: number): boolean => t >= since && t <= until;
    // A kill is written down after the end of the process, but the fault has begun before.
    if (sent.at.some((name) => this.exits.get(name)?.some(isWithin))) return 'receiver ended';
    const isDisturbed = this.facts.faults.some(
      (fault) => lasted(fault) >= 0 && fault.t <= until && fault.until >= since,
    );
    if (isDisturbed && took >= resumeMs / 2) return 'way lost';
    return 'none';
  }
}

function lasted({ t, until }: FaultEvent): number {
  return until - t;
}

/** How many of the sorted numbers are at most `limit`. */
function countUpTo(sorted: readonly number[], limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
