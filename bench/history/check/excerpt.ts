// The smallest part of a history that shows a violation: the lines of its messages, of the processes that had to do with them, and of
// the faults in their time.

import { type History, nameOf, type ProcessEvent, type RunEvent } from '../events.js';
import type { Rule, Violation } from './violation.js';

const MAX_FAULTS = 15;
/** Faults from so long before the first line on. */
const BEFORE_MS = 2_000;

interface Line {
  readonly t: number;
  readonly text: string;
}

/** Of each rule that is broken, how often, and the violation with the fewest lines. */
export function smallest(
  violations: readonly Violation[],
): { readonly rule: Rule; readonly count: number; readonly violation: Violation }[] {
  const found = new Map<Rule, { rule: Rule; count: number; violation: Violation }>();
  for (const violation of violations) {
    const entry = found.get(violation.rule);
    if (entry === undefined) found.set(violation.rule, { rule: violation.rule, count: 1, violation });
    else {
      entry.count++;
      if (sizeOf(violation) < sizeOf(entry.violation)) entry.violation = violation;
    }
  }
  return [...found.values()];
}

/** The lines that show a violation, by time. */
export function excerpt({ logs, run }: History, violation: Violation): string[] {
  const names = new Set(violation.messages.map(({ sent }) => sent.u));
  const runs = new Set(violation.runs.map((one) => `${one.receiver} ${one.run}`));
  const processes = new Set(violation.runs.map(({ receiver }) => receiver));
  for (const { sender } of violation.messages) processes.add(sender);
  if (violation.process !== undefined) processes.add(violation.process);
  const lines: Line[] = [];
  for (const { process, events } of logs) {
    for (const event of events) {
      if (isOf(process, event, names, runs, processes)) lines.push(line(process, event));
    }
  }
  const times = violation.messages.flatMap(({ sent, outcome, runs: all }) => [
    sent.t,
    outcome?.t ?? sent.t,
    ...all.map(({ t }) => t),
  ]);
  const [from, to] = times.length === 0 ? [0, Number.POSITIVE_INFINITY] : [Math.min(...times), Math.max(...times)];
  const places = new Set([...[...processes].map(nameOf), ...violation.messages.flatMap(({ sent }) => sent.at)]);
  const faults = run.filter((event) => isNear(event, places) && event.t <= to && endOf(event) >= from - BEFORE_MS);
  lines.push(...faults.slice(-MAX_FAULTS).map((event) => line('run', event)));
  return lines.sort((a, b) => a.t - b.t).map(({ text }) => text);
}

function sizeOf({ messages, runs }: Violation): number {
  return messages.reduce(
    (sum, { sent, outcome }) => sum + 1 + ((outcome?.t ?? sent.t) - sent.t) / 1e6,
    2 * runs.length,
  );
}

function isOf(
  process: string,
  event: ProcessEvent,
  messages: ReadonlySet<string>,
  runs: ReadonlySet<string>,
  processes: ReadonlySet<string>,
): boolean {
  if (event.e === 'send' || event.e === 'outcome') return messages.has(event.u);
  if (event.e === 'begin' || event.e === 'end') return runs.has(`${process} ${event.run}`);
  return event.e === 'up' && processes.has(process);
}

function isNear(event: RunEvent, names: ReadonlySet<string>): boolean {
  return event.e === 'fault' ? event.of.some((name) => names.has(name)) : names.has(nameOf(event.process));
}

function endOf(event: RunEvent): number {
  return event.e === 'fault' ? event.until : event.t;
}

function line(process: string, event: ProcessEvent | RunEvent): Line {
  const { e, t, ...rest } = event as ProcessEvent & { stats?: unknown };
  const fields = Object.entries(rest).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return { t, text: `${t.toFixed(3).padStart(14)}  ${process.padEnd(7)} ${e.padEnd(7)} ${fields.join(' ')}` };
}
