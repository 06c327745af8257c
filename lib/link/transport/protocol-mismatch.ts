// Guesses which protocol a peer speaks that does not speak Starlane, from its first bytes or the error of tls. Usually it is a Starlane
// node that was configured with the wrong scheme; a clear message saves an hour.

import { codeOf, type StarlaneError, starlaneError } from '../../errors.js';

/** The first byte of a record of tls, and the major version behind it (RFC 8446, section 5.1). */
const TLS_ALERT = 21;
const TLS_HANDSHAKE = 22;
const TLS_MAJOR = 3;

const HTTP = /^(HTTP\/|[A-Z]{3,8} [/*a-z])/;

/** Returns the error for first bytes, on a link without tls, that are no frame of a session; undefined when they look like nothing known. */
export function otherProtocol(first: Uint8Array): StarlaneError | undefined {
  if (first[1] === TLS_MAJOR && first[0] === TLS_HANDSHAKE) {
    return starlaneError('ERR_STARLANE_TLS', 'the peer speaks tls, but this end of the link is plain');
  }
  if (first[1] === TLS_MAJOR && first[0] === TLS_ALERT) {
    return starlaneError('ERR_STARLANE_TLS', 'the peer accepts only tls, but this end of the link is plain');
  }
  if (HTTP.test(Buffer.from(first).toString('latin1'))) {
    return starlaneError('ERR_STARLANE_PROTOCOL', 'the peer speaks HTTP');
  }
  return undefined;
}

/** Codes of OpenSSL for a peer that begins with anything but a record of tls. */
const NO_TLS =
  /HTTP_REQUEST|HTTPS_PROXY_REQUEST|WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_TOO_LARGE|UNKNOWN_PROTOCOL|EPROTO$/;

const SENTENCES: ReadonlyArray<[RegExp, string]> = [
  [/HTTP_REQUEST|HTTPS_PROXY_REQUEST/, 'the peer speaks HTTP, but this end of the link accepts only tls'],
  [NO_TLS, 'the peer does not speak tls, but this end of the link accepts only tls'],
  [/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW/, 'the peer does not support tls 1.3'],
  [/NO_APPLICATION_PROTOCOL/, 'the two ends name different protocols (ALPN)'],
  [
    /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE)|CERTIFICATE_REQUIRED/,
    'the peer does not accept the certificate of this node',
  ],
];

/** Returns whether this error of tls shows that the peer does not speak tls. */
export function isNotTls(error: Error): boolean {
  return NO_TLS.test(String(codeOf(error)));
}

/** Returns ERR_STARLANE_TLS or a timeout for an error of tls; all others, such as a lost connection, stay as they are. */
export function tlsFailure(error: Error): Error {
  const code = codeOf(error);
  if (code === undefined) return error;
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', 'tls', error);
  if (!/^(ERR_(TLS|SSL|OSSL)_|EPROTO$)/.test(code)) return error;
  const sentence = SENTENCES.find(([pattern]) => pattern.test(code))?.[1] ?? error.message;
  return starlaneError('ERR_STARLANE_TLS', sentence, error);
}
