// A history, sorted by message: what was sent, what became of it by its sender's account, and where its handler ran.

import {
  type ExitEvent,
  type FaultEvent,
  type History,
  type MessageKind,
  numberOf,
  type OutcomeEvent,
  type ProcessEvent,
  type SendEvent,
  senderOf,
} from '../events.js';

/** A message or call. */
export interface Message {
  readonly sent: SendEvent;
  /** The process that sent it. */
  readonly sender: string;
  readonly number: number;
  /** The first outcome. */
  outcome: OutcomeEvent | undefined;
  /** Any further ones. */
  readonly furtherOutcomes: OutcomeEvent[];
  readonly runs: HandlerRun[];
}

/** A handler that was called. */
export interface HandlerRun {
  readonly u: string | undefined;
  readonly kind: MessageKind;
  /** The node that the message came from, by the account of the receiver. */
  readonly from: string | undefined;
  /** The process in which it ran, and the number of the run there. */
  readonly receiver: string;
  readonly run: number;
  readonly service: string;
  readonly key: string | undefined;
  readonly t: number;
  /** Of the line in the receiver's journal. */
  readonly line: number;
  ended: { readonly t: number; readonly line: number; readonly how: 'returned' | 'threw' } | undefined;
  damage: string | undefined;
}

/** A process of the run. */
export interface Lifetime {
  readonly process: string;
  nodeId: string | undefined;
  /** When it said that all is done. */
  closed: { readonly t: number; readonly open: number } | undefined;
  exit: ExitEvent | undefined;
}

export interface Facts {
  readonly messages: ReadonlyMap<string, Message>;
  readonly runs: readonly HandlerRun[];
  readonly lifetimes: ReadonlyMap<string, Lifetime>;
  readonly faults: readonly FaultEvent[];
  readonly exits: readonly ExitEvent[];
  /** Outcomes of messages that nobody sent. */
  readonly stray: readonly OutcomeEvent[];
}

export function factsOf(history: History): Facts {
  const messages = new Map<string, Message>();
  const runs: HandlerRun[] = [];
  const lifetimes = new Map<string, Lifetime>();
  const stray: OutcomeEvent[] = [];
  for (const { process, events } of history.logs) {
    lifetimes.set(process, { process, nodeId: undefined, closed: undefined, exit: undefined });
    for (const event of events) if (event.e === 'send') messages.set(event.u, messageOf(event));
  }
  for (const { process, events } of history.logs) {
    const open = new Map<number, HandlerRun>();
    events.forEach((event, line) => {
      if (event.e === 'outcome') addOutcome(messages, stray, event);
      else if (event.e === 'begin' || event.e === 'end') addRun(process, event, line, open, runs);
      else addState(lifetimes.get(process) as Lifetime, event);
    });
  }
  for (const run of runs) if (run.u !== undefined) messages.get(run.u)?.runs.push(run);
  const exits = history.run.filter((event): event is ExitEvent => event.e === 'exit');
  for (const exit of exits) {
    const lifetime = lifetimes.get(exit.process);
    if (lifetime !== undefined) lifetime.exit = exit;
  }
  const faults = history.run.filter((event): event is FaultEvent => event.e === 'fault');
  return { messages, runs, lifetimes, faults, exits, stray };
}

function messageOf(sent: SendEvent): Message {
  const { u } = sent;
  return { sent, sender: senderOf(u), number: numberOf(u), outcome: undefined, furtherOutcomes: [], runs: [] };
}

function addOutcome(messages: ReadonlyMap<string, Message>, stray: OutcomeEvent[], event: OutcomeEvent): void {
  const message = messages.get(event.u);
  if (message === undefined) stray.push(event);
  else if (message.outcome === undefined) message.outcome = event;
  else message.furtherOutcomes.push(event);
}

function addRun(
  receiver: string,
  event: Extract<ProcessEvent, { e: 'begin' | 'end' }>,
  line: number,
  open: Map<number, HandlerRun>,
  runs: HandlerRun[],
): void {
  if (event.e === 'begin') {
    const { u, kind, from, run, service, key, t } = event;
    const begun = { u, kind, from, receiver, run, service, key, t, line, ended: undefined, damage: undefined };
    open.set(run, begun);
    runs.push(begun);
    return;
  }
  const begun = open.get(event.run);
  if (begun === undefined) return;
  begun.ended = { t: event.t, line, how: event.how };
  begun.damage = event.damage;
}

function addState(lifetime: Lifetime, event: ProcessEvent): void {
  if (event.e === 'up') lifetime.nodeId = event.nodeId;
  else if (event.e === 'closed') lifetime.closed = { t: event.t, open: event.open };
}
