// Whether the peer of a handshake is a member of a network with an authority: by its certificate, or, as long as such a network also has a
// secret, by the proof of that.
//
// A certificate on a link without tls travels in AUTH, outside of everything that is signed there. That is enough: the signature proves
// the key in HELLO, and the certificate, which the authority has signed, binds name and rights to just that key. Who puts another one in
// its place can show only another certificate of the same key, and the newest one counts whichever is shown.

import { timingSafeEqual } from 'node:crypto';
import { codeOf, ERRORS, StarlaneError, type StarlaneErrorCode } from '../../errors.js';
import type { MemberBook } from '../../identity/member-book.js';
import { GoodbyeCode } from '../../wire/messages.js';
import { type Refusal, refusal } from './refusals.js';

/** How a peer has shown that it is a member. Both may be true. */
export interface Membership {
  readonly byCertificate: boolean;
  readonly bySecret: boolean;
}

/** What a peer shows of a certificate. */
export interface ShownCertificate {
  /** The raw key that the peer has proved. */
  readonly publicKey: Uint8Array;
  /** In DER; undefined when it has none but the one that it has made itself. */
  readonly certificate: Uint8Array | undefined;
  /** Why tls does not accept the certificate; undefined when it does, or there is no tls. */
  readonly tlsFault: string | undefined;
}

/** The texts of a refusal for the two ends. */
type Texts = readonly [detail: string, peerReason: string];

const NO_CERTIFICATE: Texts = [
  'the peer has none: enrol it, or give this node the secret as well as long as the network changes over',
  'this node has none, and the peer takes nothing else: enrol this node, or give the peer the secret as well as long as the network changes over',
];
const NEITHER: Texts = [
  'the peer has neither a certificate nor the secret: enrol it, or give it the secret',
  'this node has neither a certificate nor the secret of the peer: enrol this node, or give it the secret',
];

/**
 * Returns how the peer is a member, or why it is refused.
 * @param hasSecret whether it has proved a secret of this node
 */
export function membershipOf(shown: ShownCertificate, members: MemberBook, hasSecret: boolean): Membership | Refusal {
  // Whatever it proves besides.
  if (members.isRevoked(shown.publicKey)) return revokedRefusal();
  const fault = certificateFault(shown, members);
  const bySecret = hasSecret && members.acceptsSecret;
  if (fault === undefined || bySecret) return { byCertificate: fault === undefined, bySecret };
  if (shown.certificate === undefined && members.acceptsSecret) return certificateRefusal(NEITHER);
  return fault;
}

/** Returns why the certificate alone does not make a member; undefined when it does. Adds a valid one to the book. */
export function certificateFault(
  { publicKey, certificate, tlsFault }: ShownCertificate,
  members: MemberBook,
): Refusal | undefined {
  if (certificate === undefined) return certificateRefusal(NO_CERTIFICATE);
  try {
    const member = members.admit(certificate);
    if (!timingSafeEqual(member.publicKey, publicKey)) {
      return refusal(
        GoodbyeCode.IDENTITY,
        'ERR_STARLANE_IDENTITY',
        'the certificate of the peer is that of another key',
        'the peer got a certificate of another key than that of this node',
      );
    }
  } catch (error) {
    return refusalOf(error);
  }
  if (tlsFault === undefined) return undefined;
  return certificateRefusal([
    `tls does not accept that of the peer (${tlsFault})`,
    `tls at the peer does not accept that of this node (${tlsFault})`,
  ]);
}

/** Returns the refusal of a peer whose key was revoked. */
export function revokedRefusal(): Refusal {
  return refusal(GoodbyeCode.REVOKED, 'ERR_STARLANE_REVOKED', 'that of the peer', 'that of this node');
}

/** Returns the refusal of a peer whose certificate has expired while the link was up. */
export function expiredRefusal(): Refusal {
  return refusal(
    GoodbyeCode.EXPIRED,
    'ERR_STARLANE_CERTIFICATE_EXPIRED',
    'the peer has not renewed its own in time',
    'this node has not renewed its own in time',
  );
}

/** Returns the refusal for the fault that a member book finds in a certificate. */
export function refusalOf(fault: unknown): Refusal {
  const code = codeOf(fault) as StarlaneErrorCode | undefined;
  const goodbye = code === undefined ? undefined : GOODBYES.get(code);
  if (!(fault instanceof StarlaneError) || goodbye === undefined) throw fault;
  const prefix = `${ERRORS[fault.code].message}: `;
  const detail = fault.message.startsWith(prefix) ? fault.message.slice(prefix.length) : fault.message;
  return { code: goodbye, error: fault, peerReason: detail };
}

const GOODBYES: ReadonlyMap<StarlaneErrorCode, GoodbyeCode> = new Map([
  ['ERR_STARLANE_CERTIFICATE', GoodbyeCode.CERTIFICATE],
  ['ERR_STARLANE_CERTIFICATE_EXPIRED', GoodbyeCode.EXPIRED],
  ['ERR_STARLANE_REVOKED', GoodbyeCode.REVOKED],
  ['ERR_STARLANE_CLOCK', GoodbyeCode.CLOCK],
]);

function certificateRefusal([detail, peerReason]: Texts): Refusal {
  return refusal(GoodbyeCode.CERTIFICATE, 'ERR_STARLANE_CERTIFICATE', detail, peerReason);
}
