// Why a link does not come up, or ends: the refusals that both ends get, the meaning of a GOODBYE, and which faults are permanent, are
// reported to the user, or are counted.

import { codeOf, ERRORS, StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { type Goodbye, GoodbyeCode } from '../../wire/messages.js';
import type { Link } from '../link.js';

/** Why a link is refused: `code` and `peerReason` for the peer, `error` for this side. */
export interface Refusal {
  readonly code: number;
  readonly error: StarlaneError;
  /** For the user of the peer, where that node is "this node" and this one "the peer". Empty: the code says it all. */
  readonly peerReason: string;
}

/** Returns a refusal. `detail` is for the user of this node, `peerReason` for the user of the peer: see {@link Refusal}. */
export function refusal(
  code: number,
  errorCode: StarlaneErrorCode,
  detail: string | undefined,
  peerReason: string,
): Refusal {
  return { code, error: starlaneError(errorCode, detail), peerReason };
}

/** Returns the refusal of a peer that has broken the handshake. `what` it did, as in `sent a second HELLO`. */
export function broken(code: number, what: string): Refusal {
  return refusal(code, 'ERR_STARLANE_HANDSHAKE', `the peer ${what}`, `this node ${what}`);
}

/** Returns the error for a link that the peer has ended by GOODBYE. `isProved`: the peer has proved its identity before. */
export function goodbyeError(goodbye: Goodbye, isProved = true): StarlaneError {
  // A peer without proof cannot say which other links there are to the node that it claims to be.
  const isHollow = !isProved && goodbye.code === GoodbyeCode.DUPLICATE;
  const code = (isHollow ? undefined : GOODBYE_ERRORS.get(goodbye.code)) ?? 'ERR_STARLANE_HANDSHAKE';
  // Older versions send the text of the code as well, which would appear twice.
  const prefix = `${ERRORS[code].message}: `;
  const reason = goodbye.reason.startsWith(prefix) ? goodbye.reason.slice(prefix.length) : goodbye.reason;
  return starlaneError(code, reason === '' ? 'the peer ended the link' : `the peer refused the link: ${reason}`);
}

const GOODBYE_ERRORS: ReadonlyMap<number, StarlaneErrorCode> = new Map<number, StarlaneErrorCode>([
  [GoodbyeCode.NORMAL, 'ERR_STARLANE_CLOSED'],
  [GoodbyeCode.WRONG_VERSION, 'ERR_STARLANE_VERSION'],
  [GoodbyeCode.SELF_LINK, 'ERR_STARLANE_SELF_LINK'],
  [GoodbyeCode.DUPLICATE, 'ERR_STARLANE_DUPLICATE_LINK'],
  [GoodbyeCode.LIMIT, 'ERR_STARLANE_LINK_LIMIT'],
  [GoodbyeCode.HANDSHAKE_REFUSED, 'ERR_STARLANE_HANDSHAKE'],
  [GoodbyeCode.MALFORMED, 'ERR_STARLANE_MESSAGE'],
  [GoodbyeCode.SHED, 'ERR_STARLANE_LINK_SHED'],
  [GoodbyeCode.NOT_MEMBER, 'ERR_STARLANE_SECRET'],
  [GoodbyeCode.IDENTITY, 'ERR_STARLANE_IDENTITY'],
  [GoodbyeCode.TLS, 'ERR_STARLANE_TLS'],
  [GoodbyeCode.TAKEN, 'ERR_STARLANE_DUPLICATE_IDENTITY'],
  [GoodbyeCode.EXPIRED, 'ERR_STARLANE_CERTIFICATE_EXPIRED'],
  [GoodbyeCode.REVOKED, 'ERR_STARLANE_REVOKED'],
  [GoodbyeCode.CERTIFICATE, 'ERR_STARLANE_CERTIFICATE'],
  [GoodbyeCode.CLOCK, 'ERR_STARLANE_CLOCK'],
]);

/** Returns whether another attempt at the same address is certain to fail in the same way. */
export function isPermanent(error: unknown): boolean {
  const code = codeOf(error);
  if (code === undefined) return false;
  return (
    PERMANENT.has(code) ||
    // Certificates and keys that do not fit: OpenSSL's reasons, and Node's.
    /^(ERR_(TLS|SSL|OSSL)_|CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/.test(
      code,
    )
  );
}

/** Returns whether a newer process has the identity of this node, which then stops joining, also where it was linked before. */
export function isTaken(error: unknown): boolean {
  return codeOf(error) === 'ERR_STARLANE_DUPLICATE_IDENTITY';
}

/** Returns whether a link has ended because one of the two nodes is a member no more. */
export function isExpelled(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ERR_STARLANE_REVOKED' || code === 'ERR_STARLANE_CERTIFICATE_EXPIRED';
}

/**
 * Not among them: a certificate that has expired, or is not valid yet. It may be renewed, by another link or at the other end, and the clock
 * of a machine that has just started may be set.
 */
const PERMANENT: ReadonlySet<string> = new Set<StarlaneErrorCode>([
  'ERR_STARLANE_ADDRESS',
  'ERR_STARLANE_ARGUMENT',
  'ERR_STARLANE_CERTIFICATE',
  'ERR_STARLANE_DUPLICATE_IDENTITY',
  'ERR_STARLANE_IDENTITY',
  'ERR_STARLANE_INSECURE',
  'ERR_STARLANE_OPTION',
  'ERR_STARLANE_PROXY_AUTH',
  'ERR_STARLANE_REVOKED',
  'ERR_STARLANE_SECRET',
  'ERR_STARLANE_SELF_LINK',
  'ERR_STARLANE_TLS',
  'ERR_STARLANE_VERSION',
]);

/** Returns whether a link that was up was lost: neither of the two nodes has closed it. */
export function isLoss(reason: Error | undefined): boolean {
  const code = codeOf(reason);
  return reason !== undefined && code !== 'ERR_STARLANE_CLOSED' && code !== 'ERR_STARLANE_LINK_SHED';
}

export function isDuplicate(error: Error): boolean {
  return codeOf(error) === 'ERR_STARLANE_DUPLICATE_LINK';
}

/** Faults of inbound links that the dialling end reports. */
const REPORTED_BY_DIALLER: ReadonlySet<string | undefined> = new Set([
  'ERR_STARLANE_SELF_LINK',
  'ERR_STARLANE_DUPLICATE_IDENTITY',
]);

/**
 * Returns whether a link that did not come up is nothing to report: a probe, a port scan or the health check of a load balancer that
 * sends nothing; a neighbour that finds that this node has enough links; a second link to a peer; this node itself, behind a balancer,
 * which the dialling end reports; an older process with the identity of a newer one, which has been reported.
 */
export function isNoFault(link: Link, error: Error): boolean {
  if (isDuplicate(error)) return true;
  const code = codeOf(error);
  if (link.direction === 'inbound' && REPORTED_BY_DIALLER.has(code)) return true;
  if (link.direction === 'inbound' && link.bytesIn === 0) {
    return code !== 'ERR_STARLANE_HANDSHAKE_TIMEOUT' && code !== 'ERR_STARLANE_LINK_LIMIT';
  }
  return link.purpose !== 'join' && code === 'ERR_STARLANE_LINK_LIMIT';
}

/** Returns the same fault with the address of the link in front. */
export function withAddress(error: Error, address: string): Error {
  const code = error instanceof StarlaneError ? error.code : 'ERR_STARLANE_TRANSPORT';
  return new StarlaneError(code, `${address}: ${error.message}`, { cause: error });
}

/** Why a handshake failed, at either end. */
export type RefusalKind =
  | 'secret'
  | 'certificate'
  | 'expired'
  | 'revoked'
  | 'identity'
  | 'tls'
  | 'version'
  | 'timeout'
  | 'limit'
  | 'other';

/** Counts since the start. */
export interface LinkCounters {
  /** Links that came up. */
  opened: number;
  /** Links lost other than by close() of either side. */
  lost: number;
  /** Handshakes that failed or were refused. */
  failed: number;
  /** The same, by kind. */
  readonly refused: Record<RefusalKind, number>;
}

export function newCounters(): LinkCounters {
  const membership = { secret: 0, certificate: 0, expired: 0, revoked: 0 };
  const refused = { ...membership, identity: 0, tls: 0, version: 0, timeout: 0, limit: 0, other: 0 };
  return { opened: 0, lost: 0, failed: 0, refused };
}

/** Counts a handshake that failed with this error. */
export function countFailure(counters: LinkCounters, error: Error): void {
  counters.failed++;
  counters.refused[KINDS.get(codeOf(error)) ?? 'other']++;
}

/** Counts a dial that failed in the handshake. Where nobody answers, there is no handshake to count. */
export function countDial(counters: LinkCounters, error: Error): void {
  if (KINDS.has(codeOf(error))) countFailure(counters, error);
}

const KINDS: ReadonlyMap<string | undefined, RefusalKind> = new Map([
  ['ERR_STARLANE_SECRET', 'secret'],
  ['ERR_STARLANE_CERTIFICATE', 'certificate'],
  ['ERR_STARLANE_CLOCK', 'certificate'],
  ['ERR_STARLANE_CERTIFICATE_EXPIRED', 'expired'],
  ['ERR_STARLANE_REVOKED', 'revoked'],
  ['ERR_STARLANE_IDENTITY', 'identity'],
  ['ERR_STARLANE_TLS', 'tls'],
  ['ERR_STARLANE_VERSION', 'version'],
  ['ERR_STARLANE_HANDSHAKE_TIMEOUT', 'timeout'],
  ['ERR_STARLANE_LINK_LIMIT', 'limit'],
]);
