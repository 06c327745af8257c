// The handshake of a link: HELLO and AUTH of both ends in their order, and when they refuse. Pure: no streams, no timers.
//
//   with tls      client                          server      without       client                          server
//                   HELLO, AUTH ---------------->                             HELLO ----------------------->
//                   <---------------- HELLO, AUTH                             <----------------------- HELLO
//                                                                             AUTH ------------------------>
//                                                                             <------------------------ AUTH
//
// The messages travel on the client's first stream, which stays the control stream. A server proves its identity only to a client
// that has proved its own. With tls, the server says nothing at all before that, so a stranger learns only its certificate. Without
// tls its HELLO has to come first, as the client's proof covers the nonce in it.
//
// Then the node with the lower id (as text) decides whether this link is taken. As one node alone decides, two nodes never keep two
// links, and never drop both. It begins with its digest, or sends GOODBYE; the other end counts the link as up with the first message
// that is not GOODBYE.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { type NodeId, nodeIdFromPublicKey } from '../../address.js';
import type { Identity } from '../../identity/identity.js';
import type { NodeRole } from '../../options/options.js';
import { MESSAGE_LENGTH_BYTES } from '../../wire/message.js';
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
import { AuthRole, checkAuth, type HandshakeTranscript, makeAuth } from './auth.js';
import { broken, type Refusal, refusal } from './refusals.js';

/** What a node says about itself in HELLO. */
export interface SelfDescription extends Identity {
  readonly role: NodeRole;
  readonly envDigests: readonly string[];
  /** Bits of CircuitAbility, and of whatever else peers may have to know. Default none. */
  readonly capabilities?: number;
}

interface HandshakeSetup {
  readonly self: SelfDescription;
  readonly networkKeys: readonly Uint8Array[];
  readonly client: boolean;
  readonly tls: TlsFacts | undefined;
  /** The node that must be at the other end. */
  readonly expect: NodeId | undefined;
  /** Returns the HELLO of this end. Called once, when it is due. */
  makeHello(): Buffer;
}

/** The messages to send now, or why the link is refused. */
export type HandshakeStep = { readonly send: readonly Buffer[] } | Refusal;

const NOTHING = Buffer.alloc(0);
const MAX_HELLO_BYTES = 0xffff;

export class Handshake {
  /** The HELLO of the peer; undefined until the peer has proved it. */
  peer: Hello | undefined;
  private claimed: Hello | undefined;
  private ownHello: Buffer = NOTHING;
  private peerHello: Buffer = NOTHING;

  constructor(private readonly setup: HandshakeSetup) {}

  /** Returns what the client begins with. */
  begin(): HandshakeStep {
    const { tls, expect } = this.setup;
    // Another node is there, which need not learn who dials.
    if (
      tls?.certificateKey !== undefined &&
      expect !== undefined &&
      nodeIdFromPublicKey(tls.certificateKey) !== expect
    ) {
      return notThere(expect);
    }
    const hello = this.takeOwnHello();
    return { send: tls === undefined ? [hello] : [hello, this.auth()] };
  }

  /** The flags in the HELLO of the peer. */
  get flags(): number {
    return this.peer?.flags ?? 0;
  }

  /** `bytes`: type and body as they came. */
  onHello(hello: Hello, bytes: Uint8Array): HandshakeStep {
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
    if (tls !== undefined) return { send: [] };
    return { send: [client ? this.auth() : this.takeOwnHello()] };
  }

  onAuth(auth: Auth): HandshakeStep {
    const { networkKeys, client, tls } = this.setup;
    const { claimed } = this;
    if (claimed === undefined || this.peer !== undefined) {
      const what = claimed === undefined ? 'sent AUTH ahead of HELLO' : 'sent a second AUTH';
      return broken(GoodbyeCode.HANDSHAKE_REFUSED, what);
    }
    const transcript = this.transcript(client ? AuthRole.SERVER : AuthRole.CLIENT);
    const fault = checkAuth(auth, transcript, claimed.publicKey, networkKeys);
    if (fault !== undefined) return fault;
    this.peer = claimed;
    if (client) return { send: [] };
    return { send: tls === undefined ? [this.auth()] : [this.takeOwnHello(), this.auth()] };
  }

  private takeOwnHello(): Buffer {
    const hello = this.setup.makeHello();
    this.ownHello = hello.subarray(MESSAGE_LENGTH_BYTES);
    return hello;
  }

  private auth(): Buffer {
    const { self, networkKeys, client } = this.setup;
    const role = client ? AuthRole.CLIENT : AuthRole.SERVER;
    return encodeAuth(makeAuth(this.transcript(role), self.sign, networkKeys));
  }

  private transcript(role: AuthRole): HandshakeTranscript {
    const { client, tls } = this.setup;
    const [clientHello, serverHello] = client ? [this.ownHello, this.peerHello] : [this.peerHello, this.ownHello];
    const isKnown = tls === undefined || role === AuthRole.SERVER;
    return { role, binding: tls?.binding ?? NOTHING, clientHello, serverHello: isKnown ? serverHello : NOTHING };
  }
}

/** Returns the HELLO of a node. The purpose of a link counts only when its dialling end says it. */
export function makeHello(self: SelfDescription, listenAddresses: readonly string[], purpose: LinkPurpose): Buffer {
  return encodeHello({
    version: PROTOCOL_VERSION,
    minVersion: MIN_PROTOCOL_VERSION,
    nodeId: self.nodeId,
    publicKey: self.publicKey,
    bootId: self.bootId,
    role: self.role,
    flags: purposeFlags(purpose),
    capabilities: self.capabilities ?? 0,
    envDigests: self.envDigests,
    listenAddresses: listenAddresses.slice(0, MAX_LISTEN_ADDRESSES),
    nonce: randomBytes(NONCE_BYTES),
  });
}

/** Returns why a peer with this HELLO is refused; undefined when it is not. `expect`: the node that must be there. */
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

/** Returns the refusal of a peer that is not the node expected at this address. */
function notThere(expect: NodeId): Refusal {
  return refusal(
    GoodbyeCode.HANDSHAKE_REFUSED,
    'ERR_STARLANE_HANDSHAKE',
    `${expect} is not at this address`,
    `the peer expects ${expect} at the address of this node`,
  );
}

/** Returns whether `self` is the one of the two nodes that decides whether a link is taken. */
export function decides(self: NodeId, peer: NodeId): boolean {
  return self < peer;
}
