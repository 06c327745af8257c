// The key that one end of a secure circuit has for that circuit alone.

import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { starlaneError } from '../../errors.js';

/** A key pair of X25519 (RFC 7748). Gone with the circuit, so that what was sent can never be read later. */
export class EphemeralKey {
  readonly publicKey: Buffer;
  private readonly privateKey: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    this.publicKey = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
    this.privateKey = privateKey;
  }

  /** The secret that the two share. @throws ERR_STARLANE_SECURE for a key with which all secrets are the same */
  agree(publicKey: Uint8Array): Buffer {
    let shared: Buffer;
    try {
      shared = diffieHellman({ privateKey: this.privateKey, publicKey: importKey(publicKey) });
    } catch (error) {
      throw starlaneError('ERR_STARLANE_SECURE', 'the key of the other end is none', error);
    }
    // Where the library does not refuse it itself (RFC 7748, section 6.1).
    if (shared.every((byte) => byte === 0))
      throw starlaneError('ERR_STARLANE_SECURE', 'the key of the other end is none');
    return shared;
  }
}

function importKey(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
}
