// What a node brings to tls, and what it makes of the other end: certificates that follow from identities, or those of an own
// PKI. Both are tls 1.3 with a certificate on either side, without tickets: there is no renegotiation, no downgrade and
// nothing to resume, as every peer is a Starlane node and links stay.
//
// An end whose certificate is not taken still gets its tls session, and over it the word why: what node:tls would do is to
// close, and leave the other end to guess.

import { constants, type KeyObject, type X509Certificate } from 'node:crypto';
import type { SecureContext, SecureContextOptions, TLSSocket } from 'node:tls';
import { optionError } from '../../errors.js';
import { deriveCertificate } from '../../identity/certificate.js';
import type { OwnIdentity } from '../../identity/identity.js';
import type { TlsFiles } from '../../options/security.js';
import { nodeTls } from '../../util/runtime/builtins.js';
import { GoodbyeCode } from '../../wire/messages.js';
import { type Refusal, refusal } from '../handshake/refusals.js';

/** The name of the protocol in tls (RFC 7301), so that a session cannot be had by a peer that means another one. */
const PROTOCOL = 'starlane/1';

/** RFC 8446, section 7.5, and RFC 9266: what both ends of this tls session know, and nobody else. */
const EXPORTER_LABEL = 'EXPORTER-starlane-link-1';
const BINDING_BYTES = 32;
const NO_CONTEXT = Buffer.alloc(0);

/** A name in a certificate that is longer is none that could be shown or matched. */
const MAX_NAME_LENGTH = 255;

/** What both ends of tls are made with, besides the certificates. */
export const TLS_SETTINGS = {
  ALPNProtocols: [PROTOCOL],
  // Judged by LinkTls.facts.
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
  /** Why the peer is told that it is refused, and nothing else. */
  readonly fault: Refusal | undefined;
}

export class LinkTls {
  // Not `private`: they hold a private key, which is not to be seen when a link is printed.
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

  /** Certificates follow from the identities; else they are of an own PKI. */
  get isDerived(): boolean {
    return this.#files === undefined;
  }

  /** For a server; changes with {@link rotate}. */
  contextOptions(): Promise<SecureContextOptions> {
    this.#options ??= this.makeOptions();
    return this.#options;
  }

  /** For a client; changes with {@link rotate}. */
  secureContext(): Promise<SecureContext> {
    this.context ??= this.contextOptions().then((options) => nodeTls().createSecureContext(options));
    return this.context;
  }

  /** Other certificates from now on. @throws ERR_STARLANE_OPTION when they do not fit each other, or follow from the identity */
  rotate(files: TlsFiles): void {
    if (this.isDerived)
      throw optionError('tls', 'this node was made without this option: its certificate follows from its identity');
    checkFiles(files);
    this.#files = files;
    this.#options = undefined;
    this.context = undefined;
  }

  /** What a session whose handshake is done has shown of the other end. */
  facts(socket: TLSSocket): TlsFacts {
    const certificate = socket.getPeerX509Certificate();
    let binding = NO_CONTEXT;
    let fault = this.fault(socket, certificate);
    try {
      binding = socket.exportKeyingMaterial(BINDING_BYTES, EXPORTER_LABEL, NO_CONTEXT);
    } catch (error) {
      // The socket is gone already.
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
      return tlsFault('the peer does not say that it means Starlane', 'this node does not say that it means Starlane');
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
    // No authority at all is asked, so that those that Node trusts need not be loaded.
    if (files === undefined) return { ...settings, ...deriveCertificate(this.identity), ca: [] };
    return { ...settings, ...contextOf(files) };
  }
}

/** Node's types want arrays that may be written to. */
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

function tlsFault(detail: string, told: string): Refusal {
  return refusal(GoodbyeCode.TLS, 'ERR_STARLANE_TLS', detail, told);
}

/** The 32 bytes of a key that is one of a node. */
function rawKey(key: KeyObject | undefined): Buffer | undefined {
  if (key?.asymmetricKeyType !== 'ed25519') return undefined;
  return Buffer.from(key.export({ format: 'jwk' }).x as string, 'base64url');
}

/** The common name, where there is exactly one that says something. */
function commonName(certificate: X509Certificate | undefined): string | undefined {
  const name: unknown = certificate?.toLegacyObject().subject.CN;
  return typeof name === 'string' && name !== '' && name.length <= MAX_NAME_LENGTH ? name : undefined;
}
