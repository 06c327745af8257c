// Errors of schemas on a lane, which carries the code and the text of an error: the issues travel in the text.

import { codeOf } from '../../errors.js';
import { type MessageError, Refusal } from '../outcome.js';
import { readIssues, SchemaError } from './validation.js';

/** What a lane carries of a text. */
const MAX_TEXT = 2_000;

/** Returns what a handler of the inbox throws for an error of this layer. */
export function unaryFailure(error: unknown): Error {
  const known = error as MessageError;
  const text = error instanceof SchemaError ? textOf(error) : known.message;
  if (known.outcome === 'not-handled') return new Refusal(known.code, text);
  return Object.assign(new Error(text), { code: known.code });
}

/** Returns the error of a call over a lane as the caller gets it. */
export function receivedUnary(error: unknown): unknown {
  const { outcome, cause, code } = error as MessageError;
  const sent = cause as Error | undefined;
  if (sent === undefined || codeOf(sent) !== 'ERR_STARLANE_SCHEMA') return error;
  if (code !== 'ERR_STARLANE_SCHEMA' && code !== 'ERR_STARLANE_HANDLER_FAILED') return error;
  try {
    const [detail, issues] = JSON.parse(sent.message) as [unknown, unknown];
    return new SchemaError(outcome, String(detail), readIssues(issues));
  } catch {
    return error;
  }
}

function textOf({ detail, issues }: SchemaError): string {
  // As many issues as there is room for.
  for (let count = issues.length; count > 0; count = Math.floor(count / 2)) {
    const text = JSON.stringify([detail.slice(0, MAX_TEXT / 4), issues.slice(0, count)]);
    if (text.length <= MAX_TEXT) return text;
  }
  return JSON.stringify([detail.slice(0, MAX_TEXT / 4), []]);
}
