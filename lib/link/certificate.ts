// The certificate that follows from an identity: self-signed, for tls between nodes that have no PKI of their own. It says
// nothing that the key does not say; who belongs to the network is proved in the handshake of the link.

import { createPublicKey, type KeyObject, randomFillSync, sign, type webcrypto } from 'node:crypto';
import type { OwnIdentity } from './identity.js';

export interface DerivedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** The key is what counts, for as long as it does: this stands for ever, and says nothing about when a node was made. */
const NOT_BEFORE = new Date(Date.UTC(2020, 0));
/** RFC 5280, section 4.1.2.5: no well-defined end. */
const NOT_AFTER = new Date(Date.UTC(9999, 11, 31, 23, 59, 59));

const ALGORITHM = { name: 'Ed25519' };

/** A certificate and its key, in PEM; the common name is the node id. The same for the same identity. */
export async function deriveCertificate({ nodeId, privateKey }: OwnIdentity): Promise<DerivedCertificate> {
  // A quarter of a second at first, which only those who need it should wait for.
  const { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension, X509CertificateGenerator } = await import(
    '@peculiar/x509'
  );
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: `CN=${nodeId}`,
      notBefore: NOT_BEFORE,
      notAfter: NOT_AFTER,
      signingAlgorithm: ALGORITHM,
      keys: {
        privateKey: new HeldKey('private', privateKey),
        publicKey: new HeldKey('public', createPublicKey(privateKey)),
      },
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ],
    },
    NODE_CRYPTO as never,
  );
  return { cert: certificate.toString('pem'), key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string };
}

/** A key of node:crypto in the clothes of a CryptoKey. */
class HeldKey implements webcrypto.CryptoKey {
  readonly algorithm = ALGORITHM;
  readonly extractable = true;
  readonly usages: webcrypto.KeyUsage[];

  constructor(
    readonly type: 'private' | 'public',
    readonly held: KeyObject,
  ) {
    this.usages = [type === 'private' ? 'sign' : 'verify'];
  }
}

/** As much of Web Crypto as it takes: that of Node 20 prints a warning when it is asked for Ed25519. */
const NODE_CRYPTO = {
  getRandomValues: (bytes: Uint8Array) => randomFillSync(bytes),
  subtle: {
    exportKey: async (_format: 'spki', { held }: HeldKey) => copyOf(held.export({ format: 'der', type: 'spki' })),
    sign: async (_algorithm: unknown, { held }: HeldKey, bytes: ArrayBuffer) =>
      copyOf(sign(null, Buffer.from(bytes), held)),
  },
};

function copyOf(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
