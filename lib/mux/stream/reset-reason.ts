// Why a stream was reset. Between Starlane nodes RST carries it in the length field, which yamux does not use there: the
// reason in the low byte, and in the next one how many hops on it arose. Relays pass it on.

import { type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';

/** The numbers are the wire: append only. */
export const ResetReason = {
  /** A user, or nothing to be told. */
  NONE: 0,
  /** A link of the circuit was lost. */
  LINK_LOST: 1,
  /** A relay needs the memory. */
  RELAY_LIMIT: 2,
  /** A relay is closing. */
  RELAY_CLOSED: 3,
  /** The next node did not answer in time. */
  TIMEOUT: 4,
  /** What has arrived is not what was sent: the circuit is encrypted from end to end. */
  SECURE: 5,
} as const;

const REASON_BITS = 0xff;
const HOP_SHIFT = 8;
const MAX_HOPS = 0xff;
const MESSAGES: ReadonlyMap<number, readonly [StarlaneErrorCode, (where: string) => string]> = new Map([
  [ResetReason.LINK_LOST, ['ERR_STARLANE_LINK_LOST', (where) => `a link ${where}`]],
  [ResetReason.RELAY_LIMIT, ['ERR_STARLANE_RELAY_LIMIT', (where) => `a relay ${where}`]],
  [ResetReason.RELAY_CLOSED, ['ERR_STARLANE_CLOSED', (where) => `a relay ${where}`]],
  [ResetReason.TIMEOUT, ['ERR_STARLANE_OPEN_TIMEOUT', (where) => `a node ${where}`]],
  [ResetReason.SECURE, ['ERR_STARLANE_SECURE', (where) => `so says a node ${where}`]],
]);

/** What the length field of an RST says; bits of later versions are left out. */
export function readResetReason(length: number): number {
  return length & (REASON_BITS | (MAX_HOPS << HOP_SHIFT));
}

/** The same reason as the next node is to see it: one hop further away. */
export function passedOn(reason: number): number {
  if ((reason & REASON_BITS) === ResetReason.NONE) return ResetReason.NONE;
  const hops = Math.min((reason >>> HOP_SHIFT) + 1, MAX_HOPS);
  return (reason & REASON_BITS) | (hops << HOP_SHIFT);
}

/** Made once for each reason: a link that is lost may reset a million streams. */
const errors = new Map<number, StarlaneError>();

/** What the user of a stream that was reset gets to see. */
export function resetError(streamId: number, reason: number): StarlaneError {
  const known = errors.get(reason);
  if (known !== undefined) return known;
  const found = MESSAGES.get(reason & REASON_BITS);
  if (found === undefined) return starlaneError('ERR_STARLANE_STREAM_RESET', `stream ${streamId}`);
  const [code, what] = found;
  const hops = reason >>> HOP_SHIFT;
  const error = starlaneError(code, what(hops === 1 ? '1 hop on' : `${hops} hops on`));
  // A trace that nobody has read keeps the objects that it leads through: the session of this stream, for ever.
  void error.stack;
  errors.set(reason, error);
  return error;
}
