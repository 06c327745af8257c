// What a dialler's user sees of a failed OPEN: an error of net, and the inner reason as its cause.

import type { NodeId } from '../../address.js';
import { type NetErrorCode, starlaneError } from '../../errors.js';
import { ReplyCode } from '../../wire/open-reply.js';
import type { HopFailure } from '../open/hop-search.js';

/** The code of net for a failure on the way to `dst`. */
export function netCodeOf({ code, at }: HopFailure, dst: NodeId): NetErrorCode {
  switch (code) {
    case ReplyCode.NO_ROUTE:
    case ReplyCode.HOP_LIMIT:
    case ReplyCode.LOOP:
    case ReplyCode.INSECURE:
      return 'EHOSTUNREACH';
    case ReplyCode.LIMIT:
      // A relay without room says nothing of the server.
      return at === dst ? 'ECONNREFUSED' : 'EHOSTUNREACH';
    case ReplyCode.DENIED:
      return 'EACCES';
    case ReplyCode.TIMEOUT:
      return 'ETIMEDOUT';
    default:
      return 'ECONNREFUSED';
  }
}

/** Who says what; undefined when nothing more than the code is known. */
export function causeOf({ code, at, reason, error }: HopFailure, dst: NodeId): Error | undefined {
  if (error !== undefined) return error;
  const said = reason === '' ? at : `${at} says: ${reason}`;
  if (code === ReplyCode.LIMIT && at !== dst) return starlaneError('ERR_STARLANE_RELAY_LIMIT', said);
  if (code === ReplyCode.INSECURE) return starlaneError('ERR_STARLANE_SECURE', said);
  if (code === ReplyCode.TIMEOUT) return starlaneError('ERR_STARLANE_OPEN_TIMEOUT', said);
  return reason === '' && at === dst ? undefined : new Error(said);
}
