// Who a node is: a key pair, the id that follows from it, and an id for this run of it.
//
// The key may be kept in a file, in PEM (PKCS #8); beside it, in `<file>.epoch`, is the epoch of the last run, from which the
// records of the next one are counted. Both are read and written synchronously, as a node is made synchronously.

import { createPrivateKey, createPublicKey, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { v7 as uuid } from 'uuid';
import { type NodeId, nodeIdFromPublicKey } from '../address.js';
import { starlaneError } from '../errors.js';

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

function privateKeyOf(key: string | KeyObject | undefined): KeyObject {
  if (key === undefined) return generateKeyPairSync('ed25519').privateKey;
  const privateKey = key instanceof KeyObject ? key : readIdentityFile(key);
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
    throw starlaneError('ERR_STARLANE_OPTION', 'identity: must be a private key of Ed25519');
  }
  return privateKey;
}

/** Readable and writable by the owner alone. */
const PRIVATE_MODE = 0o600;
/** Anything that others than the owner may do. */
const OTHERS = 0o077;
/** What a group may do where the owner is root: secrets that are mounted for a service have mode 0440. */
const GROUP_READS = 0o040;
const ROOT = 0;
const MAX_EPOCH = 0xffff_ffff;

/** The key in the file, which is made if it is missing. @throws ERR_STARLANE_OPTION */
export function readIdentityFile(path: string): KeyObject {
  try {
    return readKey(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return makeKey(path);
    throw error;
  }
}

/** The epoch that is kept beside the identity, 0 when there is none that can be read. */
export function readEpoch(path: string): number {
  try {
    const epoch = Number(readFileSync(`${path}.epoch`, 'utf8').trim());
    return Number.isInteger(epoch) && epoch >= 0 && epoch < MAX_EPOCH ? epoch : 0;
  } catch {
    // What is lost is only the shortcut: the network knows the epoch as well.
    return 0;
  }
}

/** Keeps the epoch for the next run. @throws as node:fs */
export function writeEpoch(path: string, epoch: number): void {
  const file = `${path}.epoch`;
  writeFileSync(`${file}.new`, `${epoch}\n`, { mode: PRIVATE_MODE });
  renameSync(`${file}.new`, file);
}

/** Whether a file with this mode and owner is for its owner alone, or for a group that root has chosen to read it. */
export function isPrivate(mode: number, uid: number): boolean {
  const forbidden = uid === ROOT ? OTHERS & ~GROUP_READS : OTHERS;
  return (mode & forbidden) === 0;
}

function readKey(path: string): KeyObject {
  const file = openSync(path, 'r');
  try {
    const { mode, uid } = fstatSync(file);
    // Windows has no such bits, and reports them all.
    if (process.platform !== 'win32' && !isPrivate(mode, uid)) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      const needed = 'must be 0600, or 0440 where root owns it';
      throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} has mode ${octal}: ${needed}`);
    }
    const pem = readFileSync(file);
    try {
      return createPrivateKey(pem);
    } catch (error) {
      throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} holds no private key`, error);
    }
  } finally {
    closeSync(file);
  }
}

function makeKey(path: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    // Two processes that start at once must not each have a key of their own: 'wx' lets one of them make it.
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: PRIVATE_MODE, flag: 'wx' });
    return privateKey;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return readKey(path);
    throw starlaneError('ERR_STARLANE_OPTION', `identity: ${path} cannot be made`, error);
  }
}
