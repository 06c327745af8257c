// The checker of bench/history on histories made by hand: each way to break the promise is found, and nothing else.

import { describe, expect, it } from '@jest/globals';
import { check } from '../../../bench/history/check/check.js';
import { excerpt, smallest } from '../../../bench/history/check/excerpt.js';
import type {
  BeginEvent,
  EndEvent,
  OutcomeEvent,
  ProcessEvent,
  RunEvent,
  SendEvent,
} from '../../../bench/history/events.js';

const LIMITS = { resumeMs: 5_000, beforeMs: 3_000, lateMs: 200 };
const SENDER = 's0.0';
const RECEIVER = 'r0.0';

/** A message of the sender, by number, and what its sender says of it. */
function sent(number: number, at: number, more: Partial<SendEvent> = {}): SendEvent {
  const u = `${SENDER}/${number}`;
  return { e: 'send', t: at, u, kind: 'send', to: 'orders', at: ['r0'], body: 'small', timeoutMs: 8_000, ...more };
}

function outcome(
  number: number,
  at: number,
  name: OutcomeEvent['outcome'],
  more: Partial<OutcomeEvent> = {},
): OutcomeEvent {
  return { e: 'outcome', t: at, u: `${SENDER}/${number}`, outcome: name, ...more };
}

function begin(run: number, number: number, at: number, more: Partial<BeginEvent> = {}): BeginEvent {
  return { e: 'begin', t: at, run, u: `${SENDER}/${number}`, kind: 'send', service: 'orders', ...more };
}

function end(run: number, at: number, more: Partial<EndEvent> = {}): EndEvent {
  return { e: 'end', t: at, run, how: 'returned', ...more };
}

interface Written {
  readonly sender?: readonly ProcessEvent[];
  readonly receiver?: readonly ProcessEvent[];
  readonly again?: readonly ProcessEvent[];
  readonly run?: readonly RunEvent[];
}

function historyOf({ sender = [], receiver = [], again = [], run = [] }: Written) {
  const up = (nodeId: string): ProcessEvent => ({ e: 'up', t: 0, nodeId });
  const logs = [
    { process: SENDER, events: [up('S'), ...sender] },
    { process: RECEIVER, events: [up('R'), ...receiver] },
    { process: 'r0.1', events: [up('R'), ...again] },
  ];
  return { logs, run };
}

const broken = (written: Written): string[] => check(historyOf(written), LIMITS).violations.map(({ rule }) => rule);
const exit = (process: string, t: number, meant = true): RunEvent => ({ e: 'exit', t, process, how: 'SIGKILL', meant });

describe('A history in which', () => {
  it('messages run in order, one after the other, and are handled, keeps the promise', () => {
    const sender = [sent(0, 1), sent(1, 2), outcome(0, 8, 'handled', { nodeId: 'R' }), outcome(1, 12, 'handled')];
    const receiver = [begin(0, 0, 4), end(0, 5), begin(1, 1, 6), end(1, 7)];
    expect(broken({ sender, receiver })).toEqual([]);
  });

  it('a message is handled that never ran, or whose handler had not ended by then, breaks it', () => {
    const sender = [sent(0, 1), outcome(0, 8, 'handled')];
    expect(broken({ sender })).toEqual(['handled-without-run']);
    expect(broken({ sender, receiver: [begin(0, 0, 4)] })).toEqual(['handled-without-run']);
    expect(broken({ sender, receiver: [begin(0, 0, 4), end(0, 9)] })).toEqual(['handled-without-run']);
  });

  it('a stream broke before its handler knew which message it was keeps the promise: one such run for each outcome', () => {
    const code = 'ERR_STARLANE_HANDLER_FAILED';
    const sender = [sent(0, 1, { body: 'stream' }), outcome(0, 8, 'handled', { code })];
    const receiver = [begin(0, 0, 4, { u: undefined, from: 'S' }), end(0, 5, { how: 'threw' })];
    expect(broken({ sender, receiver })).toEqual([]);
    const second = [sent(1, 1, { body: 'stream' }), outcome(1, 8, 'handled', { code })];
    expect(broken({ sender: [...sender, ...second], receiver })).toEqual(['handled-without-run']);
    const others: readonly ProcessEvent[][] = [
      [begin(0, 0, 4, { u: undefined, from: 'other' }), end(0, 5, { how: 'threw' })],
      [begin(0, 0, 4, { u: undefined, from: 'S', service: 'own' }), end(0, 5, { how: 'threw' })],
      [begin(0, 0, 4, { u: undefined, from: 'S' }), end(0, 9, { how: 'threw' })],
      [begin(0, 0, 4, { u: undefined, from: 'S' }), end(0, 5)],
    ];
    for (const other of others) expect(broken({ sender, receiver: other })).toEqual(['handled-without-run']);
    const small = [sent(0, 1), outcome(0, 8, 'handled', { code })];
    expect(broken({ sender: small, receiver })).toEqual(['handled-without-run']);
  });

  it('the outcome is that of another run breaks it', () => {
    const receiver = [begin(0, 0, 4), end(0, 5)];
    const says = (more: Partial<OutcomeEvent>) => [sent(0, 1), outcome(0, 8, 'handled', more)];
    expect(broken({ sender: says({ code: 'ERR_STARLANE_HANDLER_FAILED' }), receiver })).toEqual([
      'answer-of-another-run',
    ]);
    expect(broken({ sender: says({ nodeId: 'other' }), receiver })).toEqual(['answer-of-another-run']);
    expect(broken({ sender: says({ by: 'r0.1' }), receiver })).toEqual(['answer-of-another-run']);
    const threw = [begin(0, 0, 4), end(0, 5, { how: 'threw' })];
    expect(broken({ sender: says({}), receiver: threw })).toEqual(['answer-of-another-run']);
    expect(broken({ sender: says({ code: 'ERR_STARLANE_HANDLER_FAILED' }), receiver: threw })).toEqual([]);
  });

  it('a message is not handled, and ran, breaks it, also if it ran later', () => {
    const sender = [sent(0, 1), outcome(0, 3, 'not-handled')];
    expect(broken({ sender })).toEqual([]);
    expect(broken({ sender, receiver: [begin(0, 0, 2), end(0, 3)] })).toEqual(['not-handled-but-ran']);
    expect(broken({ sender, again: [begin(0, 0, 900)] })).toEqual(['not-handled-but-ran']);
  });

  it('a message ran twice breaks it, in one process or in two, unless it does no harm twice', () => {
    const sender = (more: Partial<SendEvent>) => [sent(0, 1, more), outcome(0, 30, 'handled')];
    const once = [begin(0, 0, 4), end(0, 5)];
    const twice = [...once, begin(1, 0, 6), end(1, 7)];
    expect(broken({ sender: sender({}), receiver: twice })).toEqual(['ran-twice']);
    expect(broken({ sender: sender({}), receiver: once, again: once })).toEqual(['ran-twice']);
    expect(broken({ sender: sender({ idempotent: true }), receiver: once, again: once })).toEqual([]);
  });

  it('a later message runs first, or before the end of the earlier one, breaks it; calls and other inboxes have no order', () => {
    const sender = [sent(0, 1), sent(1, 2), outcome(0, 20, 'handled'), outcome(1, 20, 'handled')];
    const swapped = [begin(0, 1, 4), end(0, 5), begin(1, 0, 6), end(1, 7)];
    const overlapping = [begin(0, 0, 4), begin(1, 1, 5), end(0, 6), end(1, 7)];
    expect(broken({ sender, receiver: swapped })).toEqual(['out-of-order']);
    expect(broken({ sender, receiver: overlapping })).toEqual(['overlap']);
    const elsewhere = swapped.map((event) =>
      event.e === 'begin' && event.run === 1 ? { ...event, service: 'own' } : event,
    );
    expect(broken({ sender, receiver: elsewhere })).toEqual([]);
    const calls = sender.map((event) => (event.e === 'send' ? { ...event, kind: 'call' as const } : event));
    const ran = overlapping.map((event) => (event.e === 'begin' ? { ...event, kind: 'call' as const } : event));
    expect(broken({ sender: calls, receiver: ran })).toEqual([]);
  });

  it('one key runs twice in one process breaks it; the second message gets the outcome of the first', () => {
    const key = 'k';
    const sender = [sent(0, 1, { key }), sent(1, 2, { key }), outcome(0, 20, 'handled'), outcome(1, 20, 'handled')];
    expect(broken({ sender, receiver: [begin(0, 0, 4), end(0, 5)] })).toEqual([]);
    expect(broken({ sender, receiver: [begin(0, 0, 4), end(0, 5), begin(1, 1, 6), end(1, 7)] })).toEqual([
      'key-ran-twice',
    ]);
    expect(broken({ sender, receiver: [begin(0, 0, 4), end(0, 5)], again: [begin(0, 1, 6), end(0, 7)] })).toEqual([]);
  });

  it('a send of a living sender has no outcome, or two, or one without a name, breaks it', () => {
    const closed: ProcessEvent = { e: 'closed', t: 99, open: 0 };
    expect(broken({ sender: [sent(0, 1)], run: [exit(SENDER, 2)] })).toEqual([]);
    expect(broken({ sender: [sent(0, 1), closed] })).toEqual(['no-outcome']);
    expect(broken({ sender: [sent(0, 1), outcome(0, 2, 'not-handled'), outcome(0, 3, 'not-handled')] })).toEqual([
      'two-outcomes',
    ]);
    expect(broken({ sender: [sent(0, 1), outcome(0, 2, 'none')] })).toEqual(['outcome-without-name']);
  });

  it('an outcome is unknown for no reason breaks it', () => {
    const unknown = (at: number, more: Partial<SendEvent> = {}) => [sent(0, 10_000, more), outcome(0, at, 'unknown')];
    const cut: RunEvent = { e: 'fault', kind: 'cut', t: 10_001, until: 10_100, of: ['s0', 'm0'], detail: '' };
    expect(broken({ sender: unknown(10_100) })).toEqual(['unknown-without-cause']);
    expect(broken({ sender: unknown(10_100), run: [exit(RECEIVER, 10_050)] })).toEqual([]);
    expect(broken({ sender: unknown(10_100), run: [exit('r1.0', 10_050)] })).toEqual(['unknown-without-cause']);
    expect(broken({ sender: unknown(10_100), run: [cut] })).toEqual(['unknown-without-cause']);
    expect(broken({ sender: unknown(15_100), run: [cut] })).toEqual([]);
    expect(broken({ sender: unknown(10_100, { timeoutMs: 100 }) })).toEqual([]);
    expect(broken({ sender: unknown(10_100, { abortMs: 90 }) })).toEqual([]);
    const ending = (of: string): RunEvent => ({ ...cut, kind: 'restart', of: [of] });
    expect(broken({ sender: unknown(10_100), run: [ending('s0')] })).toEqual([]);
    expect(broken({ sender: unknown(10_100), run: [ending('s1')] })).toEqual(['unknown-without-cause']);
  });

  it('a handler gets other bytes, or a message that nobody sent, breaks it', () => {
    const sender = [sent(0, 1), outcome(0, 8, 'handled')];
    expect(broken({ sender, receiver: [begin(0, 0, 4), end(0, 5, { damage: 'shorter' })] })).toEqual(['damaged']);
    expect(broken({ receiver: [begin(0, 7, 4), end(0, 5)] })).toEqual(['never-sent']);
  });

  it('a process ends by itself breaks it', () => {
    expect(broken({ run: [exit(RECEIVER, 5, false)] })).toEqual(['process-ended']);
  });
});

describe('The report', () => {
  it('counts what was in flight during the faults, and what became of it', () => {
    const sender = [
      sent(0, 1),
      sent(1, 2),
      sent(2, 50),
      outcome(0, 5, 'handled'),
      outcome(1, 30, 'unknown'),
      outcome(2, 60, 'not-handled'),
    ];
    const receiver = [begin(0, 0, 2), end(0, 3), begin(1, 1, 4), end(1, 5)];
    const fault: RunEvent = { e: 'fault', kind: 'kill', t: 10, until: 20, of: ['r0'], detail: '' };
    const { counts } = check(historyOf({ sender, receiver, run: [fault, exit(RECEIVER, 11)] }), LIMITS);
    expect(counts).toMatchObject({
      messages: 3,
      handled: 1,
      unknown: 1,
      unknownButRan: 1,
      notHandled: 1,
      inFlight: 1,
      faults: 1,
    });
    expect([...counts.unknownByCause]).toEqual([['receiver ended', 1]]);
  });

  it('shows the lines of the violation with the fewest of them, and the faults near it', () => {
    const sender = [sent(0, 1), sent(1, 2), outcome(0, 900, 'handled'), outcome(1, 9, 'handled')];
    const run: RunEvent[] = [exit(RECEIVER, 6), exit('r7.0', 6)];
    const history = historyOf({ sender, receiver: [begin(0, 0, 4)], run });
    const [{ rule, count, violation }] = smallest(check(history, LIMITS).violations);
    expect([rule, count, violation.messages[0].number]).toEqual(['handled-without-run', 2, 1]);
    const words = excerpt(history, violation).map((line) => line.trim().split(/\s+/).slice(1, 3).join(' '));
    expect(words).toEqual(['s0.0 up', 's0.0 send', 'run exit', 's0.0 outcome']);
  });
});
