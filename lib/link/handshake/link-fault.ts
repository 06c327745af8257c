// What the end of a link means: who has to hear of it, and as what.

import { StarlaneError } from '../../errors.js';
import { answerMs } from '../../mux/liveness/liveness.js';
import type { Link } from '../link.js';

/** How long a link that stands may take to prove it when the peer makes another one, in ms, or {@link answerMs} if that is longer... */
const PROOF_MS = 2_000;
/** ...but not more than this share of the handshake timeout: the peer waits for the decision with its new link. */
const PROOF_SHARE = 2 / 3;

/** How long that is for a link with this round trip, in ms. `lateMs`: how much later answers may come where packets are lost. */
export function proofMs(rttMs: number, lateMs: number, handshakeTimeoutMs: number): number {
  const needed = Math.max(PROOF_MS, answerMs(rttMs, lateMs));
  return Math.min(needed, handshakeTimeoutMs * PROOF_SHARE);
}

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
