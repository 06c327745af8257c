// A request as it came to the gateway, whatever the protocol.

import type { Duplex } from 'node:stream';
import type { HeaderList } from '../headers.js';

/** Who is at the other end of a connection. */
export interface Caller {
  /** The IP address, as text; undefined for a unix socket and for a node of the mesh. */
  readonly address: string | undefined;
  readonly port: number | undefined;
  /** Whether the connection is TLS. */
  readonly isSecure: boolean;
  /** The node, if it came through the mesh. */
  readonly peerId: string | undefined;
  /** The certified name: of a member of the mesh, or the subject of a client certificate that was verified. */
  readonly peerName: string | undefined;
  readonly isVerified: boolean;
}

/** Receives the body and the end of a request. */
export interface BodySink {
  onBody(chunk: Buffer): void;
  onBodyEnd(trailers: HeaderList): void;
  /** The client is gone, or has cancelled the request. */
  onGone(): void;
  /** More of the answer may be written. */
  onAnswerDrain(): void;
}

export interface Inbound {
  readonly caller: Caller;
  readonly version: '1.0' | '1.1' | '2';
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** The host that the client asked for, with a port if it said one; empty if it said none. */
  readonly authority: string;
  readonly headers: HeaderList;
  readonly hasBody: boolean;
  /** The length of the body, if it is known. */
  readonly length: number | undefined;
  /** The protocol to change to, as in the header Upgrade. */
  readonly upgrade: string | undefined;
  /** Whether the request ends an extended CONNECT (RFC 8441). */
  readonly isExtendedConnect: boolean;
  /** Whether the client waits for status 100 before it sends the body. */
  readonly expectsContinue: boolean;
  /** Bytes of the answer's body written so far. */
  readonly bytesOut: number;
  readonly hasResponded: boolean;

  setSink(sink: BodySink): void;
  /** Begins to read the body. */
  read(): void;
  pause(): void;
  resume(): void;
  /** Reads and drops what is left of the body. */
  discard(): void;

  informational(status: number, headers: HeaderList): void;
  /** Begins the answer. `isLast`: no more requests on this connection. */
  respond(status: number, reason: string, headers: HeaderList, body: 'none' | 'plain' | 'trailers'): void;
  /** Sends the head of the answer, if nothing of the body has been written yet. */
  flush(): void;
  /** Returns whether more may be written at once. */
  write(chunk: Buffer): boolean;
  /** Ends the answer, with a last part of the body. */
  end(trailers: HeaderList, last?: Buffer): void;
  /** Accepts the change of the protocol and returns the connection. */
  switchProtocols(headers: HeaderList): Duplex;
  /** Breaks the request off: the client sees that the answer is not whole. */
  abort(): void;
  /** No request follows this one on the connection. */
  setLast(): void;
  /** The connection has closed. */
  onConnectionClose(): void;
}

/** A request that cannot be served as it is. */
export class BadRequest extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}
