// Keys that sign bundles: Ed25519 (RFC 8032). The private key is a file in PKCS #8, the public one a word for configurations:
// `ed25519:` and 32 bytes as base64url.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { codeOf } from '../../errors.js';
import { rawPublicKey } from '../../identity/raw-key.js';
import { ExitCode, Failure } from '../failure.js';

const PREFIX = 'ed25519:';
const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** What signatures of bundles begin with, so that a signature for something else is none for a bundle. */
const DOMAIN = Buffer.from('starlane bundle 1\0');

/** A public key. */
export interface Signer {
  readonly text: string;
  readonly key: KeyObject;
}

/** Returns the public key that a word stands for; undefined if it is none. */
export function parseSigner(text: string): Signer | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const x = text.slice(PREFIX.length);
  const bytes = Buffer.from(x, 'base64url');
  if (bytes.length !== PUBLIC_KEY_BYTES || bytes.toString('base64url') !== x) return undefined;
  try {
    return { text, key: createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } }) };
  } catch {
    return undefined;
  }
}

/** Whether the signer has signed the manifest. */
export function isSignedBy({ key }: Signer, manifest: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, Buffer.concat([DOMAIN, manifest]), key, signature);
}

/** A private key. */
export class SigningKey {
  private constructor(private readonly key: KeyObject) {}

  /** Makes a key and its file, which nobody else may read. @throws Failure when the file is there */
  static create(path: string): SigningKey {
    const { privateKey } = generateKeyPairSync('ed25519');
    try {
      const file = openSync(path, 'wx', 0o600);
      try {
        writeFileSync(file, privateKey.export({ format: 'pem', type: 'pkcs8' }));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    } catch (error) {
      const isThere = codeOf(error) === 'EEXIST';
      throw new Failure(
        isThere ? `${path}: is there already, and is not overwritten` : `${path}: cannot be written (${codeOf(error)})`,
        isThere ? ExitCode.BUSY : ExitCode.FAILURE,
      );
    }
    return new SigningKey(privateKey);
  }

  /** @throws Failure */
  static read(path: string): SigningKey {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      throw new Failure(
        `${path}: cannot be read (${codeOf(error)}); starlane deploy --init-key ${path} makes a key`,
        codeOf(error) === 'ENOENT' ? ExitCode.NOT_FOUND : ExitCode.FAILURE,
      );
    }
    let key: KeyObject | undefined;
    try {
      key = createPrivateKey(text);
    } catch {
      key = undefined;
    }
    if (key?.asymmetricKeyType !== 'ed25519')
      throw new Failure(`${path}: holds no private key of Ed25519`, ExitCode.USAGE);
    return new SigningKey(key);
  }

  /** The public key as hosts list it. */
  get signer(): string {
    return `${PREFIX}${rawPublicKey(createPublicKey(this.key)).toString('base64url')}`;
  }

  sign(manifest: Uint8Array): Buffer {
    return sign(null, Buffer.concat([DOMAIN, manifest]), this.key);
  }
}
