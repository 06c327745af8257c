// Why a link does not come up or ends: the refusals that both ends get, what a GOODBYE means, which faults are permanent, which the
// user hears of, and which are counted.

import { ERRORS, StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { type Goodbye, GoodbyeCode } from '../../wire/messages.js';
import type { Link } from '../link.js';

/** A reason to refuse a link: `code` and `told` for the peer, `error` for this side. */
export interface Refusal {
  readonly code: number;
  readonly error: StarlaneError;
  /** In words for the user of the peer, who calls that one "this node" and this one "the peer". Empty: the code says it all. */
  readonly told: string;
}

/** Makes a refusal. `detail` is for the user of this node, `told` for that of the peer: see {@link Refusal}. */
export function refusal(code: number, errorCode: StarlaneErrorCode, detail: string | undefined, told: string): Refusal {
  return { code, error: starlaneError(errorCode, detail), told };
}

/** The peer has broken the handshake: `what` it did, as in `sent a second HELLO`. */
export function broken(code: number, what: string): Refusal {
  return refusal(code, 'ERR_STARLANE_HANDSHAKE', `the peer ${what}`, `this node ${what}`);
}

/** The error for a link that the peer has ended by GOODBYE; `isProved`: it has shown before that it is who it says. */
export function goodbyeError(goodbye: Goodbye, isProved = true): StarlaneError {
  // A stranger cannot say what other links there are to somebody else.
  const isHollow = !isProved && goodbye.code === GoodbyeCode.DUPLICATE;
  const code = (isHollow ? undefined : GOODBYE_ERRORS.get(goodbye.code)) ?? 'ERR_STARLANE_HANDSHAKE';
  // Older versions send the text of the code as well, which need not be said twice.
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
]);

/** Will another attempt at the same address fail the same way, as far as anyone can tell? */
export function isPermanent(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code !== 'string') return false;
  return (
    PERMANENT.has(code) ||
    // Certificates and keys that do not fit: OpenSSL's reasons, and Node's.
    /^(ERR_(TLS|SSL|OSSL)_|CERT_|UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/.test(
      code,
    )
  );
}

/** A newer process has the identity of this node: this one is to keep away, also from where it was linked before. */
export function isTaken(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'ERR_STARLANE_DUPLICATE_IDENTITY';
}

const PERMANENT: ReadonlySet<string> = new Set<StarlaneErrorCode>([
  'ERR_STARLANE_ADDRESS',
  'ERR_STARLANE_ARGUMENT',
  'ERR_STARLANE_DUPLICATE_IDENTITY',
  'ERR_STARLANE_IDENTITY',
  'ERR_STARLANE_INSECURE',
  'ERR_STARLANE_OPTION',
  'ERR_STARLANE_SECRET',
  'ERR_STARLANE_SELF_LINK',
  'ERR_STARLANE_TLS',
  'ERR_STARLANE_VERSION',
]);

/** A link that was up was lost: neither of the two nodes wanted that. */
export function isLoss(reason: Error | undefined): boolean {
  const code = codeOf(reason);
  return reason !== undefined && code !== 'ERR_STARLANE_CLOSED' && code !== 'ERR_STARLANE_LINK_SHED';
}

export function isDuplicate(error: Error): boolean {
  return codeOf(error) === 'ERR_STARLANE_DUPLICATE_LINK';
}

const IS_TOLD_THERE: ReadonlySet<string | undefined> = new Set([
  'ERR_STARLANE_SELF_LINK',
  'ERR_STARLANE_DUPLICATE_IDENTITY',
]);

/**
 * Somebody tried to link and did not succeed, which is no fault: a probe, a port scan or the health check of a load balancer
 * that says nothing; a neighbour who finds that this node has links enough; a second link to a peer; this node itself, behind a
 * balancer, which hears of it at the end that dials; an older process with the identity of another, of which all have heard.
 */
export function isNoFault(link: Link, error: Error): boolean {
  if (isDuplicate(error)) return true;
  const code = codeOf(error);
  if (link.direction === 'inbound' && IS_TOLD_THERE.has(code)) return true;
  if (link.direction === 'inbound' && link.bytesIn === 0) {
    return code !== 'ERR_STARLANE_HANDSHAKE_TIMEOUT' && code !== 'ERR_STARLANE_LINK_LIMIT';
  }
  return link.purpose !== 'join' && code === 'ERR_STARLANE_LINK_LIMIT';
}

/** The same fault, with the address of the link in front. */
export function withAddress(error: Error, address: string): Error {
  const code = error instanceof StarlaneError ? error.code : 'ERR_STARLANE_TRANSPORT';
  return new StarlaneError(code, `${address}: ${error.message}`, { cause: error });
}

function codeOf(error: Error | undefined): string | undefined {
  return (error as { code?: string } | undefined)?.code;
}

/** Why a handshake came to nothing, at either end of it. */
export type RefusalKind = 'secret' | 'identity' | 'tls' | 'version' | 'timeout' | 'limit' | 'other';

/** Counts since the start. */
export interface LinkCounters {
  /** Links that came up. */
  opened: number;
  /** Links lost other than by close() of either side. */
  lost: number;
  /** Handshakes that failed, were refused or were turned away. */
  failed: number;
  /** The same, by kind. */
  readonly refused: Record<RefusalKind, number>;
}

export function newCounters(): LinkCounters {
  const refused = { secret: 0, identity: 0, tls: 0, version: 0, timeout: 0, limit: 0, other: 0 };
  return { opened: 0, lost: 0, failed: 0, refused };
}

/** Counts a handshake that failed with this error. */
export function countFailure(counters: LinkCounters, error: Error): void {
  counters.failed++;
  counters.refused[KINDS.get((error as { code?: string }).code) ?? 'other']++;
}

/** Counts a dial that came to no link, when somebody was there: that nobody is there is no failed handshake. */
export function countDial(counters: LinkCounters, error: Error): void {
  if (KINDS.has((error as { code?: string }).code)) countFailure(counters, error);
}

const KINDS: ReadonlyMap<string | undefined, RefusalKind> = new Map([
  ['ERR_STARLANE_SECRET', 'secret'],
  ['ERR_STARLANE_IDENTITY', 'identity'],
  ['ERR_STARLANE_TLS', 'tls'],
  ['ERR_STARLANE_VERSION', 'version'],
  ['ERR_STARLANE_HANDSHAKE_TIMEOUT', 'timeout'],
  ['ERR_STARLANE_LINK_LIMIT', 'limit'],
]);
