// Checks a history against the promise of docs/messages.md. Pure: the same history, the same verdict.

import type { History } from '../events.js';
import { type Facts, factsOf } from './facts.js';
import { contentRules, keyRules, orderRules, outcomeRules } from './promise-rules.js';
import { inFlight, type UnknownCause, type UnknownLimits, unknownByCause, unknownRules } from './unknown.js';
import type { Violation } from './violation.js';

export interface Counts {
  readonly processes: number;
  readonly messages: number;
  readonly calls: number;
  readonly large: number;
  readonly withKey: number;
  /** With a key that an earlier message had. */
  readonly keysAgain: number;
  readonly runs: number;
  readonly handled: number;
  /** Of those that are handled: the handler threw. */
  readonly failed: number;
  readonly notHandled: number;
  readonly unknown: number;
  readonly unknownByCause: ReadonlyMap<UnknownCause, number>;
  /** Of those that are unknown: whose handler ran to its end, in truth. */
  readonly unknownButRan: number;
  /** Of which the sender died before there was an outcome. */
  readonly died: number;
  readonly faults: number;
  readonly faultsByKind: ReadonlyMap<string, number>;
  /** Messages in flight during a fault, summed over all faults. */
  readonly inFlight: number;
  /** Outcomes by code, but for those of messages that are handled. */
  readonly codes: ReadonlyMap<string, number>;
}

export interface Verdict {
  readonly facts: Facts;
  readonly counts: Counts;
  readonly violations: readonly Violation[];
}

export function check(history: History, limits: UnknownLimits): Verdict {
  const facts = factsOf(history);
  const violations = [
    ...outcomeRules(facts),
    ...contentRules(facts),
    ...orderRules(facts),
    ...keyRules(facts),
    ...unknownRules(facts, limits),
    ...endRules(facts),
  ];
  return { facts, violations, counts: count(facts, limits) };
}

function* endRules({ exits }: Facts): Iterable<Violation> {
  for (const { process, meant, how, errors } of exits) {
    if (meant) continue;
    yield { rule: 'process-ended', text: `${process}: ${how} ${errors ?? ''}`, messages: [], runs: [], process };
  }
}

function count(facts: Facts, limits: UnknownLimits): Counts {
  const all = [...facts.messages.values()];
  const withKey = all.filter(({ sent }) => sent.key !== undefined);
  const unknown = all.filter(({ outcome }) => outcome?.outcome === 'unknown');
  const handled = all.filter(({ outcome }) => outcome?.outcome === 'handled');
  const unsettled = all.filter(({ outcome }) => outcome !== undefined && outcome.outcome !== 'handled');
  return {
    processes: facts.lifetimes.size,
    messages: all.length,
    calls: all.filter(({ sent }) => sent.kind === 'call').length,
    large: all.filter(({ sent }) => sent.body !== 'small').length,
    withKey: withKey.length,
    keysAgain: withKey.length - new Set(withKey.map(({ sent }) => sent.key)).size,
    runs: facts.runs.length,
    handled: handled.length,
    failed: handled.filter(({ outcome }) => outcome?.code !== undefined).length,
    notHandled: all.filter(({ outcome }) => outcome?.outcome === 'not-handled').length,
    unknown: unknown.length,
    unknownByCause: unknownByCause(facts, limits),
    unknownButRan: unknown.filter(({ runs }) => runs.some(({ ended }) => ended !== undefined)).length,
    died: all.filter(({ outcome }) => outcome === undefined).length,
    faults: facts.faults.length,
    faultsByKind: tally(facts.faults.map(({ kind }) => kind)),
    inFlight: inFlight(facts).reduce((sum, one) => sum + one, 0),
    codes: tally(unsettled.map(({ outcome }) => `${outcome?.outcome} ${outcome?.code ?? '-'}`)),
  };
}

function tally(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
