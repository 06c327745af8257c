// What a run has shown, as text.

import type { Counts, Verdict } from './check/check.js';
import { excerpt, smallest } from './check/excerpt.js';
import { RULES } from './check/violation.js';
import type { History } from './events.js';

/** A line for each figure, and for each rule that is broken its smallest excerpt. */
export function reportOf(history: History, { counts, violations }: Verdict): string {
  const parts = [figures(counts)];
  for (const { rule, count, violation } of smallest(violations)) {
    parts.push(`VIOLATION, ${count} times: ${RULES[rule]}`, `  ${violation.text}`, ...excerpt(history, violation), '');
  }
  parts.push(violations.length === 0 ? 'the promise holds' : `the promise is broken: ${violations.length} violations`);
  return parts.join('\n');
}

/** The line of the table in docs/messages.md, with its head. */
export function rowOf({ counts, violations }: Verdict, seed: number, places: number): string {
  const head = [
    'seed',
    'processes',
    'faults',
    'messages',
    'handled',
    'not handled',
    'unknown',
    'in flight at faults',
    'broken',
  ];
  const numbers = [seed, counts.processes, counts.faults, counts.messages, counts.handled, counts.notHandled];
  const cells = [
    ...numbers.map((number, at) => (at === 0 ? `${number}, ${places} places` : number.toLocaleString('en-US'))),
    `${counts.unknown.toLocaleString('en-US')}: ${shares(counts.unknownByCause)}`,
    counts.inFlight.toLocaleString('en-US'),
    violations.length === 0 ? 'nothing' : `${violations.length}`,
  ];
  return [head, head.map(() => '---'), cells].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function figures(counts: Counts): string {
  const rows: [string, string][] = [
    ['processes', `${counts.processes}`],
    ['faults', `${counts.faults}: ${shares(counts.faultsByKind)}`],
    [
      'messages',
      `${counts.messages}, of which ${counts.calls} calls, ${counts.large} large or streamed, ${counts.withKey} with a key`,
    ],
    ['keys used again', `${counts.keysAgain}`],
    ['handler runs', `${counts.runs}`],
    ['handled', `${counts.handled}, of which ${counts.failed} threw`],
    ['not handled', `${counts.notHandled}`],
    [
      'unknown',
      `${counts.unknown}: ${shares(counts.unknownByCause)}; the handlers of ${counts.unknownButRan} ran to the end`,
    ],
    ['sender died first', `${counts.died}`],
    ['in flight at faults', `${counts.inFlight}`],
    ['codes', shares(counts.codes)],
  ];
  return rows.map(([name, text]) => `${name.padEnd(20)} ${text}`).join('\n');
}

function shares(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ') || 'none';
}
