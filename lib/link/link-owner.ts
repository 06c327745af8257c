// What is told about a link, to whom, and what a link is made with.

import type { NodeId } from '../address.js';
import type { SessionOptions } from '../mux/session-options.js';
import type { MuxStream } from '../mux/stream/stream.js';
import type { Timers } from '../util/timers.js';
import type { Message } from '../wire/messages.js';
import type { Refusal, SelfDescription } from './handshake/handshake.js';
import type { LinkPurpose } from './link-purpose.js';

export type LinkDirection = 'inbound' | 'outbound';

/** A snapshot of a link. Times in ms. */
export interface LinkInfo {
  readonly peerId: NodeId;
  /** The common name in the certificate of the peer; not there unless it is one of an own PKI. */
  readonly peerName?: string | undefined;
  /** The link address of the peer, or `attached`. */
  readonly address: string;
  readonly direction: LinkDirection;
  /** The recent round trip, 0 while it is unknown. */
  readonly rttMs: number;
  /** Open streams, in both directions. */
  readonly streams: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** When it came up, in ms since 1970. */
  readonly since: number;
}

/** Takes the streams that a peer opens. */
export interface StreamAcceptor {
  onStream(stream: MuxStream): void;
}

/** Who a link belongs to. */
export interface LinkOwner<Link> {
  /** Link addresses under which this node can be joined. */
  readonly listenAddresses: readonly string[];
  /** The peer has proved who it is: says at once what speaks against the link for this node alone. */
  onHello(link: Link): Refusal | undefined;
  /** It is for this node to decide: accept() or refuse(), now or within the handshake timeout. */
  onDecide(link: Link): void;
  onUp(link: Link): void;
  /** A link that is up has to do more than it was made for: its purpose is another one now. */
  onPromoted(link: Link): void;
  /** Anything but HELLO and GOODBYE, from onUp to onDown. */
  onMessage(link: Link, message: Message): void;
  /** The peer says something that the user should hear of. Told once. */
  onNotice(link: Link, notice: Error): void;
  /** The control stream has room again. */
  onDrain(link: Link): void;
  /** Not usable from here on, if it ever was. Open streams may still end. Told once; undefined: closed on purpose. */
  onDown(link: Link, reason: Error | undefined): void;
  /** Nothing is left of it. Told once, last. */
  onClosed(link: Link): void;
}

/** What the tls session under a link has shown. */
export interface TlsFacts {
  /** 32 bytes that only its two ends know. */
  readonly binding: Uint8Array;
  /** The raw Ed25519 key of the peer's certificate, where that has to be the key of its node id. */
  readonly certificateKey: Uint8Array | undefined;
  /** The common name in the peer's certificate, where an authority has signed it. */
  readonly peerName: string | undefined;
  /** Why the peer is told that it is refused, and nothing else. */
  readonly fault: Refusal | undefined;
}

export interface LinkSetup<Link> {
  readonly self: SelfDescription;
  readonly owner: LinkOwner<Link>;
  readonly direction: LinkDirection;
  readonly address: string;
  /** Which end of the session this is. */
  readonly client: boolean;
  /** Of a link that this node dials or attaches; that of others is what their HELLO says. */
  readonly purpose: LinkPurpose;
  /** Who has to be there. */
  readonly expect?: NodeId;
  /** Of the network that this node is a member of, if it has a secret. */
  readonly networkKeys?: readonly Uint8Array[];
  /** Of a link over tls. */
  readonly tls?: TlsFacts;
  readonly timers: Timers;
  readonly handshakeTimeoutMs: number;
  /** Of a peer that has proved who it is. */
  readonly maxMessageBytes: number;
  readonly session: Partial<SessionOptions>;
}
