// What a peer speaks that does not speak Starlane, by the bytes that it began with or by what tls says: most of the time it is
// one of ours that was told the wrong scheme, and a sentence saves an hour.

import { type StarlaneError, starlaneError } from '../../errors.js';

/** The first byte of a record of tls, and the major version behind it (RFC 8446, section 5.1). */
const TLS_ALERT = 21;
const TLS_HANDSHAKE = 22;
const TLS_MAJOR = 3;

const HTTP = /^(HTTP\/|[A-Z]{3,8} [/*a-z])/;

/** What is behind bytes that are no frame of a session without tls; undefined when they look like nothing that is known. */
export function foreignSpeech(first: Uint8Array): StarlaneError | undefined {
  if (first[1] === TLS_MAJOR && first[0] === TLS_HANDSHAKE) {
    return starlaneError('ERR_STARLANE_TLS', 'the peer begins with tls, and this end of the link is a plain one');
  }
  if (first[1] === TLS_MAJOR && first[0] === TLS_ALERT) {
    return starlaneError('ERR_STARLANE_TLS', 'the peer takes nothing but tls, and this end of the link is a plain one');
  }
  if (HTTP.test(Buffer.from(first).toString('latin1'))) {
    return starlaneError('ERR_STARLANE_PROTOCOL', 'the peer speaks HTTP');
  }
  return undefined;
}

/** What OpenSSL calls it when a peer begins with anything but a record of tls. */
const NO_TLS =
  /HTTP_REQUEST|HTTPS_PROXY_REQUEST|WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_TOO_LARGE|UNKNOWN_PROTOCOL|EPROTO$/;

const SENTENCES: ReadonlyArray<[RegExp, string]> = [
  [/HTTP_REQUEST|HTTPS_PROXY_REQUEST/, 'the peer speaks HTTP, and this end of the link takes nothing but tls'],
  [NO_TLS, 'the peer speaks no tls, and this end of the link nothing else'],
  [/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW/, 'the peer knows no tls 1.3'],
  [/NO_APPLICATION_PROTOCOL/, 'the two ends do not mean the same protocol'],
  [
    /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE)|CERTIFICATE_REQUIRED/,
    'the peer does not take the certificate of this node',
  ],
];

export function speaksNoTls(error: Error): boolean {
  return NO_TLS.test(String((error as { code?: unknown }).code));
}

/** An error of tls as one of ours; all others, such as a lost connection, stay as they are. */
export function tlsFailure(error: Error): Error {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string') return error;
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', 'tls', error);
  if (!/^(ERR_(TLS|SSL|OSSL)_|EPROTO$)/.test(code)) return error;
  const sentence = SENTENCES.find(([pattern]) => pattern.test(code))?.[1] ?? error.message;
  return starlaneError('ERR_STARLANE_TLS', sentence, error);
}
