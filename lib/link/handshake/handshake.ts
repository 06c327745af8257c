// HELLO and AUTH of both ends of a link, in their order. Pure: bytes in, bytes out.
//
//   with tls      client                          server      without       client                          server
//                   HELLO, AUTH ---------------->                             HELLO ----------------------->
//                   <---------------- HELLO, AUTH                             <----------------------- HELLO
//                                                                             AUTH ------------------------>
//                                                                             <------------------------ AUTH
//
// A server proves itself only to one who has done so, and where there is tls it says nothing at all before that: a stranger
// learns its certificate. Without tls its HELLO has to come first, as the nonce in it is what the client's proof is for.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import type { Identity } from '../../identity/identity.js';
import type { NodeRole } from '../../options/options.js';
import {
  type Auth,
  encodeAuth,
  encodeHello,
  GoodbyeCode,
  type Hello,
  MAX_LISTEN_ADDRESSES,
  MIN_PROTOCOL_VERSION,
  NONCE_BYTES,
  PROTOCOL_VERSION,
} from '../../wire/messages.js';
import { type LinkPurpose, purposeFlags } from '../link-purpose.js';
import type { TlsFacts } from '../transport/tls.js';
import { AuthRole, checkAuth, makeAuth, type Transcript } from './auth.js';
import { broken, type Refusal, refusal } from './refusals.js';

export interface IntroductionSetup {
  readonly self: SelfDescription;
  readonly networkKeys: readonly Uint8Array[];
  readonly client: boolean;
  readonly tls: TlsFacts | undefined;
  /** Who has to be there. */
  readonly expect: NodeId | undefined;
  /** The HELLO of this end, asked for once, when it is due. */
  makeHello(): Buffer;
}

/** What is to be said now, or why the link is refused. */
export type Step = { readonly say: readonly Buffer[] } | Refusal;

const NOTHING = Buffer.alloc(0);
/** What is in front of type and body of a message. */
const LENGTH_BYTES = 4;
const MAX_HELLO_BYTES = 0xffff;

export class Introduction {
  /** What the peer has said about itself; undefined until it is proved. */
  peer: Hello | undefined;
  private claimed: Hello | undefined;
  private ownHello: Buffer = NOTHING;
  private peerHello: Buffer = NOTHING;

  constructor(private readonly setup: IntroductionSetup) {}

  /** What the client begins with. */
  begin(): Step {
    const { tls, expect } = this.setup;
    // Somebody else is there, who need not hear who dials.
    if (
      tls?.certificateKey !== undefined &&
      expect !== undefined &&
      nodeIdFromPublicKey(tls.certificateKey) !== expect
    ) {
      return notThere(expect);
    }
    const hello = this.takeOwnHello();
    return { say: tls === undefined ? [hello] : [hello, this.auth()] };
  }

  /** The flags in the HELLO of the peer. */
  get flags(): number {
    return this.peer?.flags ?? 0;
  }

  /** `bytes`: type and body as they came. */
  onHello(hello: Hello, bytes: Uint8Array): Step {
    const { self, client, tls, expect } = this.setup;
    if (this.claimed !== undefined) {
      return broken(GoodbyeCode.MALFORMED, 'sent a second HELLO');
    }
    const fault = checkHello(hello, self, expect);
    if (fault !== undefined) return fault;
    if (bytes.length > MAX_HELLO_BYTES) return broken(GoodbyeCode.MALFORMED, 'sent a HELLO that is too long');
    if (tls?.certificateKey !== undefined && !timingSafeEqual(tls.certificateKey, hello.publicKey)) {
      return refusal(
        GoodbyeCode.IDENTITY,
        'ERR_STARLANE_IDENTITY',
        'the certificate of the peer is that of another key',
        'the peer got a certificate of another key than that of this node',
      );
    }
    this.claimed = hello;
    this.peerHello = Buffer.from(bytes);
    if (tls !== undefined) return { say: [] };
    return { say: [client ? this.auth() : this.takeOwnHello()] };
  }

  onAuth(auth: Auth): Step {
    const { networkKeys, client, tls } = this.setup;
    const { claimed } = this;
    if (claimed === undefined || this.peer !== undefined) {
      const what = claimed === undefined ? 'sent AUTH ahead of HELLO' : 'sent a second AUTH';
      return broken(GoodbyeCode.HANDSHAKE_REFUSED, what);
    }
    const transcript = this.transcript(client ? AuthRole.SERVER : AuthRole.CLIENT);
    const fault = checkAuth(auth, transcript, claimed.publicKey, networkKeys);
    if (fault !== undefined) return refusal(fault.code, fault.errorCode, fault.detail, fault.told);
    this.peer = claimed;
    if (client) return { say: [] };
    return { say: tls === undefined ? [this.auth()] : [this.takeOwnHello(), this.auth()] };
  }

  private takeOwnHello(): Buffer {
    const hello = this.setup.makeHello();
    this.ownHello = hello.subarray(LENGTH_BYTES);
    return hello;
  }

  private auth(): Buffer {
    const { self, networkKeys, client } = this.setup;
    const role = client ? AuthRole.CLIENT : AuthRole.SERVER;
    return encodeAuth(makeAuth(this.transcript(role), self.sign, networkKeys));
  }

  private transcript(role: AuthRole): Transcript {
    const { client, tls } = this.setup;
    const [clientHello, serverHello] = client ? [this.ownHello, this.peerHello] : [this.peerHello, this.ownHello];
    const isKnown = tls === undefined || role === AuthRole.SERVER;
    return { role, binding: tls?.binding ?? NOTHING, clientHello, serverHello: isKnown ? serverHello : NOTHING };
  }
}

/** What a node says about itself. */
export interface SelfDescription extends Identity {
  readonly role: NodeRole;
  readonly envDigests: readonly string[];
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

/** Which of two linked nodes decides whether a link is taken. */
export function decides(self: NodeId, peer: NodeId): boolean {
  return self < peer;
}
