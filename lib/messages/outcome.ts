// What is known of a message or call at its end: docs/messages.md has the promise.

import { ERRORS, type ErrorCode } from '../errors.js';

/**
 * 'handled': a handler ran, and has finished or failed. 'not-handled': certainly no handler ran, and none will. 'unknown': either.
 * What is unknown must not be sent again unless it does no harm twice.
 */
export type Outcome = 'handled' | 'not-handled' | 'unknown';

/** Why a message, a call or a request failed, and what is known of it. Test `code` or `outcome`, not the message. */
export class MessageError extends Error {
  override readonly name = 'MessageError';

  constructor(
    /** One of those in ERRORS. */
    readonly code: ErrorCode,
    /** What is known of the message or call. */
    readonly outcome: Outcome,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Returns the error for a message that certainly reached no handler. `cause`: why. */
export function notHandled(detail: string, cause?: unknown): MessageError {
  return messageError('ERR_STARLANE_NOT_HANDLED', 'not-handled', detail, cause);
}

/** Returns the error for a message whose handler may have run or not. `cause`: what came in between. */
export function outcomeUnknown(detail: string, cause?: unknown): MessageError {
  return messageError('ERR_STARLANE_OUTCOME_UNKNOWN', 'unknown', detail, cause);
}

/** Returns the error for `code`. `detail` is appended to the text of the table of errors. */
export function messageError(code: ErrorCode, outcome: Outcome, detail: string, cause?: unknown): MessageError {
  return new MessageError(
    code,
    outcome,
    `${ERRORS[code].message}: ${detail}`,
    cause === undefined ? undefined : { cause },
  );
}

/** @internal Thrown by handlers of the library that have not run the handler of the user: the message counts as not handled. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  constructor(
    readonly code: ErrorCode,
    message: string,
  ) {
    super(message);
  }
}
