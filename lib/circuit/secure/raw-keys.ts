// Keys of Curve25519 as they are on the wire, 32 bytes, and what is done with them.

import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { starlaneError } from '../../errors.js';

/** A key pair of X25519 for one circuit (RFC 7748). Gone with the object, so that what was sent can never be read later. */
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
      shared = diffieHellman({ privateKey: this.privateKey, publicKey: importKey('X25519', publicKey) });
    } catch (error) {
      throw starlaneError('ERR_STARLANE_SECURE', 'the key of the other end is none', error);
    }
    // Where the library does not refuse it itself (RFC 7748, section 6.1).
    if (shared.every((byte) => byte === 0))
      throw starlaneError('ERR_STARLANE_SECURE', 'the key of the other end is none');
    return shared;
  }
}

/** Whether it is the Ed25519 signature of `bytes` by that key (RFC 8032). */
export function isSignedBy(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, bytes, importKey('Ed25519', publicKey), signature);
  } catch {
    // 32 bytes that are no point of the curve.
    return false;
  }
}

function importKey(crv: 'Ed25519' | 'X25519', raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv, x }, format: 'jwk' });
}
