// The tls of links: the certificates of this node, which follow from its identity or come from your own PKI, and the check of the other
// end. It is always tls 1.3 with certificates on both sides and without tickets: there is no renegotiation, no downgrade and nothing to
// resume, as every peer is a Starlane node and links stay open.
//
// An end whose certificate is refused still gets its tls session, and the reason over it. node:tls would just close.

import { constants, type KeyObject, type X509Certificate } from 'node:crypto';
import type { SecureContext, SecureContextOptions, TLSSocket } from 'node:tls';
import { optionError } from '../../errors.js';
import { deriveCertificate } from '../../identity/certificate.js';
import type { OwnIdentity } from '../../identity/identity.js';
import type { TlsFiles } from '../../options/security.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { GoodbyeCode } from '../../wire/messages.js';
import { type Refusal, refusal } from '../handshake/refusals.js';

/** The name of the protocol in tls (RFC 7301), so that a peer that means another protocol cannot get a session. */
const PROTOCOL = 'starlane/1';

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
  /** The common name in the peer's certificate, where an authority has signed it. */
  readonly peerName: string | undefined;
  /** Why the peer is refused. It gets the reason, and nothing else. */
  readonly fault: Refusal | undefined;
}

export class LinkTls {
  // Not `private`: they contain a private key, which must not show up when a link is printed.
  #files: TlsFiles | undefined;
  #options: Promise<SecureContextOptions> | undefined;
  private context: Promise<SecureContext> | undefined;

  constructor(
    files: TlsFiles | undefined,
    private readonly identity: OwnIdentity,
  ) {
    if (files !== undefined) checkFiles(files);
    this.#files = files;
  }

  /** True when certificates follow from the identities; false when they come from your own PKI. */
  get isDerived(): boolean {
    return this.#files === undefined;
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
      certificateKey: this.isDerived ? rawKey(certificate?.publicKey) : undefined,
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
    if (rawKey(certificate.publicKey) !== undefined) return undefined;
    return tlsFault(
      'the certificate of the peer does not follow from its identity, and this node has no PKI',
      'the certificate of this node does not follow from its identity, and the peer has no PKI',
    );
  }

  private async makeOptions(): Promise<SecureContextOptions> {
    const files = this.#files;
    const settings = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET } as const;
    // Without any authority, Node need not load those that it trusts.
    if (files === undefined) return { ...settings, ...deriveCertificate(this.identity), ca: [] };
    return { ...settings, ...contextOf(files) };
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

/** Returns the 32 bytes of a key; undefined when it cannot be that of a node. */
function rawKey(key: KeyObject | undefined): Buffer | undefined {
  if (key?.asymmetricKeyType !== 'ed25519') return undefined;
  return Buffer.from(key.export({ format: 'jwk' }).x as string, 'base64url');
}

/** Returns the common name, if there is exactly one and it is not empty. */
function commonName(certificate: X509Certificate | undefined): string | undefined {
  const name: unknown = certificate?.toLegacyObject().subject.CN;
  return typeof name === 'string' && name !== '' && name.length <= MAX_NAME_LENGTH ? name : undefined;
}
