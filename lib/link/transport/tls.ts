// The tls of links: the certificates of this node, which follow from its identity, are those of a member of a network with an authority, or
// come from your own PKI, and the check of the other end. It is always tls 1.3 with certificates on both sides and without tickets: there is no renegotiation, no downgrade and nothing to
// resume, as every peer is a Starlane node and links stay open.
//
// An end whose certificate is refused still gets its tls session, and the reason over it. node:tls would just close.

import { constants, X509Certificate } from 'node:crypto';
import type { SecureContext, SecureContextOptions, TLSSocket } from 'node:tls';
import { optionError } from '../../errors.js';
import { trustAnchor } from '../../identity/authority.js';
import { deriveCertificate } from '../../identity/certificate.js';
import { pemOf } from '../../identity/der.js';
import type { OwnIdentity } from '../../identity/identity.js';
import type { MemberBook } from '../../identity/member-book.js';
import { rawKeyOf } from '../../identity/member-certificate.js';
import type { TlsFiles } from '../../options/security.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { GoodbyeCode } from '../../wire/messages.js';
import { certificateFault, revokedRefusal } from '../handshake/membership.js';
import { type Refusal, refusal } from '../handshake/refusals.js';

/** The name of the protocol in tls (RFC 7301), so that a peer that means another protocol cannot get a session. */
const PROTOCOL = 'starlane/1';
/** The same for a machine that asks to become a member: what follows is no link. */
export const ENROLMENT_PROTOCOL = 'starlane-enrol/1';

/** RFC 8446, section 7.5, and RFC 9266: a value that only the two ends of a tls session know. */
const EXPORTER_LABEL = 'EXPORTER-starlane-link-1';
const BINDING_BYTES = 32;
const NO_CONTEXT = Buffer.alloc(0);

/** A longer name in a certificate is ignored. */
const MAX_NAME_LENGTH = 255;

/** Settings of both ends of tls, besides the certificates. */
export const TLS_SETTINGS = {
  ALPNProtocols: [PROTOCOL],
  // LinkTls.facts checks the certificate.
  rejectUnauthorized: false,
} as const;

/** What the tls session under a link has shown. */
export interface TlsFacts {
  /** 32 bytes that only its two ends know. */
  readonly binding: Uint8Array;
  /** The raw Ed25519 key of the peer's certificate, where that has to be the key of its node id. */
  readonly certificateKey: Uint8Array | undefined;
  /** That certificate in DER, if the peer has not made it itself. */
  readonly certificate?: Uint8Array | undefined;
  /** Why tls does not accept it; undefined where it does, and where no authority decides. */
  readonly certificateFault?: string | undefined;
  /** The common name in the peer's certificate, where an authority has signed it. */
  readonly peerName: string | undefined;
  /** Why the peer is refused. It gets the reason, and nothing else. */
  readonly fault: Refusal | undefined;
}

/** What makes a node a member of a network with an authority. */
export interface TlsMember {
  readonly book: MemberBook;
  /** The certificate of this node, in DER, as it was at the start: the book knows the newest. */
  readonly certificate: Uint8Array;
  /** The certificates of authorities, in DER. */
  readonly authorities: readonly Uint8Array[];
}

export class LinkTls {
  /** The newest certificate of this node as a member, in DER; undefined when it is none. */
  memberCertificate: Uint8Array | undefined;
  /** The certificates of authorities that are known, in DER, by their raw keys in base64. */
  private readonly authorities = new Map<string, Uint8Array>();
  // Not `private`: they contain a private key, which must not show up when a link is printed.
  #files: TlsFiles | undefined;
  #options: Promise<SecureContextOptions> | undefined;
  private context: Promise<SecureContext> | undefined;
  /** The certificate that was read last, and when it expires. */
  #expiry: { readonly of: unknown; readonly atMs: number | undefined } | undefined;

  constructor(
    files: TlsFiles | undefined,
    private readonly identity: OwnIdentity,
    private readonly member?: TlsMember,
  ) {
    if (files !== undefined) checkFiles(files);
    this.#files = files;
    this.memberCertificate = member?.certificate;
    for (const certificate of member?.authorities ?? []) this.addAuthority(certificate);
  }

  /** True when the keys of certificates are those of the nodes; false when they come from your own PKI. */
  get isDerived(): boolean {
    return this.#files === undefined;
  }

  /** When the certificate of this node expires, in ms since 1970; undefined where it follows from the identity alone, and never does. */
  get expiresAtMs(): number | undefined {
    const certificate = this.#files?.cert ?? this.memberCertificate;
    if (this.#expiry?.of !== certificate) this.#expiry = { of: certificate, atMs: expiryOf(certificate) };
    return this.#expiry?.atMs;
  }

  /** What a listener of this node speaks over tls. */
  get serverProtocols(): string[] {
    return this.member === undefined ? [PROTOCOL] : [PROTOCOL, ENROLMENT_PROTOCOL];
  }

  /** Returns the options of a server. They change with {@link rotate}. */
  contextOptions(): Promise<SecureContextOptions> {
    this.#options ??= this.makeOptions();
    return this.#options;
  }

  /** Returns the context of a client. It changes with {@link rotate}. */
  secureContext(): Promise<SecureContext> {
    this.context ??= this.contextOptions().then((options) => nodeTls().createSecureContext(options));
    return this.context;
  }

  /** Replaces the certificates. @throws ERR_STARLANE_OPTION when they do not belong together, or certificates follow from the identity */
  rotate(files: TlsFiles): void {
    if (this.isDerived)
      throw optionError('tls', 'this node was made without this option: its certificate follows from its identity');
    checkFiles(files);
    this.#files = files;
    this.#options = undefined;
    this.context = undefined;
  }

  /**
   * Takes over the newest certificate and the authorities that hold, as the book has them. For members. `authorities`: certificates of
   * authorities that have become known, in DER.
   */
  refresh(authorities: readonly Uint8Array[] = []): void {
    for (const certificate of authorities) this.addAuthority(certificate);
    this.memberCertificate = this.member?.book.member(this.identity.nodeId)?.der ?? this.memberCertificate;
    this.#options = undefined;
    this.context = undefined;
  }

  /** Returns what a session has shown about the other end after its handshake. */
  facts(socket: TLSSocket): TlsFacts {
    const certificate = socket.getPeerX509Certificate();
    let binding = NO_CONTEXT;
    let fault = this.fault(socket, certificate);
    try {
      binding = socket.exportKeyingMaterial(BINDING_BYTES, EXPORTER_LABEL, NO_CONTEXT);
    } catch (error) {
      // The socket is already gone.
      const { message } = error as Error;
      fault ??= tlsFault(message, message);
    }
    return {
      binding,
      certificateKey: this.isDerived ? keyOf(certificate) : undefined,
      certificate: this.isDerived ? foreignDer(certificate) : undefined,
      certificateFault: this.tlsFault(socket),
      peerName: this.isDerived || fault !== undefined ? undefined : commonName(certificate),
      fault,
    };
  }

  private fault(socket: TLSSocket, certificate: X509Certificate | undefined): Refusal | undefined {
    if (socket.alpnProtocol !== PROTOCOL) {
      return tlsFault(
        'the peer does not name the protocol of Starlane (ALPN)',
        'this node does not name the protocol of Starlane (ALPN)',
      );
    }
    if (certificate === undefined) return tlsFault('the peer has no certificate', 'this node has sent no certificate');
    if (!this.isDerived) {
      if (socket.authorized) return undefined;
      const why = String(socket.authorizationError);
      return tlsFault(
        `this node does not accept the certificate of the peer (${why})`,
        `the peer does not accept the certificate of this node (${why})`,
      );
    }
    const publicKey = keyOf(certificate);
    if (publicKey !== undefined) return this.memberFault(socket, certificate, publicKey);
    return tlsFault(
      'the certificate of the peer does not follow from its identity, and this node has no PKI',
      'the certificate of this node does not follow from its identity, and the peer has no PKI',
    );
  }

  /** Returns why the peer cannot be a member, if that is clear without its proofs: then neither end says more. */
  private memberFault(socket: TLSSocket, certificate: X509Certificate, publicKey: Buffer): Refusal | undefined {
    const book = this.member?.book;
    if (book === undefined) return undefined;
    if (book.isRevoked(publicKey)) return revokedRefusal();
    if (book.acceptsSecret) return undefined;
    return certificateFault({ publicKey, certificate: foreignDer(certificate), tlsFault: this.tlsFault(socket) }, book);
  }

  private tlsFault(socket: TLSSocket): string | undefined {
    return this.member === undefined || socket.authorized ? undefined : String(socket.authorizationError);
  }

  private addAuthority(certificate: Uint8Array): void {
    const publicKey = keyOf(new X509Certificate(certificate));
    if (publicKey !== undefined) this.authorities.set(publicKey.toString('base64'), certificate);
  }

  private async makeOptions(): Promise<SecureContextOptions> {
    const files = this.#files;
    const settings = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET } as const;
    // Without any authority, Node need not load those that it trusts.
    if (files !== undefined) return { ...settings, ...contextOf(files) };
    const derived = deriveCertificate(this.identity);
    if (this.member === undefined) return { ...settings, ...derived, ca: [] };
    return { ...settings, ...derived, ...this.memberContext(this.member.book) };
  }

  /**
   * Returns the chain that this node shows, and what it trusts. The chain has the certificates of all authorities that hold: a machine that
   * joins knows only one of them, by its hash. An authority that has taken over may be known by nothing but its key.
   */
  private memberContext(book: MemberBook): { cert: string; ca: string[] } {
    const keys = book.authorities();
    const known = keys.map((key) => this.authorities.get(Buffer.from(key).toString('base64')));
    const chain = [this.memberCertificate, ...known].filter((certificate) => certificate !== undefined);
    return {
      cert: chain.map(pemOf).join('\n'),
      ca: keys.map((key, index) => pemOf(known[index] ?? trustAnchor(key))),
    };
  }
}

/** The types of Node want mutable arrays. */
function contextOf({ cert, key, ca }: TlsFiles): SecureContextOptions {
  if (ca === undefined) return { cert, key };
  return { cert, key, ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? [ca] : [...ca] };
}

function checkFiles(files: TlsFiles): void {
  try {
    nodeTls().createSecureContext(contextOf(files));
  } catch (error) {
    throw optionError('tls', `the certificate or key cannot be used: ${(error as Error).message}`, error);
  }
}

function tlsFault(detail: string, peerReason: string): Refusal {
  return refusal(GoodbyeCode.TLS, 'ERR_STARLANE_TLS', detail, peerReason);
}

/** `certificate`: PEM, of which the first one counts, or DER. */
function expiryOf(certificate: string | Uint8Array | undefined): number | undefined {
  if (certificate === undefined) return undefined;
  try {
    const atMs = Date.parse(new X509Certificate(certificate).validTo);
    return Number.isNaN(atMs) ? undefined : atMs;
  } catch {
    return undefined;
  }
}

/** Returns the 32 bytes of the key of a certificate; undefined when it cannot be that of a node. */
function keyOf(certificate: X509Certificate | undefined): Buffer | undefined {
  return certificate === undefined ? undefined : rawKeyOf(certificate.publicKey);
}

/** Returns a certificate in DER; undefined when it was made by the node itself. */
function foreignDer(certificate: X509Certificate | undefined): Buffer | undefined {
  return certificate === undefined || certificate.issuer === certificate.subject ? undefined : certificate.raw;
}

/** Returns the common name, if there is exactly one and it is not empty. */
function commonName(certificate: X509Certificate | undefined): string | undefined {
  const name: unknown = certificate?.toLegacyObject().subject.CN;
  return typeof name === 'string' && name !== '' && name.length <= MAX_NAME_LENGTH ? name : undefined;
}
