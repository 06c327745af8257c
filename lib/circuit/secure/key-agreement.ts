// The secrets that the two ends of one circuit agree on: X25519 always, and ML-KEM-768 where both ends have it, so that a recorded
// circuit stays secret as long as one of the two does. The destination makes the ML-KEM key and sends it behind its reply; the
// dialler sends what it has encapsulated ahead of its confirmation. So there is no further round trip, OPEN does not grow, and nothing
// large is sent or made before the proofs of the ends are checked.

import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { starlaneError } from '../../errors.js';
import { rawPublicKey } from '../../identity/raw-key.js';
import { nodeCrypto } from '../../util/runtime/builtins.js';

/** A key pair of X25519 (RFC 7748) for one circuit. It goes with the circuit, so that what was sent can never be read later. */
export class EphemeralKey {
  readonly publicKey: Buffer;
  private readonly privateKey: KeyObject;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    this.publicKey = rawPublicKey(publicKey);
    this.privateKey = privateKey;
  }

  /** Returns the secret that the two ends share. @throws ERR_STARLANE_SECURE for a key with which all secrets are the same */
  agree(publicKey: Uint8Array): Buffer {
    let shared: Buffer;
    try {
      shared = diffieHellman({ privateKey: this.privateKey, publicKey: importKey(publicKey) });
    } catch (error) {
      throw starlaneError('ERR_STARLANE_SECURE', 'the peer sent an invalid X25519 key', error);
    }
    // Where the library does not refuse it itself (RFC 7748, section 6.1).
    if (shared.every((byte) => byte === 0))
      throw starlaneError('ERR_STARLANE_SECURE', 'the peer sent an invalid X25519 key');
    return shared;
  }
}

function importKey(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
}

/** A key pair of a KEM for one circuit. */
export interface KemKey {
  readonly publicKey: Buffer;
  /** Returns the secret of a ciphertext: another one for each that was altered. @throws any error for one that cannot be */
  decapsulate(ciphertext: Uint8Array): Buffer;
}

/** A key encapsulation mechanism. */
export interface Kem {
  readonly publicKeyBytes: number;
  readonly ciphertextBytes: number;
  generate(): KemKey;
  /** @throws any error for an invalid key */
  encapsulate(publicKey: Uint8Array): { readonly ciphertext: Uint8Array; readonly secret: Uint8Array };
}

/** What node:crypto has since Node 24.7. */
interface KemCrypto {
  encapsulate?(key: KeyObject): { ciphertext: Uint8Array; sharedKey: Uint8Array };
  decapsulate?(key: KeyObject, ciphertext: Uint8Array): Uint8Array;
  generateKeyPairSync(type: 'ml-kem-768'): { publicKey: KeyObject; privateKey: KeyObject };
}

/** The SubjectPublicKeyInfo of a key of ML-KEM-768 (RFC 9935), up to the key. */
const SPKI_PREFIX = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');
const PUBLIC_KEY_BYTES = 1184;
const CIPHERTEXT_BYTES = 1088;

let known: Kem | null | undefined;

/** Returns ML-KEM-768 (FIPS 203); undefined where Node does not have it. Looks once, when it is first asked. */
export function mlKem768(): Kem | undefined {
  if (known === undefined) known = findMlKem768() ?? null;
  return known ?? undefined;
}

function findMlKem768(): Kem | undefined {
  const crypto = nodeCrypto() as unknown as KemCrypto;
  const { encapsulate, decapsulate } = crypto;
  if (encapsulate === undefined || decapsulate === undefined) return undefined;
  const kem: Kem = {
    publicKeyBytes: PUBLIC_KEY_BYTES,
    ciphertextBytes: CIPHERTEXT_BYTES,
    generate() {
      const { publicKey, privateKey } = crypto.generateKeyPairSync('ml-kem-768');
      return {
        publicKey: publicKey.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length),
        decapsulate: (ciphertext) => Buffer.from(decapsulate(privateKey, ciphertext)),
      };
    },
    encapsulate(publicKey) {
      const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
      const { ciphertext, sharedKey } = encapsulate(key);
      return { ciphertext, secret: sharedKey };
    },
  };
  try {
    // A Node that was built with a shared OpenSSL may have the functions without the algorithm.
    const { publicKey } = kem.generate();
    const { ciphertext } = kem.encapsulate(publicKey);
    return publicKey.length === PUBLIC_KEY_BYTES && ciphertext.length === CIPHERTEXT_BYTES ? kem : undefined;
  } catch {
    return undefined;
  }
}
