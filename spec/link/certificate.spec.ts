import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { deriveCertificate } from '../../lib/link/certificate.js';
import { createIdentity, publicKeyFrom } from '../../lib/link/identity.js';

const identity = createIdentity();

describe('the certificate of an identity', () => {
  it('has its key and its id, and is signed by the key itself', async () => {
    const certificate = new X509Certificate((await deriveCertificate(identity)).cert);
    expect(certificate.publicKey.equals(publicKeyFrom(identity.publicKey))).toBe(true);
    expect(certificate.verify(publicKeyFrom(identity.publicKey))).toBe(true);
    expect(certificate.subject).toBe(`CN=${identity.nodeId}`);
    expect(certificate.issuer).toBe(certificate.subject);
    expect(certificate.ca).toBe(false);
  });

  it('says nothing else: it is the same whenever it is made, and has no end', async () => {
    const [one, two] = await Promise.all([deriveCertificate(identity), deriveCertificate(identity)]);
    expect(two).toEqual(one);
    expect(new Date(new X509Certificate(one.cert).validTo).getUTCFullYear()).toBe(9999);
  });

  it('fits its key, as tls has it', async () => {
    const { cert, key } = await deriveCertificate(identity);
    expect(() => createSecureContext({ cert, key, minVersion: 'TLSv1.3' })).not.toThrow();
    const other = await deriveCertificate(createIdentity());
    expect(() => createSecureContext({ cert, key: other.key })).toThrow();
  });
});
