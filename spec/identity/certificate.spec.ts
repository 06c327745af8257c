import { createPublicKey, type KeyObject, randomFillSync, sign, type webcrypto, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension, X509CertificateGenerator } from '@peculiar/x509';
import type { NodeId } from '../../lib/address.js';
import { deriveCertificate } from '../../lib/identity/certificate.js';
import { createIdentity, type OwnIdentity } from '../../lib/identity/identity.js';
import { publicKeyFrom } from '../../lib/identity/signatures.js';

const identity = createIdentity();

describe('the certificate of an identity', () => {
  it('has its key and its id, and is signed by the key itself', () => {
    const certificate = new X509Certificate(deriveCertificate(identity).cert);
    expect(certificate.publicKey.equals(publicKeyFrom(identity.publicKey))).toBe(true);
    expect(certificate.verify(publicKeyFrom(identity.publicKey))).toBe(true);
    expect(certificate.subject).toBe(`CN=${identity.nodeId}`);
    expect(certificate.issuer).toBe(certificate.subject);
    expect(certificate.ca).toBe(false);
  });

  it('has nothing else: it is the same whenever it is made, and has no end', () => {
    const [one, two] = [deriveCertificate(identity), deriveCertificate(identity)];
    expect(two).toEqual(one);
    expect(new Date(new X509Certificate(one.cert).validTo).getUTCFullYear()).toBe(9999);
  });

  it('fits its key, as tls has it', () => {
    const { cert, key } = deriveCertificate(identity);
    expect(() => createSecureContext({ cert, key, minVersion: 'TLSv1.3' })).not.toThrow();
    const other = deriveCertificate(createIdentity());
    expect(() => createSecureContext({ cert, key: other.key })).toThrow();
  });

  it('is byte for byte what a package for certificates makes', async () => {
    for (const nodeId of [identity.nodeId, 'AAAAAAAAAAA', 'a-b_cdefghi', 'a-bcdefghij'] as NodeId[]) {
      expect(deriveCertificate({ ...identity, nodeId }).cert).toBe(await madeByPackage({ ...identity, nodeId }));
    }
  });
});

/** The same certificate by @peculiar/x509. */
async function madeByPackage({ nodeId, privateKey }: OwnIdentity): Promise<string> {
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: `CN=${nodeId}`,
      notBefore: new Date(Date.UTC(2020, 0)),
      notAfter: new Date(Date.UTC(9999, 11, 31, 23, 59, 59)),
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
  return certificate.toString('pem');
}

const ALGORITHM = { name: 'Ed25519' };

/** A key of node:crypto in the form of a CryptoKey. */
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
    exportKey: async (_format: 'spki', { held }: HeldKey) =>
      new Uint8Array(held.export({ format: 'der', type: 'spki' })).buffer,
    sign: async (_algorithm: unknown, { held }: HeldKey, bytes: ArrayBuffer) =>
      new Uint8Array(sign(null, Buffer.from(bytes), held)).buffer,
  },
};
