// Refusals in words: of the wire, of the end that refuses, and of the end that is refused.

import type { NodeId } from '../../address.js';
import { codeOf, type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { RefusalCode } from '../../wire/enrolment.js';

/** Clocks that differ by more are an error: certificates and tokens are about time. */
export const MAX_CLOCK_DIFFERENCE_MS = 5 * 60_000;

const CODES: ReadonlyMap<number, StarlaneErrorCode> = new Map([
  [RefusalCode.TOKEN, 'ERR_STARLANE_TOKEN'],
  [RefusalCode.USED, 'ERR_STARLANE_TOKEN_USED'],
  [RefusalCode.EXPIRED, 'ERR_STARLANE_TOKEN_EXPIRED'],
  [RefusalCode.WRONG_NETWORK, 'ERR_STARLANE_WRONG_NETWORK'],
  [RefusalCode.CLOCK, 'ERR_STARLANE_CLOCK'],
  [RefusalCode.REVOKED, 'ERR_STARLANE_REVOKED'],
  [RefusalCode.LIMIT, 'ERR_STARLANE_ENROLMENT'],
  [RefusalCode.UNREACHABLE, 'ERR_STARLANE_ENROLMENT'],
  [RefusalCode.MALFORMED, 'ERR_STARLANE_ENROLMENT'],
  [RefusalCode.AUTHORITY, 'ERR_STARLANE_AUTHORITY'],
  [RefusalCode.CERTIFICATE_EXPIRED, 'ERR_STARLANE_CERTIFICATE_EXPIRED'],
  [RefusalCode.CERTIFICATE, 'ERR_STARLANE_CERTIFICATE'],
  [RefusalCode.NAME, 'ERR_STARLANE_MEMBER_NAME'],
] as const);

/** Codes of which another node may give another answer: what they say is about the node that was asked. */
const LOCAL: ReadonlySet<number> = new Set([
  RefusalCode.WRONG_NETWORK,
  RefusalCode.LIMIT,
  RefusalCode.UNREACHABLE,
  RefusalCode.AUTHORITY,
]);

/** Why a request is refused. Thrown where it is decided. */
export class EnrolmentRefusal extends Error {
  /**
   * @param reason for the other end
   * @param localReason for this end. Default: the same
   */
  constructor(
    readonly code: number,
    readonly reason: string,
    readonly localReason: string = reason,
  ) {
    super(reason);
  }

  /** The error of the end that refuses. */
  get error(): StarlaneError {
    return errorOf(this.code, this.localReason);
  }
}

/** Returns the error for a refusal that the other end has sent. */
export function errorOf(code: number, reason: string): StarlaneError {
  return starlaneError(CODES.get(code) ?? 'ERR_STARLANE_ENROLMENT', reason);
}

/** Returns whether it is worth asking another node. */
export function isLocal(code: number): boolean {
  return LOCAL.has(code) || !CODES.has(code);
}

/** Returns the code of a refusal for an error; MALFORMED for all that have none. */
export function refusalCodeOf(error: unknown): number {
  const wanted = codeOf(error);
  for (const [code, name] of CODES) if (name === wanted) return code;
  return RefusalCode.MALFORMED;
}

/** Returns a phrase for how much the clock of `who` differs; undefined when it is close enough. */
export function clockFault(who: string, itsMs: number, whose: string, ownMs: number): string | undefined {
  const differenceMs = itsMs - ownMs;
  if (Math.abs(differenceMs) <= MAX_CLOCK_DIFFERENCE_MS) return undefined;
  const direction = differenceMs > 0 ? 'ahead of' : 'behind';
  return `the clock of ${who} is ${spanOf(Math.abs(differenceMs))} ${direction} that of ${whose}`;
}

const UNITS: ReadonlyArray<[ms: number, name: string]> = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1_000, 'second'],
];

/** Returns a span in its greatest unit: `7 minutes`. */
export function spanOf(ms: number): string {
  // Not `60 minutes` for what is nearly an hour.
  const [unitMs, unit] = UNITS.find(([size]) => ms >= 0.99 * size) ?? UNITS[UNITS.length - 1];
  const count = Math.max(1, Math.round(ms / unitMs));
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** How people see a joiner or a node in messages. */
export function nodeAt(nodeId: NodeId, address: string): string {
  return `${nodeId} at ${address}`;
}
