// Errors of a call as they travel: the code, what is certain, a text, and what does not fit.

import { ERRORS, type ErrorCode } from '../../../errors.js';
import { wordsOf } from '../../failure.js';
import { MessageError, messageError, type Outcome } from '../../outcome.js';
import { readIssues, SchemaError } from '../validation.js';

const MAX_TEXT = 2_000;
const OUTCOMES: readonly string[] = ['handled', 'not-handled', 'unknown'] satisfies Outcome[];

/** An error as JSON. */
export interface SentFailure {
  readonly code: string;
  readonly outcome: Outcome;
  readonly message: string;
  readonly issues?: unknown;
}

/** Returns what the caller may know of an error, and of the call. */
export function sentFailure(error: MessageError, outcome: Outcome): SentFailure {
  const issues = error instanceof SchemaError ? { issues: error.issues } : {};
  return { code: error.code, outcome, message: error.message.slice(0, MAX_TEXT), ...issues };
}

/** Returns the error for what a handler has thrown. An error of a call that the handler has made itself says nothing of its own call. */
export function handlerFailed(error: unknown): MessageError {
  const { code, text } = wordsOf(error);
  const detail = code === undefined || text.includes(code) ? text : `${code}: ${text}`;
  return messageError('ERR_STARLANE_HANDLER_FAILED', 'handled', detail, error);
}

/** Returns the error of another node, which may send anything. */
export function receivedFailure(value: unknown): MessageError {
  const { code, outcome, message, issues } = (value ?? {}) as Partial<Record<keyof SentFailure, unknown>>;
  const isKnown = typeof code === 'string' && Object.hasOwn(ERRORS, code);
  const knownCode = isKnown ? (code as ErrorCode) : 'ERR_STARLANE_HANDLER_FAILED';
  const knownOutcome = OUTCOMES.includes(outcome as string) ? (outcome as Outcome) : 'unknown';
  const text = typeof message === 'string' ? message.slice(0, MAX_TEXT) : ERRORS[knownCode].message;
  if (knownCode !== 'ERR_STARLANE_SCHEMA') return new MessageError(knownCode, knownOutcome, text);
  return new SchemaError(knownOutcome, text.replace(`${ERRORS.ERR_STARLANE_SCHEMA.message}: `, ''), readIssues(issues));
}
