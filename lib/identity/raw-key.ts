// The 32 bytes of a public key of Ed25519 or X25519.
//
// They are taken from its SubjectPublicKeyInfo, and never from a JWK: KeyObject.export holds the lock of the key while it makes the
// object of a JWK. If that starts a garbage collection which finds the finished job of generateKeyPairSync, the job waits for the same
// lock, in the same thread, and the process hangs for good (seen in Node 20).

import type { KeyObject } from 'node:crypto';

/** The length of the SubjectPublicKeyInfo up to the key (RFC 8410). */
const SPKI_PREFIX_BYTES = 12;

export function rawPublicKey(publicKey: KeyObject): Buffer {
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX_BYTES);
}
