// Errors of handlers, as they travel: code and message, and no stack.

import { codeOf, ERRORS, type ErrorCode, netError } from '../errors.js';
import { type MessageError, messageError, notHandled, outcomeUnknown, Refusal } from './outcome.js';
import type { Answer } from './receive/incoming.js';
import { Kind, OutcomeCode } from './wire/frames.js';

/** Characters of the message of an error, and of its code. */
const MAX_MESSAGE = 2_000;
const MAX_CODE = 100;

/** Returns the outcome of a handler that has thrown. */
export function failureOf(error: unknown): Answer {
  const isRefusal = error instanceof Refusal;
  const message = String((error as Error | undefined)?.message ?? error).slice(0, MAX_MESSAGE);
  const payload = JSON.stringify([codeOf(error)?.slice(0, MAX_CODE) ?? null, message]);
  const code = isRefusal ? OutcomeCode.REFUSED : OutcomeCode.FAILED;
  return { code, kind: Kind.TEXT, payload, bytes: Buffer.byteLength(payload), source: undefined };
}

/** What a handler has thrown, at the sender. */
class HandlerError extends Error {
  override readonly name = 'HandlerError';

  constructor(
    message: string,
    readonly code: string | undefined,
  ) {
    super(message);
    this.stack = `${this.name}: ${message}`;
  }
}

/** Returns the error of a call or message for the outcome that its receiver has reported. */
export function errorOfOutcome(code: number, text: string, where: string, isCall: boolean): MessageError {
  switch (code) {
    case OutcomeCode.FAILED: {
      const error = readFailure(text);
      return messageError('ERR_STARLANE_HANDLER_FAILED', 'handled', error.message, error);
    }
    case OutcomeCode.REFUSED: {
      const error = readFailure(text);
      const known =
        error.code !== undefined && error.code in ERRORS ? (error.code as ErrorCode) : 'ERR_STARLANE_NOT_HANDLED';
      return messageError(known, 'not-handled', error.message, error);
    }
    case OutcomeCode.NO_ANSWER:
      return messageError('ERR_STARLANE_ANSWER_LOST', 'handled', `${where}: it was handled before`);
    case OutcomeCode.NO_HANDLER:
      return messageError('ERR_STARLANE_NO_HANDLER', 'not-handled', where);
    case OutcomeCode.SIZE:
      return messageError('ERR_STARLANE_MESSAGE_SIZE', 'not-handled', where);
    case OutcomeCode.FULL:
      return messageError('ERR_STARLANE_QUEUE_FULL', 'not-handled', where);
    case OutcomeCode.LATE:
      return late(where, isCall);
    case OutcomeCode.CANCELLED:
      return notHandled(`${where}: it was taken back`);
    case OutcomeCode.CONTENT:
      return notHandled(`${where}: its content did not arrive`);
    case OutcomeCode.LEAVING:
      return notHandled(`${where}: the receiver is about to close`);
    default:
      return outcomeUnknown(`${where}: the receiver does not know any more`);
  }
}

/** Its turn did not come in time. */
function late(where: string, isCall: boolean): MessageError {
  const cause = netError('ETIMEDOUT', isCall ? 'call' : 'send', { address: where });
  const detail = `${where}: its turn did not come in time`;
  return isCall ? messageError('ETIMEDOUT', 'not-handled', detail, cause) : notHandled(detail, cause);
}

function readFailure(text: string): HandlerError {
  try {
    const [code, message] = JSON.parse(text) as [unknown, unknown];
    return new HandlerError(
      String(message).slice(0, MAX_MESSAGE),
      typeof code === 'string' ? code.slice(0, MAX_CODE) : undefined,
    );
  } catch {
    return new HandlerError('the error could not be read', undefined);
  }
}
