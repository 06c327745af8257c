// The rules of the promise (docs/messages.md) for single messages, order and keys. Each yields what breaks it.

import { type EndEvent, nameOf, type OutcomeEvent } from '../events.js';
import type { Facts, HandlerRun, Message } from './facts.js';
import type { Violation } from './violation.js';

/** Outcomes, and how often handlers ran. */
export function* outcomeRules(facts: Facts): Iterable<Violation> {
  const byKey = runsByKey(facts);
  const nameless = new NamelessRuns(facts);
  for (const message of facts.messages.values()) {
    yield* countOfOutcomes(facts, message);
    yield* countOfRuns(message);
    const { outcome } = message;
    if (outcome?.outcome === 'handled') yield* handledRules(facts, message, byKey, nameless);
    else if (outcome?.outcome === 'not-handled') yield* notHandledRules(message);
    else if (outcome?.outcome === 'none') {
      yield one('outcome-without-name', message, `an error ${outcome.code ?? ''} without an outcome: ${outcome.why}`);
    }
  }
}

/** What a handler got. */
export function* contentRules({ runs, messages }: Facts): Iterable<Violation> {
  for (const run of runs) {
    const message = run.u === undefined ? undefined : messages.get(run.u);
    const about = message === undefined ? [] : [message];
    if (run.u !== undefined && message === undefined) {
      yield { rule: 'never-sent', text: `${run.receiver} ran a handler for ${run.u}`, messages: about, runs: [run] };
    }
    if (run.damage !== undefined) {
      yield { rule: 'damaged', text: `${run.u} at ${run.receiver}: ${run.damage}`, messages: about, runs: [run] };
    }
  }
}

/**
 * The order of sends of one sending process at one inbox of one receiving process. Calls have none; neither has what may be sent again
 * by itself, since it is `idempotent`.
 */
export function* orderRules({ runs, messages }: Facts): Iterable<Violation> {
  const latest = new Map<string, HandlerRun>();
  for (const run of runs) {
    const message = run.u === undefined ? undefined : messages.get(run.u);
    if (message === undefined || run.kind !== 'send' || message.sent.idempotent) continue;
    const lane = `${message.sender} ${run.receiver} ${run.service}`;
    const before = latest.get(lane);
    latest.set(lane, run);
    if (before?.u === undefined) continue;
    const earlier = messages.get(before.u) as Message;
    if (earlier.number > message.number) {
      const text = `${message.sent.u} ran after ${earlier.sent.u} at ${run.receiver}, service ${run.service}`;
      yield { rule: 'out-of-order', text, messages: [earlier, message], runs: [before, run] };
    }
    if (before.ended === undefined || before.ended.line > run.line) {
      const text = `${message.sent.u} began before ${earlier.sent.u} had finished at ${run.receiver}`;
      yield { rule: 'overlap', text, messages: [earlier, message], runs: [before, run] };
    }
  }
}

/** One run for each key of a sender at each inbox of a receiving process, which keeps keys at least as long as a run uses them. */
export function* keyRules(facts: Facts): Iterable<Violation> {
  for (const [place, runs] of runsByKey(facts)) {
    if (runs.length < 2) continue;
    const messages = runs.map(({ u }) => facts.messages.get(u as string) as Message);
    yield { rule: 'key-ran-twice', text: `${runs.length} runs for ${place}`, messages, runs };
  }
}

function* countOfOutcomes(facts: Facts, message: Message): Iterable<Violation> {
  const { outcome, furtherOutcomes, sent, sender } = message;
  if (furtherOutcomes.length > 0) yield one('two-outcomes', message, `${sent.u} has ${1 + furtherOutcomes.length}`);
  if (outcome === undefined && facts.lifetimes.get(sender)?.closed !== undefined) {
    yield one('no-outcome', message, `${sent.u} has no outcome, although ${sender} came to an orderly end`);
  }
}

/** What is declared harmless twice may run twice. */
function* countOfRuns(message: Message): Iterable<Violation> {
  const { runs, sent } = message;
  if (runs.length < 2 || sent.idempotent) return;
  yield one('ran-twice', message, `${sent.u} ran at ${runs.map((run) => `${run.receiver} (${run.run})`).join(', ')}`);
}

function* handledRules(
  { lifetimes }: Facts,
  message: Message,
  byKey: ReadonlyMap<string, readonly HandlerRun[]>,
  nameless: NamelessRuns,
): Iterable<Violation> {
  const { sent, runs, outcome } = message;
  if (outcome === undefined) return;
  if (sent.body === 'stream' && runs.length === 0 && nameless.take(message, outcome)) return;
  const candidates = sent.key === undefined ? runs : runsOfKey(message, lifetimes, byKey);
  const ended = candidates.filter((run) => run.ended !== undefined && run.ended.t <= outcome.t);
  if (ended.length === 0) {
    const what = candidates.length === 0 ? 'no handler ran' : 'no run of it had ended';
    yield one('handled-without-run', message, `${sent.u}: ${what}`);
    return;
  }
  const how = howOf(outcome.code);
  const fitting = ended.filter(
    (run) =>
      run.ended?.how === how &&
      (outcome.nodeId === undefined || lifetimes.get(run.receiver)?.nodeId === outcome.nodeId) &&
      (outcome.by === undefined || run.receiver === outcome.by),
  );
  if (fitting.length > 0) return;
  const said = `${how}, node ${outcome.nodeId ?? '-'}, process ${outcome.by ?? '-'}`;
  yield one('answer-of-another-run', message, `${sent.u}: the outcome says ${said}`);
}

/**
 * Runs of handlers whose stream broke before it said which message it was. Each accounts for one outcome: that of a stream which the same
 * node sent to the same inbox, and whose handler has ended in the same way.
 */
class NamelessRuns {
  private readonly left: Set<HandlerRun>;

  constructor(private readonly facts: Facts) {
    this.left = new Set(facts.runs.filter(({ u }) => u === undefined));
  }

  take({ sent, sender }: Message, { t, code }: OutcomeEvent): boolean {
    const how = howOf(code);
    const nodeId = this.facts.lifetimes.get(sender)?.nodeId;
    for (const run of this.left) {
      const { ended, from, kind, receiver, service } = run;
      const isAtTarget = sent.at.includes(nameOf(receiver)) && service === (sent.to.startsWith('@') ? 'own' : sent.to);
      if (!isAtTarget || kind !== sent.kind || from !== nodeId || run.t < sent.t) continue;
      if (ended === undefined || ended.t > t || ended.how !== how) continue;
      this.left.delete(run);
      return true;
    }
    return false;
  }
}

/** Returns how the handler has ended, by the code of an outcome that says that it has. */
function howOf(code: string | undefined): EndEvent['how'] {
  return code === 'ERR_STARLANE_HANDLER_FAILED' ? 'threw' : 'returned';
}

function* notHandledRules(message: Message): Iterable<Violation> {
  const { runs, sent, outcome } = message;
  if (runs.length === 0) return;
  const text = `${sent.u} is not handled (${outcome?.code ?? ''}), and ran at ${runs.map((run) => run.receiver).join(', ')}`;
  yield one('not-handled-but-ran', message, text);
}

/** By sender's identity, key, receiving process and inbox. */
function runsByKey({ runs, messages, lifetimes }: Facts): Map<string, HandlerRun[]> {
  const found = new Map<string, HandlerRun[]>();
  for (const run of runs) {
    const message = run.u === undefined ? undefined : messages.get(run.u);
    if (message?.sent.key === undefined || message.sent.idempotent) continue;
    const sender = lifetimes.get(message.sender)?.nodeId ?? message.sender;
    const place = `key ${message.sent.key} of ${sender} at ${run.receiver}, ${run.kind} to ${run.service}`;
    const there = found.get(place);
    if (there === undefined) found.set(place, [run]);
    else there.push(run);
  }
  return found;
}

/** The runs whose outcome a message with a key may have got: its own, and those of other messages with its key. */
function runsOfKey(
  { sent, sender, runs }: Message,
  lifetimes: Facts['lifetimes'],
  byKey: ReadonlyMap<string, readonly HandlerRun[]>,
): readonly HandlerRun[] {
  const identity = lifetimes.get(sender)?.nodeId ?? sender;
  const others: HandlerRun[] = [];
  for (const lifetime of lifetimes.values()) {
    if (!sent.at.some((name) => lifetime.process.startsWith(`${name}.`))) continue;
    for (const service of [sent.to, 'own']) {
      const place = `key ${sent.key} of ${identity} at ${lifetime.process}, ${sent.kind} to ${service}`;
      others.push(...(byKey.get(place) ?? []));
    }
  }
  return [...runs, ...others];
}

function one(rule: Violation['rule'], message: Message, text: string): Violation {
  return { rule, text, messages: [message], runs: message.runs };
}
