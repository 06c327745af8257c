// What a history can break, by the numbers of the promise in docs/messages.md.

import type { HandlerRun, Message } from './facts.js';

export const RULES = {
  'handled-without-run': 'called handled, and no handler has run to its end (promise 1)',
  'answer-of-another-run': 'the answer is not of the run that it belongs to (promise 1)',
  'not-handled-but-ran': 'called not handled, and a handler ran (promise 2)',
  'ran-twice': 'its handler ran more than once (promise 3)',
  'out-of-order': 'a handler saw a message after a later one of the same sender (promise 5)',
  overlap: 'a handler began before the one of the message before it had finished (promise 5)',
  'key-ran-twice': 'two messages with one key ran two handlers of one receiver (promise 6)',
  'no-outcome': 'it has no outcome, and its sender lives',
  'two-outcomes': 'it has more than one outcome',
  'outcome-without-name': 'the error does not say what is known',
  'unknown-without-cause': 'called unknown, and nothing happened to it',
  damaged: 'what arrived is not what was sent',
  'never-sent': 'a handler ran for a message that nobody sent',
  'process-ended': 'a process ended by itself',
} as const;

export type Rule = keyof typeof RULES;

export interface Violation {
  readonly rule: Rule;
  readonly text: string;
  readonly messages: readonly Message[];
  readonly runs: readonly HandlerRun[];
  /** Of a violation without a message. */
  readonly process?: string;
}
