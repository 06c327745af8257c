// The certificate that follows from an identity: self-signed, for tls between nodes without a PKI. It contains nothing but the key and
// the node id; the handshake of the link proves who belongs to the network.

import { createPublicKey, sign } from 'node:crypto';
import { encodeCertificate, pemOf } from './der.js';
import type { OwnIdentity } from './identity.js';

interface DerivedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Constant: a certificate is valid as long as its key, and does not show when a node was made. */
const NOT_BEFORE_MS = Date.UTC(2020, 0, 1);

/** Returns a certificate and its key, in PEM; the common name is the node id. The same identity always gives the same certificate. */
export function deriveCertificate({ nodeId, privateKey }: OwnIdentity): DerivedCertificate {
  const certificate = encodeCertificate(
    {
      serial: [1],
      issuer: nodeId,
      subject: nodeId,
      notBeforeMs: NOT_BEFORE_MS,
      notAfterMs: Number.POSITIVE_INFINITY,
      publicKey: createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
      isAuthority: false,
      uris: [],
    },
    (bytes) => sign(null, bytes, privateKey),
  );
  return { cert: pemOf(certificate), key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string };
}
