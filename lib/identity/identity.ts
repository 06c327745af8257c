// Who a node is: a key pair, the id that follows from it, and an id for this run of it.

import { createPublicKey, generateKeyPairSync, KeyObject, sign, verify } from 'node:crypto';
import { v7 as uuid } from 'uuid';
import { type NodeId, nodeIdFromPublicKey } from '../address.js';
import { starlaneError } from '../errors.js';
import { readIdentityFile } from './identity-file.js';

export interface Identity {
  readonly nodeId: NodeId;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /**
   * A UUID that no other run of any node has: tells a node that has restarted from one that is still there. It begins with the
   * time, so that it also tells which of two runs is the newer one.
   */
  readonly bootId: string;
  /** The Ed25519 signature of these bytes, 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array;
}

/** The identity of a node of this process. */
export interface OwnIdentity extends Identity {
  readonly privateKey: KeyObject;
}

/**
 * The identity of a private key, or of the file that holds one and is made if it is missing; a fresh one by default, which
 * lasts as long as the node.
 * @throws ERR_STARLANE_OPTION when the key is none of Ed25519, or its file is not for the owner alone
 */
export function createIdentity(key?: string | KeyObject): OwnIdentity {
  const privateKey = privateKeyOf(key);
  const raw = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x as string, 'base64url');
  return {
    privateKey,
    nodeId: nodeIdFromPublicKey(raw),
    publicKey: raw,
    bootId: uuid(),
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

/** The key with these 32 bytes. @throws when they are no point of the curve, which some versions of OpenSSL tell here */
export function publicKeyFrom(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/** Whether the signature is of the key with these 32 bytes. */
export function verifySignature(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, bytes, publicKeyFrom(publicKey), signature);
  } catch {
    return false;
  }
}

function privateKeyOf(key: string | KeyObject | undefined): KeyObject {
  if (key === undefined) return generateKeyPairSync('ed25519').privateKey;
  const privateKey = key instanceof KeyObject ? key : readIdentityFile(key);
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
    throw starlaneError('ERR_STARLANE_OPTION', 'identity: a private key of Ed25519 is needed');
  }
  return privateKey;
}
