// A key encapsulation mechanism with the sizes of ML-KEM-768 and no security at all, for Nodes that do not have that.

import { createHash, randomBytes } from 'node:crypto';
import type { Kem } from '../../lib/circuit/secure/key-agreement.js';

const PUBLIC_KEY_BYTES = 1184;
const CIPHERTEXT_BYTES = 1088;

function digest(...parts: Uint8Array[]): Buffer {
  return createHash('sha256').update(Buffer.concat(parts)).digest();
}

export const fakeKem: Kem = {
  publicKeyBytes: PUBLIC_KEY_BYTES,
  ciphertextBytes: CIPHERTEXT_BYTES,
  generate() {
    const publicKey = randomBytes(PUBLIC_KEY_BYTES);
    return { publicKey, decapsulate: (ciphertext) => digest(publicKey, ciphertext) };
  },
  encapsulate(publicKey) {
    const ciphertext = randomBytes(CIPHERTEXT_BYTES);
    return { ciphertext, secret: digest(publicKey, ciphertext) };
  },
};
