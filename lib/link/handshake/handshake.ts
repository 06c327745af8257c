// What the two ends of a link tell each other before anything else, and when they refuse. Pure: no streams, no timers.
//
//   client                                server
//     HELLO  ------------------------------>         on the client's first stream, which stays the control stream
//            <------------------------------ HELLO
//     AUTH   <-----------------------------> AUTH    in the order of introduction.ts
//   Then the node with the lower id (as text) decides whether this link is taken: it alone sees to it that two nodes
//   never keep two links, and never drop both. It begins with its digest, or says GOODBYE; the other end counts the
//   link as up with the first message that is not GOODBYE.

import { randomBytes } from 'node:crypto';
import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import { ERRORS, type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import type { Identity } from '../../identity/identity.js';
import type { NodeRole } from '../../options/options.js';
import {
  encodeHello,
  type Goodbye,
  GoodbyeCode,
  type Hello,
  MAX_LISTEN_ADDRESSES,
  MIN_PROTOCOL_VERSION,
  NONCE_BYTES,
  PROTOCOL_VERSION,
} from '../../wire/messages.js';
import { type LinkPurpose, purposeFlags } from '../link-purpose.js';

/** What a node says about itself. */
export interface SelfDescription extends Identity {
  readonly role: NodeRole;
  readonly envDigests: readonly string[];
}

/** A reason to refuse a link: `code` and `told` for the peer, `error` for this side. */
export interface Refusal {
  readonly code: number;
  readonly error: StarlaneError;
  /** In words for the user of the peer, who calls that one "this node" and this one "the peer". Empty: the code says it all. */
  readonly told: string;
}

/** `purpose` is that of the link, which counts when the dialling end says it. */
export function makeHello(self: SelfDescription, listenAddresses: readonly string[], purpose: LinkPurpose): Buffer {
  return encodeHello({
    version: PROTOCOL_VERSION,
    minVersion: MIN_PROTOCOL_VERSION,
    nodeId: self.nodeId,
    publicKey: self.publicKey,
    bootId: self.bootId,
    role: self.role,
    flags: purposeFlags(purpose),
    capabilities: 0,
    envDigests: self.envDigests,
    listenAddresses: listenAddresses.slice(0, MAX_LISTEN_ADDRESSES),
    nonce: randomBytes(NONCE_BYTES),
  });
}

/** Says why a peer with this HELLO cannot be linked to, or undefined when it can. `expect`: who has to be there. */
export function checkHello(hello: Hello, self: SelfDescription, expect?: NodeId): Refusal | undefined {
  if (hello.minVersion > PROTOCOL_VERSION || hello.version < MIN_PROTOCOL_VERSION) {
    const theirs = `${hello.minVersion} to ${hello.version}`;
    const own = `${MIN_PROTOCOL_VERSION} to ${PROTOCOL_VERSION}`;
    return refusal(
      GoodbyeCode.WRONG_VERSION,
      'ERR_STARLANE_VERSION',
      `the peer speaks ${theirs}, this node ${own}`,
      `the peer speaks ${own}, this node ${theirs}`,
    );
  }
  if (hello.nodeId !== nodeIdFromPublicKey(hello.publicKey)) {
    return refusal(
      GoodbyeCode.HANDSHAKE_REFUSED,
      'ERR_STARLANE_HANDSHAKE',
      'the node id of the peer does not follow from its public key',
      'the node id of this node does not follow from its public key',
    );
  }
  if (hello.nodeId === self.nodeId) return refusal(GoodbyeCode.SELF_LINK, 'ERR_STARLANE_SELF_LINK', undefined, '');
  if (expect !== undefined && hello.nodeId !== expect) {
    return notThere(expect);
  }
  return undefined;
}

/** Somebody else is where this node has to be. */
export function notThere(expect: NodeId): Refusal {
  return refusal(
    GoodbyeCode.HANDSHAKE_REFUSED,
    'ERR_STARLANE_HANDSHAKE',
    `${expect} is not at this address`,
    `the peer expects ${expect} at the address of this node`,
  );
}

/** Makes a refusal. `detail` is for the user of this node, `told` for that of the peer: see {@link Refusal}. */
export function refusal(code: number, errorCode: StarlaneErrorCode, detail: string | undefined, told: string): Refusal {
  return { code, error: starlaneError(errorCode, detail), told };
}

/** The peer has broken the handshake: `what` it did, as in `sent a second HELLO`. */
export function broken(code: number, what: string): Refusal {
  return refusal(code, 'ERR_STARLANE_HANDSHAKE', `the peer ${what}`, `this node ${what}`);
}

/** Which of two linked nodes decides whether a link is taken. */
export function decides(self: NodeId, peer: NodeId): boolean {
  return self < peer;
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
